"""The pull, measured: dm-fhir against its peers, a bare loop and the waiting that cannot be avoided.

python benchmarks/pull.py            everything, about eight minutes; prints Markdown
python benchmarks/pull.py --quick    fewer patients, one run of each, about two minutes
python benchmarks/pull.py --save     also writes the tables into docs/benchmarks.md
"""

import argparse
import json
import math
import shutil
import sys
from pathlib import Path

from figures import BARE_LOOPS, DELAYS_MS, Bare, Figures, PeerRun, Pulled
from peers.runs import PEERS
from population import PATIENTS, PER_PATIENT, entries_of, patient_ids
from processes import RunFailed, measured
from served import Served, served
from study import AT_A_TIME, COHORTS, Study
from table import page
from waiting import names_patients, unavoidable_seconds

_HERE = Path(__file__).parent
_WORK = _HERE / "build"  # not the temporary folder: that may be memory, and a store must be on a disk
_DOCS = _HERE.parent / "docs" / "benchmarks.md"
_PATIENTS_PER_QUERY = 100


def main() -> int:
    """Run what was asked for, print the table, and return the exit code."""
    options = _options()
    patients = PATIENTS // 5 if options.quick else options.patients
    rounds, slow_rounds = (1, 1) if options.quick else (options.rounds, options.slow_rounds)
    figures = Figures(patients, AT_A_TIME)
    shutil.rmtree(_WORK, ignore_errors=True)
    try:
        with served(patients) as server:
            if options.only != "peers":
                _say("once, not counted: the server makes its pages")
                _pulled(server, 0, _WORK / "first", patients, options.cohort)
            for delay_ms in options.delays:
                for number in range(slow_rounds if delay_ms else rounds):
                    _say(f"{delay_ms} ms per answer, round {number + 1}")
                    _round(figures, server, delay_ms, _WORK / f"{delay_ms}-{number}", options)
    except RunFailed as error:
        _say(str(error))
        return 1
    finally:
        shutil.rmtree(_WORK, ignore_errors=True)
    table = page(figures)
    sys.stdout.write(table)
    if options.save:
        kept, heading, _ = _DOCS.read_text(encoding="utf-8").partition("## The last run\n")
        _DOCS.write_text(f"{kept}{heading}\n{table}", encoding="utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a fifth of the patients, one run of each")
    parser.add_argument("--save", action="store_true", help="write the table into docs/benchmarks.md")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each without delay (default 3)")
    parser.add_argument("--slow-rounds", type=int, default=1, help="runs of each with delay (default 1)")
    parser.add_argument("--delays", type=int, nargs="+", default=list(DELAYS_MS), metavar="MS", help="default 0 50 200")
    parser.add_argument("--patients", type=int, default=PATIENTS, help=f"how many there are (default {PATIENTS})")
    parser.add_argument("--cohort", choices=sorted(COHORTS), default="patients", help="how dm-fhir finds its patients")
    parser.add_argument("--only", choices=("dm-fhir", "peers"), help="leave the other out")
    return parser.parse_args()


def _round(figures: Figures, server: Served, delay_ms: int, folder: Path, options: argparse.Namespace) -> None:
    """Everything once, one after the other, so that a slow minute of the machine is everybody's."""
    if options.only != "peers":
        pulled = _pulled(server, delay_ms, folder / "dm-fhir", figures.patients, options.cohort)
        figures.pulls.setdefault(delay_ms, []).append(pulled)
        _say(f"  dm-fhir {pulled.first.wall_seconds:.2f} s, again {pulled.second.wall_seconds:.2f} s")
        if not delay_ms:
            for how in BARE_LOOPS:
                bare = _bare(server, folder / f"bare-{how}", pulled, how)
                figures.bare.setdefault(how, []).append(bare)
                _say(f"  bare loop, {how} {bare.run.wall_seconds:.2f} s")
    if options.only != "dm-fhir":
        for peer in PEERS:
            server.delayed(delay_ms)
            patients = max(4, peer.patients[delay_ms] // (2 if options.quick else 1))
            run, entries = peer.read(folder / peer.name, server.base, delay_ms, patients)
            figures.peers.setdefault((peer.name, delay_ms), []).append(PeerRun(run, entries, patients))
            _say(f"  {peer.name} {entries} entries in {run.wall_seconds:.2f} s")
    shutil.rmtree(folder)


def _pulled(server: Served, delay_ms: int, folder: Path, patients: int, cohort: str) -> Pulled:
    """A first pull into a new store, and a second one with nothing changed."""
    study = Study.made(folder, server.base, patient_ids(patients), cohort)
    server.delayed(delay_ms)
    first = study.pulled(entries_of(patients), "--full")
    requests = server.requests()
    server.forget()
    second = study.pulled(entries_of(patients))
    again = server.requests()
    return Pulled(
        first=first,
        second=second,
        entries=entries_of(patients),
        requests=requests,
        second_requests=len(again),
        most_requests=1 + len(PER_PATIENT) * math.ceil(patients / _PATIENTS_PER_QUERY),
        unavoidable_seconds=unavoidable_seconds(requests, delay_ms / 1000, AT_A_TIME),
        store_mb=study.store_mb(),
    )


def _bare(server: Served, folder: Path, pulled: Pulled, how: str) -> Bare:
    """The same searches once more, by the bare loop."""
    folder.mkdir(parents=True)
    answered = [one for one in pulled.requests if names_patients(one) and one.status == 200]
    searches = [(one.method, one.target, one.form) for one in answered]
    (folder / "requests.json").write_text(json.dumps(searches), encoding="utf-8")
    run = measured([sys.executable, _HERE / "bare_loop.py", server.root, "requests.json", how], folder)
    return Bare(run, int(run.output))


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
