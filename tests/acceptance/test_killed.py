"""kill -9 at many moments of a pull and of a push, then the same command again: as if nothing had happened."""

from __future__ import annotations

import re
import signal
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dm_fhir.sync import tally

if TYPE_CHECKING:
    from tests.acceptance.conftest import Hospital, HospitalMaker, Json, Loop, Study, StudyMaker

#: Small pages, so that a run can be killed between them.
SMALL_PAGES = "page_size = 3"
#: Moments of a pull: a function that it calls, at which call, before or after it.
PULLS = [
    ("dm_fhir.fhir.connection:Connection.ask", 1, "before"),
    ("dm_fhir.sync.pull:_cohort", 1, "after"),  # the cohort is complete, and nobody of it has been asked for
    ("dm_fhir.sync.tally:put_resources", 1, "after"),  # in the middle of a page's transaction, of the cohort
    ("dm_fhir.sync.together:put_resources", 5, "after"),  # and of all patients' records
    ("dm_fhir.sync.together:put_units", 2, "before"),
    ("dm_fhir.sync.together:put_units", 9, "after"),
    ("dm_fhir.fhir.connection:Connection.ask", 12, "after"),  # a page has arrived and is not yet stored
    ("dm_fhir.sync.pull:pull_medications", 1, "before"),  # everybody's records are there, and the plan is not through
    ("dm_fhir.sync.compute:put_case", 2, "before"),
]
#: Moments of a push. Each run goes on where the one before it was killed.
PUSHES = [
    ("dm_fhir.sync.push.pusher:put_pushes", 1, "before"),
    ("dm_fhir.sync.push.single:send_one", 1, "before"),  # noted as being sent, and not sent
    ("dm_fhir.sync.push.single:send_one", 1, "after"),  # sent, and not noted
    ("dm_fhir.sync.push.provenance:_post", 1, "before"),  # written, and not documented
    ("dm_fhir.sync.push.provenance:_post", 1, "after"),  # documented, and not noted
    ("dm_fhir.sync.push.pusher:note_written", 3, "after"),  # in the middle of the transaction that notes it
    ("dm_fhir.sync.push.bundle:send_bundle", 1, "before"),
    ("dm_fhir.sync.push.bundle:send_bundle", 1, "after"),
]
#: Small Bundles, so that a push has many.
SMALL_BUNDLES = "bundle_size = 5\n"


@pytest.fixture
def _no_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later pull reaches back no further than it must: the overlap would hide what was forgotten."""
    monkeypatch.setattr(tally, "OVERLAP", timedelta(0))


@pytest.fixture(scope="module")
def undisturbed(loop: Loop, new_study: StudyMaker) -> Study:
    """The study of a run that nobody killed."""
    study = new_study(loop.hospital, more=SMALL_PAGES, push=False)
    assert study.type("sync").code == 0
    return study


@pytest.mark.usefixtures("_no_overlap")
@pytest.mark.parametrize(("place", "number", "when"), PULLS)
def test_a_killed_pull_is_finished_by_the_next(
    loop: Loop, undisturbed: Study, new_study: StudyMaker, place: str, number: int, when: str
) -> None:
    study = new_study(loop.hospital, more=SMALL_PAGES, push=False)

    killed(study, place, number, when, "sync")
    status = study.type("status")
    assert re.match(r"last run: sync, begun \S+Z, interrupted\n", status.out), status.out
    assert status.code == (0 if "compute" in place else 3), status.out
    again = study.type("sync")

    assert again.code == 0, again.out + again.err
    assert study.content() == undisturbed.content()


def test_a_push_killed_at_many_moments_writes_each_outcome_once(
    new_hospital: HospitalMaker, new_study: StudyMaker, loop: Loop, one_patient: list[Json]
) -> None:
    hospital = new_hospital()
    study = new_study(hospital, more="concurrency = 1", extra=SMALL_BUNDLES)
    assert study.type("pull").code == study.type("compute").code == 0

    for place, number, when in PUSHES:
        killed(study, place, number, when, "push")
        assert max(Counter(identifiers(hospital)).values(), default=1) == 1
    ran = study.type("push")

    assert ran.code == 0, ran.out + ran.err
    expected = {
        name: one
        for name, one in by_identifier(loop.hospital).items()
        if one["subject"]["reference"] == "Patient/bal-1"
    }
    assert by_identifier(hospital) == expected
    assert sorted(identifiers(hospital)) == sorted(expected)
    assert {row[0] for row in study.ask("SELECT state FROM push")} == {"confirmed"}
    assert {one["meta"]["versionId"] for one in hospital.outcomes()} == {"1"}, "written once, not twice"
    targets = [target["reference"] for one in hospital.search("Provenance?_count=200") for target in one["target"]]
    assert sorted(targets) == sorted(f"Observation/{one['id']}/_history/1" for one in hospital.outcomes())


def killed(study: Study, place: str, number: int, when: str, command: str) -> None:
    """Run the command until it is killed, and look at what it left."""
    process = study.start_disturbed(place, number, when, command)
    out, err = process.communicate(timeout=60)

    assert process.returncode == -signal.SIGKILL, out + err
    if study.store.exists():
        assert study.ask("PRAGMA integrity_check") == [("ok",)]


def identifiers(hospital: Hospital) -> list[str]:
    return [one["identifier"][0]["value"] for one in hospital.outcomes()]


def by_identifier(hospital: Hospital) -> dict[str, Json]:
    """What each outcome on the server says, without what a server adds."""
    return {
        one["identifier"][0]["value"]: {
            name: value for name, value in one.items() if name not in ("id", "meta", "text")
        }
        for one in hospital.outcomes()
    }
