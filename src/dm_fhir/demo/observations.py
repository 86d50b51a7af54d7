"""Observation resources: antibodies, scores, creatine kinase."""

from datetime import time
from decimal import Decimal

from dm_fhir.demo.codes import (
    CDASI_ACTIVITY,
    CREATINE_KINASE,
    DLQI,
    DLQI_NCIT,
    INTERPRETATION,
    LOINC,
    MMT8_150,
    NEGATIVE,
    OBSERVATION_CATEGORY,
    POSITIVE,
    SAMPLE_RESULT,
    Code,
)
from dm_fhir.demo.resources import Resource, bare_concept, concept, for_patient, moment, quantity, subject
from dm_fhir.demo.rows import Patient, Score, Serology, Site, Test

# Patients are examined before the infusion of the same day (which starts at 10:00).
EXAMINED, DRAWN, REPORTED, MISTAKEN = time(9, 0), time(9, 15), time(12, 0), time(15, 0)


def observations(site: Site, patient: Patient) -> list[Resource]:
    """All Observations of one patient, the doubtful ones included."""
    return [
        *_antibodies(site, patient),
        *_scores(site, patient),
        *_amended(site, patient),
        *_mistaken(site, patient),
        *_creatine_kinase(site, patient),
        *_flare(site, patient),
    ]


def _antibodies(site: Site, patient: Patient) -> list[Resource]:
    if patient.serology is None:
        return []
    serology = patient.serology
    extra = {name: test for name, test in site.extra_antibody_tests.items() if name in serology.positive}
    tests = site.antibody_tests | extra
    return [_antibody(site, patient, serology, name, test) for name, test in tests.items()]


def _antibody(site: Site, patient: Patient, serology: Serology, name: str, test: Test) -> Resource:
    positive = name in serology.positive
    code = concept(Code(LOINC, test.code, test.display), text=f"anti-{name}")
    observation = _observation(site, patient, name.lower(), "laboratory", code, serology.day, DRAWN)
    return observation | {
        "valueCodeableConcept": concept(POSITIVE if positive else NEGATIVE),
        "interpretation": [bare_concept(INTERPRETATION, "POS" if positive else "NEG")],
    }


def _scores(site: Site, patient: Patient) -> list[Resource]:
    mmt8, dlqi = concept(MMT8_150, text="MMT8"), concept(DLQI, DLQI_NCIT, text="DLQI")
    scale = {"referenceRange": [{"low": _score(Decimal(0)), "high": _score(Decimal(150))}]}
    amended_day = patient.amended_cdasi[0] if patient.amended_cdasi else None
    cdasi = tuple(score for score in patient.cdasi if score[0] != amended_day)
    return [
        *_series(site, patient, "cdasi", "exam", _cdasi(), cdasi),
        *(found | scale for found in _series(site, patient, "mmt8", "exam", mmt8, patient.mmt8)),
        *_series(site, patient, "dlqi", "survey", dlqi, patient.dlqi),
    ]


def _series(
    site: Site, patient: Patient, name: str, category: str, code: Resource, scores: tuple[Score, ...]
) -> list[Resource]:
    return [
        _observation(site, patient, f"{name}-{number}", category, code, day, EXAMINED)
        | {"valueQuantity": _score(value)}
        for number, (day, value) in enumerate(scores)
    ]


def _cdasi() -> Resource:
    return concept(CDASI_ACTIVITY, text="CDASI activity")


def _score(value: Decimal) -> Resource:
    return quantity(value, "{score}")


def _amended(site: Site, patient: Patient) -> list[Resource]:
    """Two results with one identifier: the wrong one first, the right one a day later."""
    if patient.amended_cdasi is None:
        return []
    day, wrong = patient.amended_cdasi
    right = dict(patient.cdasi)[day]
    pair = []
    for suffix, status, value, reported in (("first", "final", wrong, day), ("amended", "amended", right, day + 1)):
        elements = {
            "identifier": [{"system": SAMPLE_RESULT, "value": f"{patient.id}-cdasi"}],
            "status": status,
            "issued": moment(site, patient, reported, REPORTED),
            "valueQuantity": _score(value),
        }
        pair.append(_observation(site, patient, f"cdasi-{suffix}", "exam", _cdasi(), day, EXAMINED) | elements)
    return pair


def _mistaken(site: Site, patient: Patient) -> list[Resource]:
    if patient.mistaken_cdasi is None:
        return []
    day, value = patient.mistaken_cdasi
    observation = _observation(site, patient, "cdasi-mistaken", "exam", _cdasi(), day, MISTAKEN)
    return [observation | {"status": "entered-in-error", "valueQuantity": _score(value)}]


def _creatine_kinase(site: Site, patient: Patient) -> list[Resource]:
    code = concept(CREATINE_KINASE, text="Creatine kinase")
    unit, high = site.ck_unit, site.ck_high[patient.person.gender]
    return [
        _observation(site, patient, f"ck-{number}", "laboratory", code, day, DRAWN)
        | {"valueQuantity": quantity(value, unit), "referenceRange": [{"high": quantity(high, unit)}]}
        for number, (day, value) in enumerate(patient.ck)
    ]


def _flare(site: Site, patient: Patient) -> list[Resource]:
    # The paper prints "450 UI/L"; the laboratory of this sample sends just that, without a coded unit.
    if patient.flare is None:
        return []
    code = concept(CREATINE_KINASE, text="Creatine kinase")
    observation = _observation(site, patient, "ck-flare", "laboratory", code, patient.flare.day, DRAWN)
    return [observation | {"valueQuantity": {"value": patient.flare.ck, "unit": "UI/L"}}]


def _observation(
    site: Site, patient: Patient, suffix: str, category: str, code: Resource, day: int, at: time
) -> Resource:
    return for_patient("Observation", patient, suffix) | {
        "status": "final",
        "category": [bare_concept(OBSERVATION_CATEGORY, category)],
        "code": code,
        "subject": subject(patient),
        "effectiveDateTime": moment(site, patient, day, at),
    }
