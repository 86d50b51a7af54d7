"""The pull, measured: dm-fhir against its peers, a bare loop and the waiting that cannot be avoided."""

import json
import math
import shutil
import sys
from pathlib import Path

from figures import BARE_LOOPS, Bare, Figures, PeerRun, Pulled
from given import Bench
from peers.runs import PEERS
from population import PATIENTS, PER_PATIENT, entries_of, patient_ids
from processes import measured
from results import Found
from served import Served, served
from study import AT_A_TIME, Study
from waiting import names_patients, unavoidable_seconds

_HERE = Path(__file__).parent
#: How often each is run, by how long the server holds an answer back, in milliseconds.
_ROUNDS = {0: 3, 50: 1, 200: 1}
_QUICK_ROUNDS = {0: 1, 200: 1}
_PATIENTS_PER_QUERY = 100


def measure(bench: Bench) -> Found:
    """Everything in every round."""
    patients = PATIENTS // 5 if bench.is_quick else PATIENTS
    figures = Figures(patients, AT_A_TIME)
    with served(patients) as server:
        bench.say("once, not counted: the server makes its pages")
        _pulled(server, 0, bench.folder / "first", patients)
        for delay_ms, rounds in (_QUICK_ROUNDS if bench.is_quick else _ROUNDS).items():
            for number in range(rounds):
                bench.say(f"{delay_ms} ms per answer, round {number + 1} of {rounds}")
                _round(figures, server, delay_ms, bench)
    return figures.found()


def _round(figures: Figures, server: Served, delay_ms: int, bench: Bench) -> None:
    """Everything once, one after the other, so that a slow minute of the machine is everybody's."""
    folder = bench.folder / "round"
    pulled = _pulled(server, delay_ms, folder / "dm-fhir", figures.patients)
    figures.pulls.setdefault(delay_ms, []).append(pulled)
    bench.say(f"  dm-fhir {pulled.first.wall_seconds:.2f} s, again {pulled.second.wall_seconds:.2f} s")
    if not delay_ms:
        for how in BARE_LOOPS:
            bare = _bare(server, folder / f"bare-{how}", pulled, how)
            figures.bare.setdefault(how, []).append(bare)
            bench.say(f"  bare loop, {how} {bare.run.wall_seconds:.2f} s")
    for peer in PEERS:
        server.delayed(delay_ms)
        patients = max(4, peer.patients[delay_ms] // (2 if bench.is_quick else 1))
        run, entries = peer.read(folder / peer.name, server.base, delay_ms, patients)
        figures.peers.setdefault((peer.name, delay_ms), []).append(PeerRun(run, entries, patients))
        bench.say(f"  {peer.name} {entries} entries in {run.wall_seconds:.2f} s")
    shutil.rmtree(folder)


def _pulled(server: Served, delay_ms: int, folder: Path, patients: int) -> Pulled:
    """A first pull into a new store, and a second one with nothing changed."""
    study = Study.made(folder, server.base, patient_ids(patients))
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
