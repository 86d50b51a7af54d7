"""Which exit code wins, and what an error shows."""

import itertools

import pytest

from dm_fhir.errors import (
    EXIT_CODES,
    EXIT_PRECEDENCE,
    AnswerUnusable,
    ConfigError,
    DmFhirError,
    in_a_line,
    worst_exit_code,
)

ORDER = (130, 2, 11, 5, 4, 1, 7, 3, 0)


@pytest.mark.parametrize(("worse", "better"), list(itertools.combinations(ORDER, 2)))
def test_of_two_exit_codes_the_one_that_asks_for_more_wins(worse: int, better: int) -> None:
    assert worst_exit_code([better, worse, better]) == worse


def test_nothing_went_wrong() -> None:
    assert worst_exit_code([]) == 0


def test_every_error_has_a_documented_exit_code() -> None:
    kinds, codes = [DmFhirError], set()
    while kinds:
        kind = kinds.pop()
        codes.add(kind.exit_code)
        kinds += kind.__subclasses__()
    assert codes == {1, 2, 3, 4, 5, 11}
    # 0, a conflict on push and an interruption are no errors.
    assert set(EXIT_CODES) == set(EXIT_PRECEDENCE) == codes | {0, 7, 130}


def test_a_config_error_lists_its_faults_and_then_the_hint() -> None:
    error = ConfigError("x.toml has 2 faults:", faults=iter(["a: b", "c: d"]), hint="mend it")
    assert str(error) == "x.toml has 2 faults:\n  - a: b\n  - c: d\n  mend it"
    assert error.faults == ("a: b", "c: d")


def test_an_unusable_answer_is_a_failed_request() -> None:
    error = AnswerUnusable("cut off", reason="body-incomplete")
    assert (str(error), error.reason, error.status, error.exit_code) == ("cut off", "body-incomplete", None, 3)


def test_many_lines_in_one() -> None:
    faults = ["a: b", "c: d"]
    error = ConfigError("x.toml has 2 faults:", faults=faults, hint="mend it")
    assert in_a_line(error) == "x.toml has 2 faults: a: b; c: d; mend it"
    assert in_a_line("server: no\n  try later") == "server: no; try later"
    assert in_a_line("") == ""
