"""The vectors of the composite criteria: from FHIR JSON through the mappings to score, category and verdict."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from dm_fhir.model.case import Assessment, Case, Outcome, Source, Subject
from dm_fhir.model.definitions import Definitions
from dm_fhir.outcomes import battery, composites, core_set, inactive, tis
from dm_fhir.outcomes.bounds import possible
from dm_fhir.outcomes.measured import measured_as

FOLDER = Path(__file__).parents[1] / "vectors"
BEFORE, INFUSION, WEEK_12 = "2024-04-08", "2024-04-15T10:00:00-04:00", "2024-07-08"
#: In the vectors of juveniles 15 stands for a configured multiple of the upper limit of normal.
DEFINITIONS = Definitions(enzyme_range_in_uln_juvenile={"ck": Fraction(15)})
#: Six measures that do not change: no points.
STILL = {
    "physician_global_vas": 5,
    "patient_global_vas": 5,
    "extramuscular_vas": 5,
    "haq_di": 1,
    "mmt8_150": 140,
    "ck": 500,
}
BIRTH = {"adult": "1970-01-01", "jdm": "2012-01-01"}
Fields = dict[str, Any]


def documents(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"), parse_float=Decimal)["cases"]


def of_topic(topic: str) -> Any:
    cases = [
        pytest.param(c["inputs"], c["expected"], id=c["id"])
        for c in documents("outcome_vectors.json")
        if c["topic"] == topic
    ]
    assert cases
    return pytest.mark.parametrize(("inputs", "expected"), cases)


def values(clinic: Any, when: str, found: Fields, uln: Any = 200, unit: str = "U/L") -> list[Assessment]:
    """The measures of one day; an enzyme's value comes with the upper limit of normal."""
    return [
        clinic.core(name, when, value, uln, unit=unit) if name in core_set.ENZYMES else clinic.core(name, when, value)
        for name, value in found.items()
    ]


def patient(clinic: Any, assessments: list[Assessment], population: str = "adult") -> Case:
    case = clinic.case(assessments, [clinic.infusion("1", INFUSION)])
    born = Subject(Source("north", "Patient/1"), birth_date=BIRTH[population])
    return replace(case, subject=born)


def outcomes(case: Case, definitions: Definitions = DEFINITIONS) -> dict[str, Outcome]:
    found = battery.outcomes(case, definitions=definitions)
    return {one.variable: one for one in found if one.variable in composites.variables()}


def setting(case: Case, definitions: Definitions = DEFINITIONS) -> composites.Setting:
    first = battery.exposure_of(case).first
    assert first is not None
    return composites.setting_of(case, first, measured_as(case, core_set.VARIABLES), definitions)


def scored(case: Case, population: Any = "adult", definitions: Definitions = DEFINITIONS) -> dict[str, tis.Scored]:
    found = tis.scored(setting(case, definitions).core, "week_12", population, definitions)
    return {one.compared.variable or "": one for one in found}


@pytest.mark.parametrize(
    "vector", [pytest.param(one, id=f"{one['name']}, {one['population']}") for one in documents("tis_vectors.json")]
)
def test_total_improvement_score(vector: Fields, clinic: Any) -> None:
    enzyme, expected = vector["enzyme"], vector["expected"]
    dated = ((BEFORE, vector["baseline"]), (WEEK_12, vector["followup"]))
    case = patient(
        clinic,
        [one for when, found in dated for one in values(clinic, when, found, enzyme["uln"], enzyme["unit"])],
        vector["population"],
    )
    found, parts = outcomes(case), scored(case, vector["population"])

    assert {name: (one.percent.exact, one.points) for name, one in parts.items() if one.percent} == {
        name: (Fraction(part["percent_exact"]), Fraction(part["points"]))
        for name, part in expected["components"].items()
    }
    assert (found["tis"].number, found["tis"].unit, found["tis"].visit) == (
        Fraction(expected["total"]),
        "{score}",
        "week_12",
    )
    assert found["tis_category"].answer == {"none": "no_improvement"}.get(expected["category"], expected["category"])
    assert found["tis"].verdicts == found["tis_category"].verdicts == {"population": vector["population"]}


