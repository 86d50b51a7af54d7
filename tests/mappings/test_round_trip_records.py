"""Orders, statements, conditions and adverse events come back from FHIR unchanged, through real bytes."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dm_fhir.mappings import adverse_event, condition, therapy
from dm_fhir.mappings.datatypes import concept_out, ratio_out, read, write
from dm_fhir.mappings.dosage import Product, evaluated
from dm_fhir.mappings.medication import Ingredient, Medication
from dm_fhir.model.case import (
    Action,
    AdverseEvent,
    Concept,
    Condition,
    Criterion,
    Dose,
    Dosing,
    Identifier,
    Period,
    Range,
    Suspect,
    Therapy,
    Timing,
)
from dm_fhir.model.dates import holding

from .generated import (
    IDENTIFIERS,
    MODEST,
    MOMENTS,
    PERIODS,
    QUANTITIES,
    RATIOS,
    REFERENCES,
    TABLES,
    TEXTS,
    concepts,
    few,
    maybe,
    meant,
    sources,
)

SUBJECT = "Patient/1"
COUNTS = st.integers(0, 12)
PERIOD_LENGTHS = st.sampled_from([Decimal(1), Decimal(4), Decimal("0.5"), Decimal(0)])

TIMINGS = st.builds(
    Timing,
    times=few(MOMENTS),
    during=maybe(PERIODS),
    lasting=maybe(QUANTITIES),
    count=maybe(COUNTS),
    frequency=maybe(COUNTS),
    frequency_max=maybe(COUNTS),
    period=maybe(PERIOD_LENGTHS),
    period_max=maybe(PERIOD_LENGTHS),
    period_unit=maybe(st.sampled_from(["h", "d", "wk", "mo", "a", "fortnight"])),
    days_of_week=few(st.sampled_from(["mon", "wed", "fri"])),
    times_of_day=few(st.just("08:00:00")),
    when=few(st.sampled_from(["MORN", "ACV"])),
    code=maybe(meant("timing")),
)
DOSES = st.builds(Dose, maybe(concepts("answer")), maybe(QUANTITIES), maybe(QUANTITIES), maybe(QUANTITIES))
DOSINGS = st.builds(
    Dosing,
    sequence=maybe(COUNTS),
    text=maybe(TEXTS),
    timing=maybe(TIMINGS),
    as_needed=maybe(st.booleans()),
    as_needed_for=maybe(concepts("answer")),
    route=maybe(meant("route")),
    method=maybe(concepts("answer")),
    doses=few(DOSES),
)


@st.composite
def therapies(draw: st.DrawFn, kind: str) -> Therapy:
    """Of a drug named by codes or by reference: to a contained Medication, one on the server, or one that is gone."""
    reference = draw(maybe(st.sampled_from(["#med", "Medication/m1", "urn:uuid:m1", "Medication/gone"])))
    drug = Concept() if reference == "Medication/gone" else draw(meant("medication"))
    strength = draw(maybe(RATIOS)) if reference not in (None, "Medication/gone") else None
    dosings = tuple(evaluated(one, Product(drug, strength), TABLES) for one in draw(few(DOSINGS)))
    shared = Therapy(
        source=draw(sources(kind)),
        medication=drug,
        identifiers=draw(IDENTIFIERS),
        based_on=draw(few(REFERENCES)),
        medication_reference=reference,
        strength=strength,
        status=draw(maybe(st.sampled_from(["active", "completed", "stopped", "not-taken", "entered-in-error"]))),
        reasons=draw(few(concepts("answer"))),
        dosings=dosings,
    )
    return draw(_ordered(shared) if kind == "MedicationRequest" else _stated(shared))


@st.composite
def _ordered(draw: st.DrawFn, shared: Therapy) -> Therapy:
    authored = draw(maybe(MOMENTS))
    return replace(
        shared,
        intent=draw(maybe(st.sampled_from(["order", "plan"]))),
        authored=authored,
        period=therapy.ordered_period(authored, shared.dosings),
        status_reasons=draw(st.lists(concepts("answer"), max_size=1).map(tuple)),
        supplied_during=draw(maybe(PERIODS)),
        supplied_for=draw(maybe(QUANTITIES)),
    )


@st.composite
def _stated(draw: st.DrawFn, shared: Therapy) -> Therapy:
    moment = draw(maybe(MOMENTS))
    period = Period(moment, moment) if moment is not None else draw(maybe(PERIODS))
    return replace(shared, when=moment, period=period, status_reasons=draw(few(concepts("answer"))))


def on_the_server(one: Therapy) -> dict[str, Medication | None]:
    codes = concept_out(one.medication)
    parts = (Ingredient(codes, strength=ratio_out(one.strength)),) if one.strength is not None else ()
    medication = Medication(id="m1", code=codes, ingredient=parts)
    return {"Medication/m1": medication, "urn:uuid:m1": medication}


@MODEST
@given(therapies("MedicationRequest"))
def test_an_order_comes_back(order: Therapy) -> None:
    record = read(write(therapy.to_request(order, SUBJECT)), therapy.MedicationRequest)

    assert therapy.from_request(record, order.source, TABLES, on_the_server(order)) == order


@MODEST
@given(therapies("MedicationStatement"))
def test_a_statement_comes_back(statement: Therapy) -> None:
    record = read(write(therapy.to_statement(statement, SUBJECT)), therapy.MedicationStatement)

    assert therapy.from_statement(record, statement.source, TABLES, on_the_server(statement)) == statement


AGES = st.builds(Range, maybe(QUANTITIES), maybe(QUANTITIES))


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    codes = draw(concepts("condition"))
    rows = [row for coding in codes.codings if (row := TABLES.row("condition", (coding,)))]
    telling = [row for row in rows if row.subtype] or rows
    onset, abatement = draw(maybe(PERIODS)), draw(maybe(PERIODS))
    return Condition(
        source=draw(sources("Condition")),
        concept=replace(codes, variable=telling[0].variable if telling else None),
        identifiers=draw(IDENTIFIERS),
        categories=draw(few(concepts("answer"))),
        clinical_status=draw(maybe(st.sampled_from(["active", "resolved"]))),
        verification_status=draw(maybe(st.sampled_from(["confirmed", "refuted", "entered-in-error"]))),
        severity=draw(maybe(concepts("answer"))),
        body_sites=draw(few(concepts("answer"))),
        onset=holding(onset.start, onset.end) if onset else draw(maybe(MOMENTS)),
        onset_during=onset,
        onset_age=draw(maybe(QUANTITIES)),
        onset_ages=draw(maybe(AGES)),
        onset_text=draw(maybe(TEXTS)),
        abatement=holding(abatement.start, abatement.end) if abatement else draw(maybe(MOMENTS)),
        abatement_during=abatement,
        abatement_age=draw(maybe(QUANTITIES)),
        abatement_ages=draw(maybe(AGES)),
        abatement_text=draw(maybe(TEXTS)),
        recorded=draw(maybe(MOMENTS)),
        stages=draw(few(concepts("answer"))),
        evidence=draw(few(concepts("answer"))),
    )


@MODEST
@given(conditions())
def test_a_condition_comes_back(one: Condition) -> None:
    record = read(write(condition.to_fhir(one, SUBJECT)), condition.Condition)

    assert condition.from_fhir(record, one.source, TABLES) == one


SUSPECTS = st.builds(Suspect, reference=maybe(TEXTS), relatedness=few(meant("ae_relatedness")))
BACKPORTED = st.builds(
    Suspect,
    reference=maybe(TEXTS),
    concept=maybe(concepts("answer")),
    relatedness=few(meant("ae_relatedness")),
    backported=st.just(True),
)


@st.composite
def adverse_events(draw: st.DrawFn) -> AdverseEvent:
    seriousness, grading = draw(maybe(meant("ae_seriousness"))), draw(maybe(meant("ae_grade")))
    actions = draw(few(st.builds(Action, maybe(meant("ae_action")), maybe(TEXTS))))
    left = draw(maybe(st.booleans()))
    withdrawn = any(one.concept and one.concept.variable == "drug_withdrawn" for one in actions)
    grade = grading.variable if grading else None
    return AdverseEvent(
        source=draw(sources("AdverseEvent")),
        event=draw(meant("adverse_event")),
        identifier=draw(maybe(st.builds(Identifier, maybe(TEXTS), maybe(TEXTS)))),
        status=draw(maybe(st.sampled_from(["completed", "entered-in-error"]))),
        actuality=draw(maybe(st.sampled_from(["actual", "potential"]))),
        date=draw(maybe(MOMENTS)),
        detected=draw(maybe(MOMENTS)),
        recorded=draw(maybe(MOMENTS)),
        resolved=draw(maybe(MOMENTS)),
        seriousness=seriousness,
        serious={"serious": True, "non_serious": False}.get(seriousness.variable or "") if seriousness else None,
        criteria=draw(few(st.builds(Criterion, maybe(concepts("answer")), maybe(st.booleans())))),
        severity=draw(maybe(meant("ae_severity"))),
        grading=grading,
        grade=int(grade[-1]) if grade else None,
        outcome=draw(maybe(meant("ae_outcome"))),
        suspects=(*draw(few(SUSPECTS)), *draw(few(BACKPORTED))),
        actions=actions,
        left_study=left,
        led_to_stop=True if withdrawn or left else left,
        expected=draw(maybe(st.booleans())),
        resulting_conditions=draw(few(REFERENCES)),
        resulting_effects=draw(few(REFERENCES)),
    )


@MODEST
@given(adverse_events())
def test_an_adverse_event_comes_back(event: AdverseEvent) -> None:
    record = read(write(adverse_event.to_fhir(event, SUBJECT)), adverse_event.AdverseEvent)

    assert adverse_event.from_fhir(record, event.source, TABLES) == event
