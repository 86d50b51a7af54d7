"""More outcomes than a Bundle may have entries, and write faults met by `sync`."""

from collections import Counter
from pathlib import Path

import pytest

from .faults import Fault
from .outcomes import few_records
from .server import FaultServer, Run
from .study import Study, new_study
from .test_write_faults import beginnings  # noqa: F401
from .write_checks import check_always
from .write_study import PUSH, Beginnings
from .writing import Manners

OUTCOMES_PER_PATIENT = 20


def _patients(count: int) -> Fault:
    """A hospital with so many patients who are alike."""
    return Fault(
        records=lambda _: [one for number in range(1, count + 1) for one in few_records(f"p{number}", f"p{number}-")],
        lasts=True,
    )


def _cohort(study: Study, count: int) -> None:
    names = "".join(f"p{number}\n" for number in range(1, count + 1))
    study.config.with_name("patients.txt").write_text(names, encoding="utf-8")


def _copies(run: Run) -> Counter[str]:
    return Counter(one["identifier"][0]["value"] for one in run.shelf.current())


@pytest.mark.parametrize(("most", "patients"), [(50, 6), (500, 26)])
@pytest.mark.parametrize("transaction", ["yes", "batch"])
def test_a_bundle_never_has_more_entries_than_the_server_takes(
    server: FaultServer, tmp_path: Path, transaction: str, most: int, patients: int
) -> None:
    endpoint = server.endpoint("transactions")
    run = server.run(endpoint)
    manners = Fault(manners=Manners(most_entries=most, transaction=transaction), lasts=True)  # type: ignore[arg-type]
    run.suffer(_patients(patients), manners)
    study = new_study(tmp_path, endpoint, push=PUSH)
    _cohort(study, patients)
    first = study.type("sync")
    assert first.code == 0, first.text
    assert set(_copies(run).values()) == {1}
    assert len(_copies(run)) == patients * OUTCOMES_PER_PATIENT
    bundles = [len(line.writes) for line in run.log if not line.path and line.writes and line.status < 300]
    assert max(bundles) <= most
    assert len(bundles) <= patients * OUTCOMES_PER_PATIENT / 25 + 3, "few large ones, not many small ones"

    asked = len(run.log)
    run.suffer(_patients(patients + 4), manners)
    _cohort(study, patients + 4)
    second = study.type("sync")
    assert second.code == 0, second.text
    assert set(_copies(run).values()) == {1}
    assert len(_copies(run)) == (patients + 4) * OUTCOMES_PER_PATIENT
    refused = [line for line in run.log[asked:] if line.writes and line.status >= 300]
    assert not refused, "how many entries the server takes is remembered"


@pytest.mark.parametrize(
    ("fault", "code", "then"), [("wlost", 0, 0), ("w409-once", 0, 0), ("w422", 3, 3), ("wthrottle-down", 4, 0)]
)
@pytest.mark.parametrize("sort", ["transactions", "updates"])
def test_sync_meets_a_write_fault(
    beginnings: Beginnings,  # noqa: F811
    tmp_path: Path,
    sort: str,
    fault: str,
    code: int,
    then: int,
) -> None:
    began = beginnings.begin(tmp_path / "study", "new", sort, fault)
    ran = began.study.type("-v", "sync")
    assert ran.code == code, ran.text
    check_always(began, ran)
    began.run.heal()
    again = began.study.type("-v", "sync")
    assert again.code == then, again.text
    check_always(began, again)
    if then == 0:
        assert set(began.run.shelf.count().values()) == {1}
        assert len(began.run.shelf.count()) == OUTCOMES_PER_PATIENT
