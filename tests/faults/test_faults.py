"""Every fault of `scenarios.py` that happens on the wire: what dm-fhir did, and what a second pull makes of it."""

from collections.abc import Callable

import pytest

from .checks import check_always, check_healed, check_row
from .conftest import Observe
from .scenarios import IN_PROCESS, Scenario
from .server import FaultServer
from .study import Study, values

StudyOf = Callable[[Scenario], tuple[Study, str]]


@pytest.mark.parametrize("scenario", IN_PROCESS, ids=lambda scenario: scenario.id)
def test_fault(server: FaultServer, study_of: StudyOf, observe: Observe, scenario: Scenario) -> None:
    study, endpoint = study_of(scenario)
    run = server.run(endpoint)
    first = study.type("-v", "pull")
    observe(scenario, study, first)
    check_row(scenario, study, run, first)
    check_always(study, run, first, scenario=scenario)
    _check_content(scenario, study)

    before, asked = study.units(), len(run.log)
    run.heal()
    second = study.type("-v", *scenario.again)
    is_full = "--full" in scenario.again
    check_healed(study, second, before, run.log[asked:], rows=scenario.rows_again, is_full=is_full)


def _check_content(scenario: Scenario, study: Study) -> None:
    """What the rows themselves must hold."""
    bodies = study.observations()
    if scenario.fault == "e401":
        assert [unit.query for unit in study.units().values() if (unit.state, unit.reason) == ("failed", "auth")]
    elif scenario.t == 28:
        spoilt = b"\xff\xfe" if scenario.fault == "utf8" else b"\xb5g/L"
        assert [spoilt in body for _, body in study.set_aside()] == [True]
    elif scenario.t == 30 and not scenario.quarantined:
        assert b"1e400" in bodies["o400"]
    elif scenario.t == 39:
        assert [id_ for id_, value in values(bodies).items() if value == 9999] == [f"o{n}" for n in range(200, 210)]
    elif scenario.t == 50:
        assert not [id_ for id_, body in bodies.items() if b"Patient/p2" in body]
    elif scenario.t in (51, 52):
        assert sum(b"vital-signs" in body for body in bodies.values()) == 500


OPEN = [
    one
    for one in IN_PROCESS
    if one.id in ("T7-e500", "T42-short", "T14-e401-observation", "T26-html", "T54-oofatal-only")
]


@pytest.mark.parametrize("scenario", OPEN, ids=lambda scenario: scenario.id)
def test_retry_failed_asks_for_nothing_else(server: FaultServer, study_of: StudyOf, scenario: Scenario) -> None:
    study, endpoint = study_of(scenario)
    run = server.run(endpoint)
    study.type("pull")
    asked = len(run.log)
    run.heal()
    again = study.type("pull", "--retry-failed")
    assert (again.code, len(study.observations())) == (0, scenario.rows_again), again.text
    assert {line.type for line in run.log[asked:]} <= {"metadata", "Patient", "Observation"}
    assert "Observation" in {line.type for line in run.log[asked:]}
