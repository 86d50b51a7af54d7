"""The push, measured: dm-fhir against a PUT per resource with requests, on the same server in the same run.

python benchmarks/push.py            everything, about four minutes; prints Markdown
python benchmarks/push.py --quick    a fifth of the outcomes, one run of each, under one minute
python benchmarks/push.py --save     also writes the tables into docs/benchmarks.md
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

import msgspec
from computed import Computed
from processes import RunFailed, measured
from push_table import PeerRun, Pushed, page
from served import Served, served

_HERE = Path(__file__).parent
_WORK = _HERE / "build"  # not the temporary folder: that may be memory, and a store must be on a disk
_DOCS = _HERE.parent / "docs" / "benchmarks.md"
_BEGIN, _END = "### Push, the last run\n", "## The last run\n"
#: Each has 49 outcomes to be written: 10,045.
_PATIENTS, _ROUNDS = 205, 3
_DELAYS_MS = (0, 50)
#: How many resources the peer puts at each delay, where it would take minutes for all.
_OF_PEER = {50: 300}


def main() -> int:
    """Run what was asked for, print the tables, and return the exit code."""
    options = _options()
    patients, rounds = (_PATIENTS // 5, 1) if options.quick else (_PATIENTS, options.rounds)
    shutil.rmtree(_WORK, ignore_errors=True)
    load = os.getloadavg()[0]
    found: dict[int, list[tuple[Pushed, PeerRun]]] = {delay: [] for delay in options.delays}
    try:
        with served(patients, "write_server.py") as server:
            _say(f"once, not counted: {patients} patients are read and computed")
            study = Computed.made(_WORK / "study", server.base, patients)
            for delay_ms in options.delays:
                for number in range(rounds):
                    _say(f"{delay_ms} ms per answer, round {number + 1}")
                    found[delay_ms].append(_round(study, server, delay_ms, _WORK / f"{delay_ms}-{number}"))
    except RunFailed as error:
        _say(str(error))
        return 1
    finally:
        shutil.rmtree(_WORK, ignore_errors=True)
    table = page(found, load)
    sys.stdout.write(table)
    if options.save:
        kept, heading, rest = _DOCS.read_text(encoding="utf-8").partition(_BEGIN)
        _DOCS.write_text(f"{kept}{heading}\n{table}\n{_END}{rest.partition(_END)[2]}", encoding="utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a fifth of the outcomes, one run of each")
    parser.add_argument("--save", action="store_true", help="write the tables into docs/benchmarks.md")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help=f"runs of each (default {_ROUNDS})")
    parser.add_argument("--delays", type=int, nargs="+", default=list(_DELAYS_MS), metavar="MS", help="default 0 50")
    return parser.parse_args()


def _round(study: Computed, server: Served, delay_ms: int, folder: Path) -> tuple[Pushed, PeerRun]:
    """Everything once, one after the other, so that a slow minute of the machine is everybody's."""
    pushed = _pushed(study.copied(folder), server, delay_ms)
    _say(f"  dm-fhir {pushed.first.wall_seconds:.2f} s, again {pushed.second.wall_seconds:.2f} s")
    bodies = folder / "bodies.json"
    bodies.write_bytes(msgspec.json.encode(server.told("/_bodies")))
    server.told("/_empty")
    server.delayed(delay_ms)
    resources = min(pushed.outcomes, _OF_PEER.get(delay_ms, pushed.outcomes))
    run = measured([sys.executable, _HERE / "put_one_by_one.py", server.base, bodies, str(resources)], folder)
    there = server.told("/_kept")["resources"].get("Observation")
    if int(run.output) != resources or there != resources:
        raise RunFailed(f"the peer put {run.output.strip()} of {resources}, and the server has {there}")
    _say(f"  requests {resources} resources in {run.wall_seconds:.2f} s")
    shutil.rmtree(folder)
    return pushed, PeerRun(run, resources)


def _pushed(study: Computed, server: Served, delay_ms: int) -> Pushed:
    """A first push to an empty server, and a second one with nothing changed."""
    server.told("/_empty")
    server.delayed(delay_ms)
    first, said = study.pushed()
    requests = server.requests()
    outcomes = said["pushed"]["population"]["new"]
    _once_each(server, outcomes)
    server.forget()
    second, again = study.pushed()
    if again["pushed"]["population"].get("unchanged") != outcomes:
        raise RunFailed(f"of {outcomes} outcomes the second push says {again['pushed']['population']}")
    _once_each(server, outcomes)
    return Pushed(outcomes, first, second, len(requests), len(server.requests()))


def _once_each(server: Served, outcomes: int) -> None:
    """Raises RunFailed unless the server has each outcome once, in one version."""
    kept = server.told("/_kept")
    versions = {int(version): count for version, count in kept["versions"].items()}
    if kept["resources"].get("Observation") != outcomes or set(versions) != {1}:
        raise RunFailed(f"{outcomes} outcomes were pushed; the server has {kept}")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
