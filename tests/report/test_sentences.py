"""The sentences computed from the sample cohorts say what the papers say.

Every expected number is typed from the papers: the Johns Hopkins case series of four patients (2024) and ACR
Convergence 2025, abstract 2670 (24 patients). Where a paper prints a percentage, only this count of 24 gives it.
"""

from collections.abc import Mapping

import pytest

from dm_fhir.demo.published import Cohort, published, source
from dm_fhir.model.case import Case
from dm_fhir.report.sentences import Sentence, sentences

DRUG = "anifrolumab"


@pytest.fixture(scope="module")
def said_of_four(four: tuple[Case, ...]) -> dict[str, Sentence]:
    return {sentence.id: sentence for sentence in sentences(four, DRUG)}


@pytest.fixture(scope="module")
def said_of_24(twenty_four: tuple[Case, ...]) -> dict[str, Sentence]:
    return {sentence.id: sentence for sentence in sentences(twenty_four, DRUG)}


FOUR = {
    "patients": "4 patients with at least one completed infusion of anifrolumab at 1 site were analysed.",
    "adult_onset": "Adult-onset dermatomyositis (onset at 18 years or later): 4 of 4 (100 %).",
    "treatment_period": "Infusions were given between April and August 2024 (2024-04-03 to 2024-08-01).",
    "cdasi_improved": "CDASI-A improved in 4 of 4 evaluable (100 %).",
    "dlqi_improved": "DLQI improved in 2 of 2 evaluable (100 %); 2 of 4 without baseline.",
    "adverse_events": "Adverse events recorded since the first infusion: 0 events in 0 of 4 (0 %) patients.",
}


@pytest.mark.parametrize("name", FOUR)
def test_four_patients_in_words(said_of_four: Mapping[str, Sentence], name: str) -> None:
    assert said_of_four[name].text == FOUR[name]


def test_the_reduction_of_cdasi_activity_is_printed_as_in_the_paper(said_of_four: Mapping[str, Sentence]) -> None:
    sentence = said_of_four["cdasi_change"]
    dash = "\N{EN DASH}"
    printed = f"median (range) CDASI-A reduction of 12 points or 49.4 % (5{dash}21; 26.9 %{dash}77.8 %)"
    assert printed in sentence.text
    assert sentence.values == {
        "n": "4",
        "points_median": "12",
        "points_low": "5",
        "points_high": "21",
        "percent_median": "49.4",
        "percent_low": "26.9",
        "percent_high": "77.8",
    }
    assert sentence.missing == ""


def test_four_patients_regimen(said_of_four: Mapping[str, Sentence]) -> None:
    assert said_of_four["regimen"].values == {
        "n": "4",
        "300 mg every 4 weeks": "4",
        "300 mg every 4 weeks_percent": "100",
    }


def test_four_patients_were_assessed_after_three_or_two_infusions(said_of_four: Mapping[str, Sentence]) -> None:
    values = said_of_four["infusions_before_last_assessment"].values
    assert values["patients_after_3"] == "Patient/bal-1, Patient/bal-3"
    assert values["patients_after_2"] == "Patient/bal-2, Patient/bal-4"


def test_patients_one_to_three_improved_outside_the_skin(said_of_four: Mapping[str, Sentence]) -> None:
    values = said_of_four["extracutaneous_improved"].values
    assert values["patients"] == "Patient/bal-1, Patient/bal-2, Patient/bal-3"
    assert (values["improved"], values["improved_percent"]) == ("3", "75")


def test_patients_one_and_four_took_less_of_something(said_of_four: Mapping[str, Sentence]) -> None:
    values = said_of_four["other_treatment_stopped"].values
    assert (values["any"], values["n"], values["patients"]) == ("2", "4", "Patient/bal-1, Patient/bal-4")
    assert said_of_four["other_treatment_stopped"].missing == ""


def test_missing_baselines_are_missing_and_not_failures(said_of_four: Mapping[str, Sentence]) -> None:
    assert said_of_four["dlqi_improved"].missing == "2 of 4 without baseline"
    assert said_of_four["dlqi_change"].missing == "2 of 4 without baseline"


@pytest.mark.parametrize("name", ["myositis_specific_antibodies", "anti_ro52"])
def test_what_nobody_documented_is_said_to_be_so(said_of_four: Mapping[str, Sentence], name: str) -> None:
    sentence = said_of_four[name]
    assert "not documented" in sentence.text
    assert "0 of" not in sentence.text
    assert sentence.missing == "4 of 4 not tested"


