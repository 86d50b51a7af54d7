"""Case series documents: an earlier format is read, a later one refused, a faulty one told in full and without values."""

import json
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.errors import ConfigError
from dm_fhir.model import upgrades
from dm_fhir.model.case import FORMAT, FORMAT_VERSION, CaseSeries
from dm_fhir.model.document import encode, read_document
from dm_fhir.model.upgrades import UPGRADES, upgraded

#: As `dm-fhir export` wrote it when the format was 1, all but two cases taken out.
FORMAT_1 = (Path(__file__).parent / "documents" / "case-series-1.json").read_bytes()
Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> bytes:
    """The document of format 1 with a change made to it."""
    document = json.loads(FORMAT_1)
    change(document)
    return json.dumps(document).encode()


def refusal(data: bytes) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_document(data, "leon.json")
    return caught.value


def test_a_document_of_format_1_is_read_with_everything_in_it() -> None:
    series = read_document(FORMAT_1, "leon.json")
    rich, other = series.cases
    assert (series.format_version, series.written_by, series.pseudonymised) == (str(FORMAT_VERSION), None, True)
    assert (len(rich.assessments), len(rich.administrations), len(other.assessments)) == (12, 3, 7)
    assert [one.code for one in rich.findings] == ["unit_missing", "zone_assumed", "unreadable"]
    assert [(one.event.variable, one.date) for one in rich.adverse_events] == [("ae_herpes_zoster", "2024-02")]
    (bound,) = [one for one in rich.assessments if one.measured.quantity and one.measured.quantity.comparator]
    assert bound.measured.quantity is not None
    assert (bound.measured.quantity.value, bound.measured.result.number) == (Decimal("20.5"), Fraction(41, 2))
    assert bound.measured.result.flags == ("unit_read_as_U_per_L",)
    assert {one.rule for one in rich.outcomes} >= {"R-EXP", "R-CDASI", "R-MMT"}


def test_what_was_read_is_written_in_this_format_and_read_again() -> None:
    series = read_document(FORMAT_1, "leon.json")
    assert read_document(encode(series), "again.json") == series
    assert json.loads(encode(series))["format_version"] == str(FORMAT_VERSION)


def test_a_later_format_is_refused_with_the_reason() -> None:
    later = str(FORMAT_VERSION + 1)
    error = refusal(changed(lambda d: d.update(format_version=later, cases="of another shape")))
    assert error.exit_code == 2
    assert error.message == (
        f"leon.json was written by a newer dm-fhir (format {later}); this one reads up to {FORMAT_VERSION}"
    )
    assert error.hint == "install the version that wrote it, or a later one"


def test_every_format_before_this_one_has_its_upgrade() -> None:
    assert len(UPGRADES) == FORMAT_VERSION - 1
    assert CaseSeries("t", "d", (), {}).format_version == str(FORMAT_VERSION)


def test_upgrades_run_from_the_document_s_format_on_and_leave_the_document_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def step(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return lambda document: {**document, "done": document["done"] + name}

    monkeypatch.setattr(upgrades, "UPGRADES", tuple(map(step, "abc")))
    given = {"done": "", "format_version": "2"}
    assert [upgraded(given, version)["done"] for version in (1, 2, 3, 4)] == ["abc", "bc", "c", ""]
    assert upgraded(given, 2)["format_version"] == "4"
    assert given == {"done": "", "format_version": "2"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda d: d.pop("title"), "top level: 'title' is missing"),
        (lambda d: d.update(surprise=1), "top level: unknown key 'surprise'; known: "),
        (lambda d: d["cases"][1].update(site=5), "cases[1].site: must be string, is a number"),
        (lambda d: d["cases"][0]["outcomes"][0].update(number="Meier"), "cases[0].outcomes[0].number: "),
        (lambda d: d.update(format="another"), f'format: must be "{FORMAT}"'),
        (lambda d: d.pop("format"), f'format: must be "{FORMAT}"'),
        (lambda d: d.update(format_version=1), 'format_version: must be a number as text, such as "1"'),
        (lambda d: d.update(format_version="0"), 'format_version: must be a number as text, such as "1"'),
        (lambda d: d.pop("format_version"), 'format_version: must be a number as text, such as "1"'),
    ],
)  # fmt: skip
def test_a_fault_is_told_by_its_path_and_without_the_value(change: Change, fault: str) -> None:
    error = refusal(changed(change))
    assert [one[: len(fault)] for one in error.faults] == [fault]
    assert "Meier" not in str(error)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"{", "top level: is not JSON"),
        (b"[" * 9999, "top level: is not JSON"),
        (b"\xff", "top level: is not JSON"),
        (b"[]", f'format: must be "{FORMAT}"'),
        (FORMAT_1.replace(b'"drug":', b'"title": "another", "drug":'), "top level: an object has a key twice"),
    ],
)
def test_what_is_no_document(data: bytes, fault: str) -> None:
    assert refusal(data).faults == (fault,)
