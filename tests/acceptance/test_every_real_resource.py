"""All FHIR data that nobody here wrote, pulled and mapped: every resource of every file is mapped, left out for a reason, or reported.

What the files hold is counted here with json alone, and then added up with what the program says it made of them.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from dm_fhir.model.case import Case
from dm_fhir.model.document import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.acceptance.conftest import Ran

pytestmark = pytest.mark.real_data
DATA = Path(__file__).parents[3] / "shared" / "data"
FOLDERS = sorted(path.name for path in DATA.iterdir() if path.is_dir())
HEAD = '[study]\ntitle = "Everything"\ndrug = "acetaminophen"\ntimezone = "Europe/Berlin"\n'
#: Nobody in the files has dermatomyositis: what is frequent there instead, so that much is mapped.
TABLE = """
[[medication]]
variable = "acetaminophen"
new = true
codes = [{ system = "http://www.nlm.nih.gov/research/umls/rxnorm", code = "161" }]

[[medication]]
variable = "lisinopril"
new = true
codes = [{ system = "http://www.nlm.nih.gov/research/umls/rxnorm", code = "314076" }]

[[measurement]]
variable = "heart_rate"
new = true
codes = [{ system = "http://loinc.org", code = "8867-4" }]
unit = "/min"
units = { "/min" = "1" }

[[condition]]
variable = "full_time_employment"
new = true
codes = [{ system = "http://snomed.info/sct", code = "160903007" }]
"""
#: Findings that say why a record is in no case.
NOT_USED = ("unreadable", "medication_unresolved")
#: Fewer would mean that this test lost its eyes.
AT_LEAST = {
    "Patient": 170, "Observation": 18_000, "MedicationAdministration": 6_800, "MedicationRequest": 4_000, "Condition": 1_300,
}  # fmt: skip
MAPPED_AT_LEAST = {
    "Patient": 170, "Observation": 1_800, "MedicationAdministration": 400, "MedicationRequest": 240, "Condition": 239,
    "AdverseEvent": 5,
}  # fmt: skip


class Counted(NamedTuple):
    """What a folder holds: resources and how many different ones of each type, and what is no resource, by its reason."""

    resources: Counter[str]
    different: Counter[str]
    unusable: Counter[str]
    not_fhir: list[str]


def counted(folder: str) -> Counted:
    """The folder's content, counted by nothing of ours."""
    found, unusable, not_fhir = list[tuple[str, str]](), Counter[str](), []
    for path in sorted(path for path in (DATA / folder).rglob("*") if path.is_file()):
        name = path.name.removesuffix(".gz")
        body = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        is_lines = name.endswith(".ndjson")
        if not is_lines and (not name.endswith(".json") or b'"resourceType"' not in body):
            not_fhir.append(str(path))
            continue
        for document in filter(None, map(bytes.strip, body.splitlines() if is_lines else [body])):
            for reason, resource in of_document(document):
                if reason:
                    unusable[reason] += 1
                else:
                    found.append((resource["resourceType"], resource["id"]))
    return Counted(Counter(kind for kind, _ in found), Counter(kind for kind, _ in set(found)), unusable, not_fhir)


def of_document(body: bytes) -> Iterator[tuple[str | None, Any]]:
    """Every resource of a document, or why there is none."""
    try:
        document = json.loads(body.decode("utf-8-sig"))
    except ValueError:
        yield "not-json", None
        return
    if document.get("resourceType") == "Bundle":
        for entry in document.get("entry", []):
            yield why_not(entry.get("resource")), entry.get("resource")
    else:
        yield why_not(document), document


