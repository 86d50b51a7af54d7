"""A case that leaves the hospital: no free text, no identifier, no reference as it was, whatever part of it held one."""

from datetime import date
from decimal import Decimal
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.report.full_case import BORN, SECRET, full_case, parts, texts

from dm_fhir.model import case as model
from dm_fhir.model.case import (
    Administration,
    AdverseEvent,
    Case,
    Coding,
    Concept,
    Condition,
    Dates,
    Identifier,
    Outcome,
    Period,
    Quantity,
    Source,
    Subject,
)
from dm_fhir.model.dates import day, span
from dm_fhir.model.document import encode
from dm_fhir.outcomes.battery import exposure_of
from dm_fhir.report.moved_dates import DAY_0
from dm_fhir.report.pseudonym import REMOVED, RULES, person, pseudonym, pseudonymised
from dm_fhir.statistics.ages import age_at_first_infusion
from dm_fhir.statistics.cohort import Patient

ZONE = ZoneInfo("Europe/Madrid")
KEY = b"a key"
WAYS: tuple[Dates, ...] = get_args(Dates)
CODED = Concept((Coding("http://loinc.org", "2157-6", "CK of Mr Meier"), Coding("urn:local", "MEIER")), "Meier", "ck")


def infused(*times: str, **more: object) -> Case:
    """A case of infusions at these times."""
    given = tuple(
        Administration(Source("north", f"MedicationAdministration/{n}"), status="completed", when=when)
        for n, when in enumerate(times)
    )
    case = Case("Patient/7", "north", "Europe/Madrid", Subject(Source("north", "Patient/7")), administrations=given)
    return replace(case, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("dates", WAYS)
@pytest.mark.parametrize("key", [b"one", b"another"])
def test_nothing_that_names_the_patient_is_left(key: bytes, dates: Dates) -> None:
    case = full_case()
    document = encode(pseudonymised(case, key, dates)).decode()

    assert encode(case).decode().count(SECRET) > 50
    assert SECRET not in document
    assert BORN[:7] not in document


@pytest.mark.parametrize("kind", sorted(parts() - {model.Coding, model.Quantity, model.Identifier}, key=str))
def test_every_text_of_the_model_has_a_rule_or_is_removed(kind: type) -> None:
    assert set(texts(kind)) == RULES.get(kind, {}).keys()
    assert set(REMOVED.get(kind, {})) <= set(kind.__struct_fields__)  # type: ignore[attr-defined]


def test_identifiers_go_wherever_they_are() -> None:
    holders = {kind for kind in parts() if {"identifier", "identifiers"} & set(kind.__struct_fields__)}  # type: ignore[attr-defined]
    assert holders == {kind for kind in REMOVED if {"identifier", "identifiers"} & REMOVED[kind].keys()}


def test_what_it_is_about_stays() -> None:
    event = AdverseEvent(
        Source("north", "AdverseEvent/1"), CODED, suspects=(model.Suspect("Medication/3", drug="anifrolumab"),)
    )
    veiled = pseudonymised(infused("2024-03-05", adverse_events=(event,)), KEY)

    assert veiled.adverse_events[0].suspects[0].drug == "anifrolumab"
    assert veiled.adverse_events[0].event == Concept((Coding("http://loinc.org", "2157-6"),), None, "ck")
    assert veiled.administrations[0].status == "completed"


@pytest.mark.parametrize(
    ("coding", "stays"),
    [
        (Coding("http://snomed.info/sct", "396230008"), True),
        (Coding("http://snomed.info/sct", "Meier"), False),
        (Coding("http://hl7.org/fhir/sid/icd-10-cm", "M33.10"), True),
        (Coding("http://loinc.org", "MEIER-1"), False),
        (Coding("urn:oid:1.2.3", "4711"), False),
        (Coding(None, "M33.1"), False),
        (Coding("http://terminology.hl7.org/CodeSystem/medicationrequest-status-reason", "salg"), True),
        (Coding("http://terminology.hl7.org/CodeSystem/medicationrequest-status-reason", "Meier, Eva"), False),
    ],
)
def test_a_code_stays_if_its_system_is_public_and_it_has_its_shape(coding: Coding, stays: bool) -> None:
    condition = Condition(Source("north", "Condition/1"), Concept((coding,), None, "dermatomyositis"))
    (veiled,) = pseudonymised(infused(conditions=(condition,)), KEY).conditions
    assert veiled.concept == Concept((coding,) if stays else (), None, "dermatomyositis")


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (Quantity(Decimal("1.10"), "<", "U/L", "http://unitsofmeasure.org", "U/L"), "same"),
        (Quantity(Decimal(300), None, "mg", None, None), "same"),
        (Quantity(Decimal(49), None, "years"), "same"),
        (Quantity(Decimal(1), None, "for Mr Meier", "http://unitsofmeasure.org", "{Meier}"), Quantity(Decimal(1))),
        (Quantity(Decimal(1), "about", "mg", "urn:local", "MEIER"), Quantity(Decimal(1), None, "mg")),
    ],
)
def test_units_stay_where_they_are_usual(given: Quantity, left: Quantity | str) -> None:
    case = infused("2024-03-05")
    case = replace(case, administrations=(replace(case.administrations[0], dose=given),))
    assert pseudonymised(case, KEY).administrations[0].dose == (given if left == "same" else left)


