"""Hand-checkable cases: from FHIR JSON through the mappings to the outcome, every number exact."""

import json
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from dm_fhir.mappings import therapy
from dm_fhir.mappings.datatypes import read
from dm_fhir.model.case import Assessment, Outcome, Source, Therapy
from dm_fhir.model.dates import span
from dm_fhir.model.definitions import Definitions
from dm_fhir.model.exact import rounded
from dm_fhir.outcomes import baseline, battery, dlqi, exposure, mmt8

VECTORS = Path(__file__).parents[1] / "vectors" / "outcome_vectors.json"
ZONE = ZoneInfo("America/New_York")
CK = {"system": "http://loinc.org", "code": "2157-6"}
RXNORM, NDC = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://hl7.org/fhir/sid/ndc"
HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
PRODUCTS = {"2565286": RXNORM, "0310-3040-00": NDC, "J0491": HCPCS}

EXACT = {"improvement", "percent_exact", "ck_u_per_l", "improvement_u_per_l", "value", "baseline_multiple_of_uln"}
Fields = dict[str, Any]


def cases() -> list[Any]:
    document = json.loads(VECTORS.read_text(encoding="utf-8"), parse_float=Decimal)
    return [pytest.param(case, id=case["id"]) for case in document["cases"] if case["topic"] in TOPICS]


def exact(name: str, value: Any) -> Any:
    if name == "flags":
        return set(value)
    if name == "doses_mg":
        return [Fraction(dose) if dose is not None else None for dose in value]
    return Fraction(value) if name in EXACT and value is not None else value


def cdasi_response(inputs: Fields, clinic: Any) -> Fields:
    code = inputs.get("variable", "cdasi_activity").replace("_", "-")
    points, percent = score_changes(clinic, "cdasi_activity", (code, inputs["baseline"]), (code, inputs["followup"]))
    return {
        "improvement": points.number,
        "percent_exact": percent.number,
        "percent_1dp": one_decimal(percent),
        "reason": cause(percent),
        "flags": {*points.flags, *percent.flags},
        **{name: met(points, name) for name in ("cdasi_a_mcid_4", "cdasi_a_mcid_5")},
        **{name: met(percent, name) for name in ("cdasi_a_pct_40", "cdasi_a_pct_50")},
    }


def met(outcome: Outcome, definition: str) -> bool | None:
    """A verdict of yes or no; one that is not there is unknown."""
    return {"yes": True, "no": False, None: None}[outcome.verdicts.get(definition)]


def cdasi_band(inputs: Fields, clinic: Any) -> Fields:
    chosen = Definitions(cdasi_19=inputs["upenn_19_side"]) if "upenn_19_side" in inputs else Definitions()
    scores = [clinic.score("1", "cdasi-activity", inputs["score"], "2024-04-08")]
    found = baseline_of(clinic, "cdasi_activity", scores, chosen)
    names = ("cdasi_a_band_stanford_14", "cdasi_a_band_upenn_19")
    entry = "cdasi_a_entry_ge_14"
    return {**{name: found.verdicts.get(name) for name in names}, entry: met(found, entry)}


def dlqi_band(inputs: Fields, clinic: Any) -> Fields:
    found = baseline_of(clinic, "dlqi", [clinic.score("1", "dlqi", inputs["score"], "2024-04-08")])
    return {"dlqi_band_hongbo": found.verdicts.get("dlqi_band_hongbo"), "reason": cause(found)}


def dlqi_response(inputs: Fields, clinic: Any) -> Fields:
    points, _ = score_changes(clinic, "dlqi", ("dlqi", inputs["baseline"]), ("dlqi", inputs["followup"]))
    return {"improvement": points.number, "dlqi_mcid_4": met(points, "dlqi_mcid_4")}


def mmt8_change(inputs: Fields, clinic: Any) -> Fields:
    first = (f"mmt8-{inputs['baseline_scale']}", inputs["baseline"])
    last = (f"mmt8-{inputs['followup_scale']}", inputs["followup"])
    points, _ = score_changes(clinic, f"mmt8_{inputs['followup_scale']}", first, last)
    return {"improvement": points.number, "reason": cause(points)}


def score_changes(clinic: Any, variable: str, first: Any, last: Any) -> tuple[Outcome, Outcome]:
    """Improvement in points and in percent; a score that is None was not taken."""
    dated = ((*first, "2024-04-08"), (*last, "2024-07-08"))
    scores = [clinic.score(when, code, value, when) for code, value, when in dated if value is not None]
    return changes(clinic, variable, scores)


def changes(clinic: Any, variable: str, assessments: list[Assessment]) -> tuple[Outcome, Outcome]:
    found = computed(clinic, assessments)
    return found[f"{variable}_improvement"], found[f"{variable}_percent_improvement"]


