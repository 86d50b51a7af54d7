"""Reading one Observation, measured: our views against JSON readers, validators and models."""

import gzip
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

from given import Bench
from peers.environment import program, versions
from population import patient_ids, rows
from processes import measured
from results import Cell, Found, Ratio, Table

_HERE = Path(__file__).parent
_SCHEMA = _HERE.parents[1] / "shared" / "data" / "definitions" / "fhir.schema.json.gz"
_PATIENTS = 125
#: Ours, the least, and what a reader of that kind is called in the table.
OWN = {
    "view": "dm-fhir, the elements that are used, exact decimals",
    "filed": "dm-fhir, what it takes to file it: type, id, version, whose, hash",
    "bare": "the limit: msgspec, type and id alone",
}
PEERS = {
    "msgspec": "to a dictionary",
    "orjson": "to a dictionary",
    "json": "to a dictionary",
    "json, Decimal": "to a dictionary, exact decimals",
    "jsonschema-rs": "json, and the official R4 schema",
    "fhirkit-rs": "parsed and validated",
    "fhirpy-types-r4b": "to its model",
    "fhirclient": "to its model",
    "fhir.resources": "to its R4B model",
}


def measure(bench: Bench) -> Found:
    """Every way in every round."""
    file = bench.folder / "observations.ndjson"
    found = [row.body for patient in patient_ids(_PATIENTS) for row in rows("Observation", patient)]
    file.write_bytes(b"\n".join(found) + b"\n")
    rounds = 1 if bench.is_quick else 3
    rates: dict[str, list[float]] = {}
    for number in range(rounds):
        bench.say(f"round {number + 1} of {rounds}")
        for way, command in _commands(bench).items():
            rates.setdefault(way, []).append(float(measured([*command, file, *_more(way, bench)], bench.folder).output))
    medians = {way: median(each) for way, each in rates.items()}
    size = sum(map(len, found)) / len(found)
    about = f"{len(found):,} Observations of {size:,.0f} bytes, one after the other on one core; processor time, without the start of the process."
    return Found(about, tuple(ratios(medians)), (_table(medians),))


def ratios(rates: Mapping[str, float]) -> Iterator[Ratio]:
    """Our view against every peer, and against the least that could be done."""
    for way in PEERS:
        if way in rates:
            yield Ratio(f"the view: times {way}", rates["view"] / rates[way], "times", "more")
    for way in ("view", "filed"):
        yield Ratio(
            f"the {'view' if way == 'view' else 'filing'}: of the limit", rates[way] / rates["bare"], "share", "more"
        )


def _commands(bench: Bench) -> dict[str, list[str | Path]]:
    own: dict[str, list[str | Path]] = {way: [sys.executable, _HERE / "read_own.py", way] for way in OWN}
    script, peers = _HERE / "peers" / "parse_observation.py", [*PEERS]
    if not _SCHEMA.exists():
        peers.remove("jsonschema-rs")
        bench.say("no schema of FHIR beside the checkout: jsonschema-rs is left out")
    return own | {way: [program("python"), script, way] for way in peers}


def _more(way: str, bench: Bench) -> list[Path]:
    """What the way is given beside the file."""
    if way != "jsonschema-rs":
        return []
    schema = bench.folder / "fhir.schema.json"
    schema.write_bytes(gzip.decompress(_SCHEMA.read_bytes()))
    return [schema]


def _table(rates: Mapping[str, float]) -> Table:
    rows_: list[tuple[Cell, ...]] = []
    for way, rate in sorted(rates.items(), key=lambda one: -one[1]):
        name = way.partition(",")[0]
        said = OWN.get(way) or f"{name}{'' if name == 'json' else ' ' + versions()[name]}, {PEERS[way]}"
        rows_.append((said, rate, 1e6 / rate))
    return Table("", ("", "Observations/s", "µs each"), tuple(rows_))
