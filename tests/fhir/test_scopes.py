"""What scopes let a client do, in the notation of SMART 1 and of SMART 2."""

import pytest

from dm_fhir.fhir.scopes import extent, scopes_in, shown, written


@pytest.mark.parametrize(
    ("text", "type_name", "letters", "how_far"),
    [
        ("system/*.read", "Patient", "rs", "all"),
        ("system/*.read", "Patient", "cu", "none"),
        ("system/*.write", "Observation", "cu", "all"),
        ("system/*.write", "Observation", "r", "none"),
        ("system/*.*", "Observation", "cruds", "all"),
        ("system/Patient.read", "Observation", "r", "none"),
        ("user/Patient.read", "Patient", "rs", "all"),
        ("system/*.rs", "Patient", "rs", "all"),
        ("system/*.r", "Patient", "rs", "none"),
        ("system/*.r system/Patient.s", "Patient", "rs", "all"),
        ("system/*.cruds", "Patient", "cu", "all"),
        ("system/Observation.rs?category=laboratory", "Observation", "rs", "in part"),
        ("system/Observation.rs?category=laboratory system/*.rs", "Observation", "rs", "all"),
        ("system/Observation.r?category=laboratory", "Observation", "rs", "none"),
        ("openid launch offline_access", "Patient", "r", "none"),
        ("system/*.", "Patient", "r", "none"),
        ("system/*.sr", "Patient", "r", "none"),
        ("", "Patient", "r", "none"),
    ],
)
def test_how_far_scopes_go(text: str, type_name: str, letters: str, how_far: str) -> None:
    assert extent(scopes_in(text), type_name, letters) == how_far


def test_scopes_are_written_in_the_notation_that_is_used() -> None:
    assert written("Observation", "rs", is_version_2=False) == "system/Observation.read"
    assert written("Observation", "uc", is_version_2=False) == "system/Observation.write"
    assert written("Observation", "sr", is_version_2=True) == "system/Observation.rs"
    assert [one.is_version_2 for one in scopes_in("system/*.read system/*.rs system/*.*")] == [False, True, False]


def test_what_narrows_a_scope_is_not_shown() -> None:
    scopes = scopes_in("openid system/*.read system/Observation.rs?patient=Patient/p1 system/*.read")

    assert shown(scopes) == "system/*.read, system/Observation.rs (only for some)"