@of_topic("tis_band")
def test_points_of_a_band(inputs: Fields, expected: Fields) -> None:
    name = {"muscle": "mmt8"}.get(inputs["measure"], inputs["measure"])

    assert tis.points(name, Fraction(inputs["improvement_percent"])) == Fraction(expected["points"])


@of_topic("tis_category")
def test_category(inputs: Fields, expected: Fields) -> None:
    found = tis.category(Fraction(inputs["total"]), inputs["population"])

    assert found == {"none": "no_improvement"}.get(expected["category"], expected["category"])


@of_topic("tis_policy")
def test_what_a_score_needs(inputs: Fields, expected: Fields, clinic: Any) -> None:
    population = inputs.get("population", "adult")
    definitions = replace(DEFINITIONS, tis_lower_bound="missing" in inputs)
    case = patient(clinic, policy(clinic, inputs), population)
    found, parts = outcomes(case, definitions), scored(case, population, definitions)
    asked = inputs.get("measure") or expected.get("enzyme") or next(iter(inputs.get("enzymes", {})), None)
    part = parts.get(asked or "")
    told = {
        "tis": found["tis"].number,
        "category": found["tis_category"].answer,
        "reasons": list(found["tis"].reasons),
        "lower_bound": found["tis_lower_bound"].number if "tis_lower_bound" in found else None,
        "enzyme": core_set.most_abnormal(setting(case).core)[0],
        "multiples": {n: m.exact for n, m in core_set.multiples_of_uln(setting(case).core).items() if m is not None},
    }
    if part is not None and part.percent is not None:
        low, high = tis.points_possible(part.compared.measure.name, part.percent)
        told |= {"percent_exact": part.percent.exact, "points": part.points, "points_low": low, "points_high": high}

    assert {name: told[name] for name in expected} == {name: exact(value) for name, value in expected.items()}


def exact(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: exact(inner) for name, inner in value.items()}
    return Fraction(value) if isinstance(value, str) and value[0].isdigit() else value


def policy(clinic: Any, inputs: Fields) -> list[Assessment]:
    """Both visits of a policy vector: what it speaks of, and for the rest measures that do not change."""
    if "improvement_percent" in inputs:
        first, last = both_ends(inputs["improvement_percent"])
        return [*values(clinic, BEFORE, first), *values(clinic, WEEK_12, last)]
    if "enzymes" in inputs:
        rest = {name: value for name, value in STILL.items() if name != "ck"}
        found = [*values(clinic, BEFORE, rest), *values(clinic, WEEK_12, rest)]
        return [*found, *(one for name, told in inputs["enzymes"].items() for one in enzyme(clinic, name, told))]
    if "measure" not in inputs:
        rest = {name: value for name, value in STILL.items() if name != "mmt8_150"}
        first, last = ({**rest, **inputs[when]} for when in ("baseline", "followup"))
        return [*values(clinic, BEFORE, first), *values(clinic, WEEK_12, last)]
    name = inputs["measure"]
    replaced = {"cmas": "mmt8_150", "jdm_das_total": "extramuscular_vas", "chq_phs": "ck"}.get(name, name)
    rest = {other: value for other, value in STILL.items() if other != replaced}
    found = [*values(clinic, BEFORE, rest), *values(clinic, WEEK_12, rest)]
    for when, told in ((BEFORE, inputs["baseline"]), (WEEK_12, inputs["followup"])):
        quantity = told if isinstance(told, dict) else {"value": told}
        unit = quantity.get("unit") or inputs.get("unit")
        found.append(clinic.core(name, when, quantity["value"], **({"unit": unit} if unit else {})))
    return found


def both_ends(percents: Fields) -> tuple[Fields, Fields]:
    """Values that improve by so many percent of their range."""
    first = {"physician_global_vas": 9, "patient_global_vas": 9, "extramuscular_vas": 9, "mmt8_150": 90, "ck": 6000}
    ranges = {"mmt8_150": -150, "ck": 3000}
    last = {
        name: int(first[name] - Fraction(percent) * ranges.get(name, 10) / 100) for name, percent in percents.items()
    }
    return first, last


