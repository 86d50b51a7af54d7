"""A patient of whom little is known, and the twenty outcomes that dm-fhir computes from that: `k1` to `k20`."""

from collections.abc import Callable
from typing import Any

from dm_fhir.mappings.outcome_observation import identifier

from .hospital import PATIENT, WHEN, Json

DRUG = "anifrolumab"
#: Variable, and the record or visit that it is about. `k3` and `k7` are made of the DLQI `d1`.
OUTCOMES = (
    ("first_exposure", ""),
    ("last_exposure", ""),
    ("dlqi_percent_improvement", "Observation/d1"),
    ("infusions_completed", ""),
    ("cumulative_dose_mg", ""),
    ("days_on_drug", ""),
    ("dlqi_improvement", "Observation/d1"),
    ("follow_up_days", ""),
    ("infusion_dose_mg", "MedicationAdministration/a0"),
    ("infusion_dose_mg", "MedicationAdministration/a1"),
    ("dlqi_baseline", ""),
    ("dlqi_improvement", "Observation/d2"),
    ("dlqi_percent_improvement", "Observation/d2"),
    ("mmt8_150_baseline", ""),
    ("mmt8_150_improvement", "Observation/m1"),
    ("mmt8_150_percent_improvement", "Observation/m1"),
    ("tis", "week_4"),
    ("tis_category", "week_4"),
    ("imacs_improvement", "week_4"),
    ("imacs_worsening", "week_4"),
)
#: By identifier: `k3`.
KEYS = {
    identifier(DRUG, f"Patient/{PATIENT}", variable, about): f"k{number}"
    for number, (variable, about) in enumerate(OUTCOMES, start=1)
}
#: What `k3` and `k7` are made of: 18 at baseline, then 7.
SOURCE = "d1"
_META = {"versionId": "1", "lastUpdated": WHEN}
_SCORES = (("d0", "dlqi", 1, 18), (SOURCE, "dlqi", 2, 7), ("d2", "dlqi", 3, 4), ("m0", "mmt8-150", 1, 142), ("m1", "mmt8-150", 2, 150))  # fmt: skip


def few_records(patient: str = PATIENT, mark: str = "") -> list[Json]:
    """All that is known of the patient: a diagnosis, two infusions, three scores of the DLQI and two of the MMT8.

    `mark` stands before each id.
    """
    about = {"subject": {"reference": f"Patient/{patient}"}}
    diagnosis = {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "M33.13"}
    return [
        _resource("Patient", patient, gender="female", birthDate="1970-01-01"),
        _resource("Condition", f"{mark}c0", code={"coding": [diagnosis]}, **about),
        *(_infusion(f"{mark}a{number}", f"2025-0{number + 1}-10T10:00:00Z", about) for number in range(2)),
        *(_score(f"{mark}{id_}", name, month, value, about) for id_, name, month, value in _SCORES),
    ]


def with_source(change: Callable[[Json], Json | None]) -> Callable[[list[Json]], list[Json]]:
    """The records with the DLQI `d1` as `change` makes it; None: it is not there."""

    def changed(held: list[Json]) -> list[Json]:
        made = [change(one) if one["id"] == SOURCE else one for one in held]
        return [one for one in made if one is not None]

    return changed


def corrected(score: Json) -> Json:
    """The score as somebody has corrected it: 6, in a new version."""
    meta = {"versionId": "2", "lastUpdated": "2031-06-01T10:00:00Z"}  # whenever the pull before was
    return {**score, "meta": meta, "status": "corrected", "valueQuantity": {**score["valueQuantity"], "value": 6}}


def withdrawn(score: Json) -> Json:
    """The score as somebody has withdrawn it: `k3` and `k7` can no longer be computed."""
    return {**corrected(score), "status": "entered-in-error"}


def _resource(type_name: str, id_: str, **elements: Any) -> Json:
    return {"resourceType": type_name, "id": id_, "meta": _META, **elements}


def _infusion(id_: str, when: str, about: Json) -> Json:
    drug = {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AG11"}]}
    dose = {"dose": _quantity(300, "mg")}
    return _resource(
        "MedicationAdministration", id_, status="completed", medicationCodeableConcept=drug, effectiveDateTime=when,
        dosage=dose, **about,
    )  # fmt: skip


def _score(id_: str, name: str, month: int, value: int, about: Json) -> Json:
    code = {"coding": [{"system": "https://w3id.org/dm-fhir/CodeSystem/measurement", "code": name}]}
    when = f"2025-0{month}-10T09:00:00Z"
    return _resource(
        "Observation", id_, status="final", code=code, effectiveDateTime=when, valueQuantity=_quantity(value, "{score}"), **about
    )  # fmt: skip


def _quantity(value: int, unit: str) -> Json:
    return {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
