"""What mends a unit: a command that can be typed as it stands, and what must be seen to first."""

import pytest
from msgspec.structs import replace

from dm_fhir.config import Auth, Pull, Site
from dm_fhir.sync.mending import mend, mend_all
from dm_fhir.sync.summary import Attention

LEON = Site("leon", "https://fhir.test/r4", "UTC", (), {}, Auth(), Pull(optional_types=("Group",)), False)
OPEN = Attention("Patient/7", "Observation?patient", "partial", "http-500", "page 6 answered 500", 1000, 500)


@pytest.mark.parametrize(
    ("patient", "query", "typed"),
    [
        ("Patient/7", "Observation?patient", "dm-fhir pull --site leon --patient Patient/7"),
        ("Patient/a'b", "Patient", "dm-fhir pull --site leon --patient 'Patient/a'\"'\"'b'"),
        ("", "whole plan", "dm-fhir pull --site leon"),
        ("", "cohort: MedicationAdministration by code", "dm-fhir pull --site leon"),
        ("", "AdverseEvent, whole", "dm-fhir pull --site leon"),
        ("", "file: export/a.ndjson", "dm-fhir pull --site leon --from export/a.ndjson"),
        ("", "file: my export.ndjson", "dm-fhir pull --site leon --from 'my export.ndjson'"),
        ("", "file: -", "dm-fhir pull --site leon --from -"),
    ],
)
def test_one_unit_is_mended_by_a_command_of_its_own(patient: str, query: str, typed: str) -> None:
    assert mend(replace(OPEN, patient=patient, query=query), LEON).command == typed


def test_the_command_line_begins_as_it_was_typed() -> None:
    found = mend(replace(OPEN, reason="auth"), LEON, "dm-fhir --config '/etc/my study.toml'")
    assert found.command == "dm-fhir --config '/etc/my study.toml' pull --site leon --patient Patient/7"
    assert "`dm-fhir --config '/etc/my study.toml' doctor --site leon`" in str(found.advice)


def test_several_patients_are_mended_at_once() -> None:
    both = [OPEN, replace(OPEN, patient="Patient/8")]
    assert mend_all(both, LEON).command == "dm-fhir pull --site leon --retry-failed"
    assert mend_all([OPEN, OPEN], LEON) == mend(OPEN, LEON)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"state": "refused", "reason": "http-403"}, 'ask the hospital to let this client read Observation (such as the scope "system/Observation.read")'),
        ({"state": "refused", "query": "cohort: MedicationAdministration by code"}, '"system/MedicationAdministration.read"'),
        ({"reason": "refused-on-page-12"}, "let this client read all of Observation"),
        ({"state": "unsupported", "query": "AdverseEvent?subject"}, 'optional_types = ["Group", "AdverseEvent"] under [site.pull]'),
        ({"state": "unsupported", "query": "AdverseEvent?subject"}, 'whole_types = ["AdverseEvent"]'),
        ({"state": "unsupported", "query": "cohort: Condition by code"}, "[site.cohort] by ="),
        ({"state": "failed", "reason": "auth"}, "`dm-fhir doctor --site leon`"),
        ({"reason": "auth-lost"}, "`dm-fhir doctor --site leon`"),
        ({"reason": "retry-after-too-long", "not_before": "2025-06-01T15:00:00Z"}, "until 2025-06-01T15:00:00Z"),
        ({"reason": "waiting-budget"}, "waiting_budget_seconds"),
        ({"reason": "foreign-next"}, "rewrite"),
        ({"reason": "foreign-redirect"}, "redirect_hosts"),
        ({"reason": "short"}, "totals_are_estimates"),
        ({"reason": "server-cap"}, "result_limit"),
        ({"reason": "too-large"}, "page_size"),
        ({"reason": "http-500"}, "show the hospital the message"),
        ({"reason": None}, "show the hospital the message"),
    ],
)  # fmt: skip
def test_what_must_be_seen_to_is_said(values: dict[str, str], words: str) -> None:
    assert words in str(mend(replace(OPEN, **values), LEON).advice)


def test_what_was_interrupted_only_needs_to_be_run_again() -> None:
    assert mend(replace(OPEN, reason="interrupted"), LEON).advice is None


def test_only_a_login_by_key_is_about_keys() -> None:
    by_key = replace(LEON, auth=Auth(method="smart-backend"))
    advice = [str(mend(replace(OPEN, reason="auth"), site).advice) for site in (LEON, by_key)]
    assert ["`dm-fhir keys show --jwks --site leon`" in one for one in advice] == [False, True]


@pytest.mark.parametrize(
    ("query", "says", "never"),
    [
        ("Observation?patient", "ask the hospital to open the search", "optional_types"),
        ("Observation?patient&category=survey", "categories = ", "optional_types"),
        ("AdverseEvent?subject", 'whole_types = ["AdverseEvent"]', "ask the hospital"),
        ("Condition?patient", 'optional_types = ["Condition"]', "whole_types"),
        ("cohort: Medication by code", 'optional_types = ["Medication"]', "[site.cohort]"),
    ],
)
def test_an_unsupported_search_is_mended_by_what_the_config_allows(query: str, says: str, never: str) -> None:
    advice = (
        mend(replace(OPEN, query=query, state="unsupported", reason="http-404"), replace(LEON, pull=Pull())).advice
        or ""
    )
    assert says in advice
    assert never not in advice
