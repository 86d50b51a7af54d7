"""With [report] suppress_below no sentence shows a small count, nor names anybody."""

import re

import pytest

from dm_fhir.model.case import Case
from dm_fhir.report.sentences import sentences

DRUG = "anifrolumab"
#: Numbers that are no counts of patients or events: doses, weeks, months, ages, days, points, percentages, dates, names.
NO_COUNT = re.compile(
    r"\d+ mg every 4 weeks|\d{4}-\d\d-\d\d|\d+ years or later|CDASI-A|MMT8( \(0.150\))?|Mi-2|SAE1?|TIF1|MDA5|Ro52"
    r"|median \(range\) of [\d.]+ \([^)]*\)|≥5|<5|-?\d+(\.\d+)? ±? ?\d*(\.\d+)? ?%|-?\d+\.\d+|days / 30\.4375|at \d+ sites?|[A-Z][a-z]+ \d{4}"
    r"|(reduction|increase) of [^;]*?\([^)]*\)"
)


@pytest.mark.parametrize("size", [4, 24])
def test_no_small_count_is_shown(four: tuple[Case, ...], twenty_four: tuple[Case, ...], size: int) -> None:
    cases = four if size == 4 else twenty_four
    for sentence in sentences(cases, DRUG, suppress_below=5):
        left = NO_COUNT.sub("", f"{sentence.text} {sentence.missing}")
        assert not re.search(r"(?<![\d-])[1-4](?![\d])", left), sentence
        assert "Patient/" not in f"{sentence.text} {sentence.missing} {sentence.values}"


def test_what_is_hidden_is_hidden_in_the_values_too(twenty_four: tuple[Case, ...]) -> None:
    found = {one.id: one for one in sentences(twenty_four, DRUG, suppress_below=5)}
    assert found["sex"].text == "Sex: female ≥5 of 24, male <5 of 24."
    assert found["sex"].values == {"n": "24", "female": "≥5", "male": "<5"}
    assert found["subtype"].values["juvenile"] == "<5"
    assert found["subtype"].values["classic"] == "9"
    assert found["adverse_events"].values["herpes zoster"] == "<5"
    assert "(impetigo" not in found["adverse_events"].text or "impetigo <5" in found["adverse_events"].text
    assert "; for an adverse event 0 of 24 (0 %), lost to follow-up <5 of 24." in found["discontinuation"].text


def test_of_few_patients_no_median_is_shown(four: tuple[Case, ...]) -> None:
    found = {one.id: one for one in sentences(four, DRUG, suppress_below=5)}
    assert "not shown" in found["cdasi_change"].text
    assert found["cdasi_change"].values == {"n": "<5"}
    assert found["age_at_first_infusion"].values == {"n": "<5"}