def enzyme(clinic: Any, name: str, told: Fields) -> list[Assessment]:
    comparator = {"comparator": told["followup_comparator"]} if "followup_comparator" in told else {}
    found = [clinic.core(name, BEFORE, told["baseline"], told["uln"])]
    if told["followup"] is not None:
        found.append(clinic.core(name, WEEK_12, told["followup"], told["uln"], **comparator))
    return found


@of_topic("imacs_improvement")
def test_imacs_improvement(inputs: Fields, expected: Fields, clinic: Any) -> None:
    assessments = [*values(clinic, BEFORE, inputs["baseline"]), *values(clinic, WEEK_12, inputs["followup"])]
    case = patient(clinic, assessments)
    judged = composites.imacs_verdict("R-IMACS-IMPROVE", setting(case).core, "week_12").judged

    assert {
        "improved": sum(one.verdicts["improved_20"] is True for one in judged),
        "worse_25": sum(one.verdicts["worse_25"] is True for one in judged),
        "mmt_worse": next(one.verdicts["worse_25"] for one in judged if one.compared.measure.name == "mmt8"),
        "imacs_improvement": outcomes(case)["imacs_improvement"].answer == "yes",
    } == expected


@of_topic("imacs_worsening")
def test_imacs_worsening(inputs: Fields, expected: Fields, clinic: Any) -> None:
    """Values that worsen as the vector says; those it does not name make up the number of measures worse by 30 %."""
    start = {
        "physician_global_vas": 8,
        "mmt8_150": 100,
        "extramuscular_vas": 8,
        "patient_global_vas": 5,
        "haq_di": 1,
        "ck": 100,
    }
    last = {
        **start,
        "physician_global_vas": 8 + inputs["physician_global_worse_cm"],
        "mmt8_150": 100 - inputs["mmt_worse_percent"],
        "extramuscular_vas": 8 + inputs["extramuscular_worse_cm"],
    }
    worse = {"patient_global_vas": Decimal("6.5"), "haq_di": Decimal("1.3"), "ck": 130}
    last |= dict(list(worse.items())[: inputs["measures_worse_30_percent"]])
    case = patient(clinic, [*values(clinic, BEFORE, start), *values(clinic, WEEK_12, last)])
    judged = composites.imacs_verdict("R-IMACS-WORSEN", setting(case).core, "week_12").judged

    assert sum(one.verdicts["worse_30"] is True for one in judged) == inputs["measures_worse_30_percent"]
    assert outcomes(case)["imacs_worsening"].answer == ("yes" if expected["imacs_worsening"] else "no")


@of_topic("jdm_inactive")
def test_inactive_disease(inputs: Fields, expected: Fields, clinic: Any) -> None:
    # Of the last vector the MMT8 is there, on the scale that does not count.
    case = patient(clinic, values(clinic, WEEK_12, {"mmt8_150": 140, **inputs}), "jdm")
    met = [one.met for one in composites.limits_kept(setting(case).core, "week_12")]

    assert {
        "met": met.count(True),
        "not_met": met.count(False),
        "unknown": met.count(None),
        "jdm_inactive": {"yes": True, "no": False, None: None}[outcomes(case)["jdm_inactive"].answer],
    } == expected


@of_topic("ck_le_150")
def test_limit_of_ck(inputs: Fields, expected: Fields, clinic: Any) -> None:
    comparator = {"comparator": inputs["comparator"]} if inputs["comparator"] else {}
    result = clinic.core("ck", WEEK_12, inputs["value"], **comparator).measured.result

    assert inactive.LIMITS["ck"].is_met(possible(result.number, result.bound, Fraction(0), None)) is expected["met"]


def test_every_vector_of_the_composites_is_read() -> None:
    topics = {
        "tis_band",
        "tis_category",
        "tis_policy",
        "imacs_improvement",
        "imacs_worsening",
        "jdm_inactive",
        "ck_le_150",
    }
    rules = {"R-TIS", "R-IMACS-IMPROVE", "R-IMACS-WORSEN", "R-JDM-INACTIVE"}
    found = {one["topic"] for one in documents("outcome_vectors.json") if one["rule"] in rules}

    assert found == topics