def baseline_of(
    clinic: Any, variable: str, assessments: list[Assessment], definitions: Definitions = battery.DEFAULTS
) -> Outcome:
    return computed(clinic, assessments, definitions)[f"{variable}_baseline"]


def computed(
    clinic: Any, assessments: list[Assessment], definitions: Definitions = battery.DEFAULTS
) -> dict[str, Outcome]:
    case = clinic.case(assessments, [clinic.infusion("1", "2024-04-15T10:00:00-04:00")])
    return {outcome.variable: outcome for outcome in battery.outcomes(case, definitions=definitions)}


def one_decimal(outcome: Outcome) -> str | None:
    return str(rounded(outcome.number, 1)) if outcome.number is not None else None


def cause(outcome: Outcome) -> str | None:
    """The reasons begin with the verdict ("baseline_missing") and end with what caused it ("out_of_range")."""
    return outcome.reasons[-1] if outcome.reasons else None


def dlqi_score(inputs: Fields, clinic: Any) -> Fields:
    items = [0 if item == "not_relevant" else item for item in inputs["items"]]
    found = dlqi.score(items, prevented=inputs.get("q7_prevented", False), age_years=inputs.get("age"))
    return {"score": found.number, "reason": found.reason, "flags": set(found.flags)}


def ck_units(inputs: Fields, clinic_with: Callable[[str], Any]) -> Fields:
    reads = "parse_text = true" if inputs.get("parse_strings") else ""
    clinic = clinic_with(f'[[measurement]]\nvariable = "ck"\n{reads}')
    result = clinic.assessment("1", CK, **ck_value(inputs)).measured.result
    return {
        "ck_u_per_l": result.number,
        "bound": result.bound if result.number is not None else None,
        "reason": result.reason,
        "flags": set(result.flags),
    }


def ck_value(inputs: Fields) -> Fields:
    if "value_string" in inputs:
        return {"valueString": inputs["value_string"]}
    return {"valueQuantity": {name: inputs[name] for name in ("value", "unit", "comparator") if name in inputs}}


def ck_change(inputs: Fields, clinic: Any) -> Fields:
    dated = ((inputs["baseline"], "2024-04-08"), (inputs["followup"], "2024-07-08"))
    limit = {"referenceRange": [{"high": inputs["uln"]}]} if inputs["uln"] else {}
    values = [clinic.assessment(when, CK, effectiveDateTime=when, **ck_value(value), **limit) for value, when in dated]
    points, percent = changes(clinic, "ck", values)
    return {
        "improvement_u_per_l": points.number,
        "percent_1dp": one_decimal(percent),
        "baseline_multiple_of_uln": baseline_of(clinic, "ck_x_uln", values).number,
        "reason": cause(percent),
    }


def mmt8_scale(inputs: Fields, clinic_with: Callable[[str], Any]) -> Fields:
    """The way through FHIR tells variable and reason; the rule itself names its evidence as well."""
    found = mmt8.scale(**{**inputs, "value": Fraction(inputs["value"])})
    measured = mmt8_observation(inputs, clinic_with).measured
    number, reason = measured.result.number, measured.result.reason

    assert (measured.concept.variable if number is not None else None, reason) == (found.variable, found.reason)
    assert number is None or number == inputs["value"]
    return {"variable": found.variable, "evidence": found.evidence, "reason": found.reason}


def mmt8_observation(inputs: Fields, clinic_with: Callable[[str], Any]) -> Assessment:
    local = {"system": "urn:example:forms", "code": "MMT8"}
    default = f"scale = {inputs['site_default']}\n" if "site_default" in inputs else ""
    row = '[[measurement]]\nvariable = "mmt8"\ncodes = [{ system = "urn:example:forms", code = "MMT8" }]\n'
    clinic = clinic_with(row + default)
    coding = clinic.own(f"mmt8-{inputs['code_scale']}") if "code_scale" in inputs else local
    high = inputs.get("reference_range_high")
    return clinic.assessment(
        "1",
        coding,
        valueInteger=inputs["value"],
        referenceRange=[{"high": {"value": high}}] if high is not None else [],
        component=[{"code": {"text": "a muscle"}}] * inputs.get("component_count", 0),
    )


def whole_exposure(inputs: Fields, clinic: Any) -> Fields:
    records = [record(index, entry, clinic) for index, entry in enumerate(inputs["admins"])]
    orders = [one for one in records if isinstance(one, Therapy)]
    label_dose = clinic.tables.rows["medication", "anifrolumab"].label_dose_mg
    exposed = exposure.exposure([one for one in records if not isinstance(one, Therapy)], ZONE, label_dose)
    first = exposed.first
    return {
        "infusions_completed": len(exposed.completed),
        "infusions_partial": len(exposed.partial),
        "missed": len(exposed.missed),
        # An order is kept as a therapy; the exposure never sees it.
        "not_counted": len(exposed.not_counted) + len(orders),
        "dropped": len(exposed.dropped),
        "doses_mg": [infusion.dose_mg for infusion in exposed.infusions],
        "first_exposure": first.day.isoformat() if first and first.day else None,
        "intervals_days": [infusion.interval_days for infusion in exposed.infusions[1:]],
        "flags": set(exposed.flags),
    }