def test_one_record_has_one_pseudonym_wherever_it_is_named() -> None:
    condition = Condition(Source("north", "Condition/9"), CODED)
    event = AdverseEvent(
        Source("north", "AdverseEvent/1"),
        CODED,
        resulting_conditions=("Condition/9",),
        resulting_effects=("Condition/9",),
    )
    veiled = pseudonymised(infused(conditions=(condition,), adverse_events=(event,)), KEY)

    assert veiled.adverse_events[0].resulting_conditions == veiled.adverse_events[0].resulting_effects
    assert veiled.adverse_events[0].resulting_conditions == (veiled.conditions[0].source.reference,)


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("component[2].valueQuantity", "component[2].valueQuantity"),
        ("contained[0]", "contained[0]"),
        ("item[7a]", "item[7a]"),
        ("item[/12345-6]", "item[/12345-6]"),
        (f"item[{SECRET}]", "item[?]"),
        (SECRET, ""),
    ],
)
def test_the_path_of_a_part_is_no_place_to_hide(path: str, left: str) -> None:
    assert pseudonym(KEY, "north", f"Observation/9#{path}").partition("#")[2] == left


@pytest.mark.parametrize(("version", "left"), [("3", "3"), ("20240305", None), ("W/Meier", None)])
def test_a_version_stays_where_it_is_a_count(version: str, left: str | None) -> None:
    case = replace(infused(), subject=Subject(Source("north", "Patient/7", version)))
    subject = pseudonymised(case, KEY).subject
    assert subject is not None
    assert subject.source.version == left


def test_what_was_measured_beside_what_the_study_asks_for_stays_untold() -> None:
    other = model.Measured(Concept((Coding("http://loinc.org", "75622-1"),)))
    panel = model.Assessment(Source("north", "Observation/1"), measured=model.Measured(CODED), components=(other,))
    (veiled,) = pseudonymised(infused(assessments=(panel,)), KEY).assessments
    assert (veiled.measured.concept.codings[0].code, veiled.components[0].concept) == ("2157-6", Concept())


# Dates


def moments(case: Case) -> list[str]:
    return [one.when for one in case.administrations if one.when]


@pytest.mark.parametrize("dates", WAYS)
def test_intervals_within_a_patient_hold(dates: Dates) -> None:
    times = (
        "2024-03-05",
        "2024-03-30T23:30:00+01:00",
        "2024-04-02T00:15:00+02:00",
        "2024-10-28T09:00:00",
        "2023-11-01",
    )
    before, after = infused(*times), pseudonymised(infused(*times), KEY, dates)
    days = [[day(text, ZONE) for text in moments(case)] for case in (before, after)]

    assert len({one - other for one, other in zip(*days, strict=True) if one and other}) == 1
    assert [text[10:19] for text in moments(after)] == [text[10:19] for text in times]
    assert after.partial_dates == {}


def test_dates_that_are_kept_are_kept_and_no_day_of_birth_or_death() -> None:
    subject = Subject(Source("north", "Patient/7"), birth_date=BORN, deceased_at="2025-04-05T10:00:00Z")
    veiled = pseudonymised(infused("2024-03-05T10:00:00Z", subject=subject), KEY)
    assert veiled.subject is not None
    assert (veiled.subject.birth_date, veiled.subject.deceased_at) == ("1961", "2025-04")
    assert moments(veiled) == ["2024-03-05T10:00:00Z"]


def test_a_shift_is_the_patients_own_and_the_same_every_time() -> None:
    def shifts(site: str, ids: range, key: bytes = KEY) -> list[str]:
        cases = (replace(infused("2024-03-05"), id=f"Patient/{n}", site=site) for n in ids)
        return [moments(pseudonymised(case, key, "shifted"))[0] for case in cases]

    assert shifts("north", range(50)) == shifts("north", range(50))
    assert len(set(shifts("north", range(50)))) > 30
    assert shifts("north", range(50)) != shifts("south", range(50))
    assert shifts("north", range(50)) != shifts("north", range(50), b"another")
    assert all("2023-03-06" <= text < "2024-03-05" for text in shifts("north", range(200)))


def test_a_person_has_one_shift_at_every_site() -> None:
    cases = [
        replace(infused("2024-03-05"), site=site, id=f"Patient/{site}", person="Person/1")
        for site in ("north", "south")
    ]
    assert len({moments(pseudonymised(case, KEY, "shifted"))[0] for case in cases}) == 1