def why_not(resource: Any) -> str | None:
    if resource is None:
        return "no-resource"
    if "resourceType" not in resource:
        return "no-type"
    if "id" not in resource:
        return "no-id"
    return "unreadable" if resource["resourceType"] == "Bundle" else None


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study in which every folder is a site."""
    path = tmp_path_factory.mktemp("everything") / "dm-fhir.toml"
    path.with_name("common.toml").write_text(TABLE, encoding="utf-8")
    keep_all = '[site.cohort]\nby = "everybody"\n[site.pull]\nscope = "all"\n'
    sites = (f'[[site]]\nname = "{folder}"\ntables = ["common.toml"]\n{keep_all}' for folder in FOLDERS)
    path.write_text(HEAD + "".join(sites), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def pulls(config: Path, dm_fhir: Callable[..., Ran]) -> Mapping[str, Ran]:
    """What `pull --from` said of each folder."""
    head = ("--config", str(config), "--quiet", "pull", "--json")
    return {folder: dm_fhir(*head, "--site", folder, "--from", str(DATA / folder)) for folder in FOLDERS}


@pytest.fixture(scope="module")
def store(config: Path, pulls: Mapping[str, Ran], dm_fhir: Callable[..., Ran]) -> Iterator[sqlite3.Connection]:
    """The store with everything mapped."""
    assert {ran.code for ran in pulls.values()} == {0, 3}
    assert dm_fhir("--config", str(config), "--quiet", "compute").code in (0, 3)
    with closing(sqlite3.connect(config.with_name("dm-fhir.sqlite"))) as db:
        yield db


@pytest.mark.parametrize("folder", FOLDERS)
def test_everything_in_the_files_is_read_or_set_aside(folder: str, pulls: Mapping[str, Ran]) -> None:
    wanted, told = counted(folder), pulls[folder].json
    site = told["sites"][0]

    assert told["read"] == wanted.resources
    assert Counter(site["set_aside"].values()) == wanted.unusable
    assert site["resources"] == wanted.different
    assert [one["path"] for one in told["passed_over"]] == wanted.not_fhir
    assert pulls[folder].code == (3 if wanted.unusable else 0)
    assert site["units"].keys() == {"complete"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_everything_read_is_mapped_or_left_out_or_reported(folder: str, store: sqlite3.Connection) -> None:
    ways = fates(store, folder)

    assert sum(ways.values(), Counter()) == counted(folder).different
    assert not ways["unreadable"] or folder in ("fhir-test-cases", "ms-fhir-server")


def test_the_whole_of_it(store: sqlite3.Connection) -> None:
    in_all: dict[str, Counter[str]] = {}
    for folder in FOLDERS:
        for way, by_type in fates(store, folder).items():
            in_all[way] = in_all.get(way, Counter()) + by_type
    types = sorted({kind for way, by_type in in_all.items() for kind in by_type if way not in NOT_IN_THE_TABLE})
    rows = [[way, *(str(by_type[kind] or "") for kind in types)] for way, by_type in sorted(in_all.items())]
    for row in (["", *types], *rows):
        sys.stdout.write(f"| {' | '.join(row)} |\n")
    elsewhere = {way: sum(by_type.values()) for way, by_type in in_all.items() if way in NOT_IN_THE_TABLE}
    aside = store.execute("SELECT reason, count(*) FROM quarantine GROUP BY 1 ORDER BY 1").fetchall()
    sys.stdout.write(f"all types: {elsewhere}; set aside: {dict(aside)}\n")

    everything = sum(in_all.values(), Counter())
    assert all(everything[kind] >= least for kind, least in AT_LEAST.items()), everything
    assert all(in_all["mapped"][kind] >= least for kind, least in MAPPED_AT_LEAST.items()), in_all["mapped"]


#: What the case series has no place for.
NOT_IN_THE_TABLE = ("left out: not part of the case series", "names no patient")


def fates(db: sqlite3.Connection, site: str) -> dict[str, Counter[str]]:
    """What became of the records of a site: the way, and how many of each type went it."""
    ways: dict[str, Counter[str]] = {"mapped": Counter(), "unreadable": Counter()}
    for (body,) in db.execute("SELECT body FROM case_document WHERE site = ?", (site,)):
        case = decode(body, Case)
        ways["mapped"].update(type_of(part.source.reference) for part in parts(case))
        for reason, count in case.left_out.items():
            kind, _, why = reason.partition(": ")
            ways.setdefault(f"left out: {why}", Counter())[kind] += count
        for finding in case.findings:
            if finding.code in NOT_USED:
                ways.setdefault(finding.code, Counter())[type_of(finding.reference)] += 1
    rows = db.execute(
        "SELECT type, count(*) FROM resource WHERE site = ? AND coalesce(subject, '') NOT LIKE 'Patient/%' GROUP BY 1",
        (site,),
    )
    return {**ways, "names no patient": Counter(dict(rows.fetchall()))}


def parts(case: Case) -> list[Any]:
    records = (
        case.conditions,
        case.administrations,
        case.other_administrations,
        case.therapies,
        case.assessments,
        case.adverse_events,
    )
    return [*([case.subject] if case.subject else []), *(one for some in records for one in some)]


def type_of(reference: str) -> str:
    return reference.partition("/")[0]