def record(index: int, entry: Fields, clinic: Any) -> Any:
    if entry.get("resource") == "MedicationRequest":
        body = msgspec.json.encode({"resourceType": "MedicationRequest", "status": entry["status"]})
        order = read(body, therapy.MedicationRequest)
        return therapy.from_request(order, Source("north", f"MedicationRequest/{index}"), clinic.tables, {})
    elements = {name: entry[name] for name in ("status", "effectiveDateTime", "effectivePeriod") if name in entry}
    return clinic.administration(str(index), elements | details(entry))


def details(entry: Fields) -> Fields:
    product, part = entry.get("product"), entry.get("part_of")
    found = {
        "statusReason": [{"text": entry.get("statusReason")}],
        "dosage": {"dose": entry.get("dose")},
        "partOf": [{"reference": f"Procedure/{part}"}],
        "identifier": [{"system": "urn:example:infusions", "value": entry.get("identifier")}],
        "medicationCodeableConcept": {"coding": [{"system": PRODUCTS.get(product or ""), "code": product}]},
    }
    given = {"statusReason": "statusReason", "dosage": "dose", "partOf": "part_of", "identifier": "identifier"}
    given["medicationCodeableConcept"] = "product"
    return {element: found[element] for element, name in given.items() if name in entry}


def infusion_interval(inputs: Fields, clinic: Any) -> Fields:
    return {"interval_class": exposure.interval_class(inputs["days"])}


def baseline_selection(inputs: Fields, clinic: Any) -> Fields:
    exposed = exposure.exposure([clinic.infusion("1", inputs["first_infusion_start"])], ZONE)
    candidates = baseline.sort_out([candidate(clinic, entry) for entry in inputs["observations"]], ZONE)
    found = baseline.select_baseline(candidates, exposed.infusions[0].span, ZONE)
    return {
        "chosen": found.chosen.source.reference.removeprefix("Observation/") if found.chosen else None,
        "value": found.chosen.measured.result.number if found.chosen else None,
        "reason": found.reason,
        "flags": set(found.flags),
        "excluded": {place.removeprefix("Observation/"): reason for place, reason in found.excluded.items()},
    }


def candidate(clinic: Any, entry: Fields) -> Assessment:
    elements: Fields = {"status": entry["status"]}
    if "effective" in entry:
        elements["effectiveDateTime"] = entry["effective"]
    if "effective_period_end" in entry:
        elements["effectivePeriod"] = {"end": entry["effective_period_end"]}
    if "identifier" in entry:
        elements["identifier"] = [{"value": entry["identifier"]}]
    if "issued" in entry:
        elements["issued"] = entry["issued"]
    value = entry["value"]
    elements |= {"valueInteger": value} if value is not None else {"dataAbsentReason": {"text": "not performed"}}
    return clinic.assessment(entry["id"], clinic.own("cdasi-activity"), entry.get("last_updated"), **elements)


def infusions_before_assessment(inputs: Fields, clinic: Any) -> Fields:
    infusions = [clinic.infusion(str(index), when) for index, when in enumerate(inputs["infusions"])]
    return {
        "infusions": exposure.infusions_before(exposure.exposure(infusions, ZONE), span(inputs["assessment"], ZONE))
    }


#: Topics whose cases differ in what the site's table says.
WITH_TABLES = {"mmt8_scale", "ck_units"}
TOPICS: dict[str, Callable[..., Fields]] = {
    "cdasi_response": cdasi_response,
    "cdasi_band": cdasi_band,
    "dlqi_band": dlqi_band,
    "dlqi_response": dlqi_response,
    "dlqi_score": dlqi_score,
    "ck_units": ck_units,
    "ck_change": ck_change,
    "mmt8_scale": mmt8_scale,
    "mmt8_change": mmt8_change,
    "exposure": whole_exposure,
    "infusion_interval": infusion_interval,
    "baseline_selection": baseline_selection,
    "infusions_before_assessment": infusions_before_assessment,
}


@pytest.mark.parametrize("case", cases())
def test_vector(case: Fields, clinic: Any, clinic_with: Any) -> None:
    found = TOPICS[case["topic"]](case["inputs"], clinic_with if case["topic"] in WITH_TABLES else clinic)
    expected = {name: exact(name, value) for name, value in case["expected"].items()}

    assert found == expected, case["why"]