def test_days_are_counted_from_the_first_infusion() -> None:
    case = infused(
        "2024-04-02",
        "2024-03-05T10:00:00+01:00",
        conditions=(Condition(Source("north", "Condition/1"), CODED, onset="2023-03-05"),),
    )
    veiled = pseudonymised(case, KEY, "days")
    first = exposure_of(veiled).first
    assert first is not None
    assert (first.day, DAY_0) == (DAY_0, date(2000, 1, 1))
    assert moments(veiled) == ["2000-01-29", "2000-01-01T10:00:00+01:00"]
    assert veiled.conditions[0].onset == "1998-12-31"


@pytest.mark.parametrize("times", [(), ("2024-03",)])
def test_without_a_day_of_a_first_infusion_there_are_no_days(times: tuple[str, ...]) -> None:
    outcome = Outcome("ck_baseline", "R-BL", "1", when="2024-03-01", date="2024-02-29")
    veiled = pseudonymised(infused(*times, outcomes=(outcome,)), KEY, "days")
    assert (moments(veiled), veiled.outcomes[0].when, veiled.outcomes[0].date) == ([], None, None)
    assert veiled.partial_dates == {"left_out": 2 + len(times)}


def test_what_an_outcome_took_from_a_record_moves_where_it_is_a_date() -> None:
    inputs = tuple(
        model.Input("infusion", Source("north", "Observation/1"), text)
        for text in ("2024-03-05", "2024", "-12.5", "100/3")
    )
    (outcome,) = pseudonymised(
        infused("2024-03-05", outcomes=(Outcome("x", "R", "1", inputs=inputs),)), KEY, "days"
    ).outcomes
    assert [one.value for one in outcome.inputs] == ["2000-01-01", "2024", "-12.5", "100/3"]


@given(st.dates(date(1950, 1, 1), date(2050, 1, 1)), st.sampled_from([7, 4]))
def test_a_partial_date_that_moves_still_holds_what_it_meant(moment: date, length: int) -> None:
    whole, partial = moment.isoformat(), moment.isoformat()[:length]
    conditions = tuple(Condition(Source("north", f"Condition/{text}"), CODED, onset=text) for text in (whole, partial))
    veiled = pseudonymised(infused("2024-03-05", conditions=conditions), KEY, "shifted")
    exact, holding = (one.onset for one in veiled.conditions)

    assert exact is not None
    assert len(exact) == len("2024-03-05")
    if holding is None:
        assert veiled.partial_dates == {"left_out": 1}
    else:
        assert span(holding, ZONE).start <= span(exact, ZONE).start < span(holding, ZONE).end
        assert veiled.partial_dates == ({"coarser": 1} if len(holding) < length else {})


def test_ages_leave_in_years_for_the_birth_date_does_not() -> None:
    subject = Subject(Source("north", "Patient/7"), birth_date=BORN)
    onset = Condition(Source("north", "Condition/1"), Concept(variable="dermatomyositis"), onset="2020-11-22")
    case = infused("2024-03-05", subject=subject, conditions=(onset,))
    for dates in WAYS:
        veiled = pseudonymised(case, KEY, dates)
        assert veiled.subject is not None
        assert veiled.subject.ages == {"first_infusion": (62, 62), "onset": (58, 58)}
        assert age_at_first_infusion(Patient(veiled, exposure_of(veiled))) == 62


# Persons


def known_by(*identifiers: tuple[str, str], site: str = "north") -> Case:
    subject = Subject(Source(site, "Patient/7"), identifiers=tuple(Identifier(*one) for one in identifiers))
    return replace(infused(subject=subject), site=site)


def test_a_person_is_the_same_at_every_site_by_the_identifier_that_the_study_names() -> None:
    here = person(known_by(("urn:nat", "12 345-z"), ("urn:mrn", "1")), KEY, "urn:nat")
    there = person(known_by(("urn:nat", "12345-Z"), ("urn:mrn", "2"), site="south"), KEY, "urn:nat")
    assert here is not None
    assert here == there
    assert here != person(known_by(("urn:nat", "12346-Z")), KEY, "urn:nat")
    assert here != person(known_by(("urn:nat", "12345-Z")), b"another", "urn:nat")


@pytest.mark.parametrize("case", [known_by(), known_by(("urn:mrn", "1")), known_by(("urn:nat", " ")), known_by(("urn:nat", "1"), ("urn:nat", "2")), replace(infused(), subject=None)])  # fmt: skip
def test_who_has_no_such_identifier_or_several_is_nobody_elsewhere(case: Case) -> None:
    assert person(case, KEY, "urn:nat") is None
    assert person(case, KEY, None) is None


def test_a_period_that_is_a_result_goes() -> None:
    measured = model.Measured(CODED, period=Period("2024-01-01", "2024-01-02"))
    assessment = model.Assessment(Source("north", "Observation/1"), measured=measured)
    assert pseudonymised(infused(assessments=(assessment,)), KEY).assessments[0].measured.period is None