COUNTS_OF_24 = {
    "sex": {"female": (20, "83")},
    "race": {"White": (19, "79")},
    "subtype": {"classic": (9, "38"), "amyopathic": (10, "42"), "juvenile": (3, "13"),
                "antisynthetase syndrome": (2, "8"), "unknown": (0, "0")},
    "paraneoplastic": {"paraneoplastic": (5, "21")},
    "manifestations": {
        "gottron_papules": (24, "100"), "pruritus": (22, "92"), "periorbital_erythema": (20, "83"),
        "periungual_erythema": (19, "79"), "alopecia": (11, "46"), "calcinosis": (9, "38"),
        "musculoskeletal_involvement": (14, "58"), "dysphagia": (10, "42"), "arthritis": (12, "50"), "ild": (5, "21"),
    },
    "myositis_specific_antibodies": {
        "positive": (19, "79"), "seronegative": (5, "21"), "anti_tif1g": (8, "33"), "anti_mda5": (3, "13"),
        "anti_sae1": (4, "17"), "anti_ars": (3, "13"), "anti_mi2": (1, "4"),
    },
    "anti_ro52": {"anti_ro52": (9, "38")},
    "prior_treatment": {
        "glucocorticoid": (24, "100"), "hydroxychloroquine": (21, "88"), "methotrexate": (21, "88"),
        "azathioprine": (6, "25"), "tacrolimus": (5, "21"), "mycophenolate": (16, "67"), "immunoglobulin": (19, "79"),
        "rituximab": (7, "29"), "tofacitinib": (10, "42"), "baricitinib": (2, "8"), "ruxolitinib": (1, "4"),
    },
    "indication": {"skin": (22, "92"), "musculoskeletal": (2, "8")},
    "regimen": {"300 mg every 4 weeks": (23, "96"), "150 mg every 4 weeks": (1, "4")},
    "concomitant_csdmard": {
        "any": (12, "50"), "MTX": (4, "17"), "MMF": (4, "17"), "TAC": (2, "8"), "AZA": (1, "4"), "TAC + MMF": (1, "4"),
    },
    "discontinuation": {"stopped": (1, "4"), "lost to follow-up": (1, "4"), "adverse event": (0, "0")},
    "new_signs": {"patients": (1, "4"), "gowers_sign": (1, "4")},
    "other_treatment_spaced": {"immunoglobulin": (2, "8")},
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS_OF_24)
def test_counts_of_24(said_of_24: Mapping[str, Sentence], name: str) -> None:
    expected = {"n": "24"}
    for key, (count, percent) in COUNTS_OF_24[name].items():
        expected |= {key: str(count), f"{key}_percent": percent}
    found = said_of_24[name].values
    assert {key: found.get(key) for key in expected} == expected
    # Races other than White are not published; elsewhere nothing may be counted that the paper does not have.
    assert found.keys() == expected.keys() or name in ("race", "sex")
    assert said_of_24[name].missing == ""


def test_24_patients_at_three_sites(said_of_24: Mapping[str, Sentence]) -> None:
    assert said_of_24["patients"].values == {"n": "24", "sites": "3"}


def test_24_ages_and_follow_up(said_of_24: Mapping[str, Sentence]) -> None:
    assert said_of_24["age_at_first_infusion"].values == {"n": "24", "mean": "53.9", "sd": "19.8"}
    assert said_of_24["follow_up"].values == {"n": "24", "mean": "7.5", "sd": "4.2"}
    assert "days / 30.4375" in said_of_24["follow_up"].text


def test_24_ages_at_onset_count_those_that_partial_dates_leave_open(said_of_24: Mapping[str, Sentence]) -> None:
    sentence = said_of_24["age_at_diagnosis"]
    assert int(sentence.values["n"]) < 24
    assert sentence.missing == f"{24 - int(sentence.values['n'])} of 24 without a certain age in years"
    assert said_of_24["diagnosis_before_first_infusion"].values == {"ok": "24", "violation": "0", "n": "24"}


def test_24_adverse_events_are_events_and_patients(said_of_24: Mapping[str, Sentence]) -> None:
    values = said_of_24["adverse_events"].values
    assert values["events"] == "5"
    assert {key: values[key] for key in ("impetigo", "arthralgia", "urinary tract infection", "herpes zoster")} == {
        "impetigo": "1",
        "arthralgia": "1",
        "urinary tract infection": "2",
        "herpes zoster": "1",
    }


@pytest.mark.parametrize("cohort", ["four-patients", "twenty-four-patients"])
def test_every_published_figure_has_its_sentence(
    cohort: Cohort, said_of_four: Mapping[str, Sentence], said_of_24: Mapping[str, Sentence]
) -> None:
    said = said_of_four if cohort == "four-patients" else said_of_24
    assert published(cohort).keys() <= said.keys()
    assert source(cohort)


def test_published_figures_say_where_the_paper_contradicts_itself() -> None:
    paper = published("twenty-four-patients")
    assert "impossible" in paper["age_at_diagnosis"]
    assert "truncated" in paper["indication"]
    assert "truncated" in paper["prior_treatment"]
