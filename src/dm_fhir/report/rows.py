"""The lines of the report about single patients: one per patient, and one per outcome."""

from fractions import Fraction
from typing import NamedTuple

from dm_fhir.model.case import Case, Outcome
from dm_fhir.model.exact import rounded, shown
from dm_fhir.outcomes.answers import answer_words
from dm_fhir.outcomes.battery import outcomes
from dm_fhir.outcomes.change import Instrument
from dm_fhir.outcomes.instruments import CORE
from dm_fhir.outcomes.labels import label
from dm_fhir.report.change import Change, last_change
from dm_fhir.report.naming import name_of
from dm_fhir.report.sentence import EN_DASH
from dm_fhir.report.words import reason_words, unit_words
from dm_fhir.statistics.ages import age_at_first_infusion
from dm_fhir.statistics.cohort import Patient
from dm_fhir.statistics.disease import subtype

ARROW = "\N{RIGHTWARDS ARROW}"


class ChangeCell(NamedTuple):
    """Baseline and last value of one score, and below it what became of it; `verdict` is better, worse or same."""

    values: str
    change: str
    verdict: str


class PatientRow(NamedTuple):
    """One line of the table of patients."""

    id: str
    site: str
    sex: str
    age: str
    subtype: str
    infusions: str
    dose: str
    first: str
    last: str
    changes: tuple[ChangeCell, ...]


class OutcomeRow(NamedTuple):
    """One line of the table of outcomes; `computed` is False where `value` says why there is none."""

    name: str
    value: str
    computed: bool
    when: str
    explain: str
    rule: str
    remarks: str


def heading(instrument: Instrument) -> str:
    name = label(instrument.name)
    return name if instrument.unit == "{score}" else f"{name} ({instrument.unit})"


def patient_row(patient: Patient) -> PatientRow:
    subject, age, infusions = patient.case.subject, age_at_first_infusion(patient), patient.exposed.infusions
    doses = [infusion.dose_mg for infusion in infusions if infusion.dose_mg is not None]
    return PatientRow(
        id=patient.case.id,
        site=patient.case.site,
        sex=(subject.sex if subject else None) or "not documented",
        age=str(age) if age is not None else "not certain",
        subtype=subtype(patient) or "unknown",
        infusions=str(len(patient.exposed.completed)),
        dose=f"{shown(sum(doses, Fraction(0)))} mg" if len(doses) == len(infusions) else "not known",
        first=_date(infusions[0].start),
        last=_date(infusions[-1].start),
        changes=tuple(_change_cell(last_change(patient, instrument), instrument) for instrument in CORE),
    )


def _change_cell(change: Change, instrument: Instrument) -> ChangeCell:
    first, last = map(_number, (change.baseline, change.last), change.recorded)
    values = f"{first} {ARROW} {last}"
    if change.points is None:
        return ChangeCell(values if (first, last) != (_UNKNOWN, _UNKNOWN) else "", change.lack, "none")
    percent = f" ({rounded(abs(change.percent), 1)} %)" if change.percent is not None and change.points else ""
    if change.points == 0:
        return ChangeCell(values, "unchanged", "same")
    verdict = "better" if change.points > 0 else "worse"
    return ChangeCell(values, f"{verdict} by {shown(abs(change.points))}{percent}", verdict)


_UNKNOWN = "?"


def _number(number: Fraction | None, recorded: str | None) -> str:
    return shown(number) if number is not None else recorded or _UNKNOWN


def outcome_rows(case: Case) -> list[OutcomeRow]:
    return [_outcome_row(outcome) for outcome in (case.outcomes or outcomes(case))]


def _outcome_row(outcome: Outcome) -> OutcomeRow:
    reasons = "; ".join(map(reason_words, outcome.reasons)) or "no reason recorded"
    value = _value(outcome)
    return OutcomeRow(
        name=label(outcome.variable),
        value=value or f"not computable: {reasons}",
        computed=value is not None,
        when=_date(outcome.when),
        explain=name_of(outcome),
        rule=f"{outcome.rule} v{outcome.rule_version}",
        remarks=", ".join(map(reason_words, outcome.flags)),
    )


def _value(outcome: Outcome) -> str | None:
    if outcome.date is not None:
        return _date(outcome.date)
    if outcome.number is None:
        return answer_words(outcome.answer) if outcome.answer is not None else None
    number = f"{rounded(outcome.number, 1)}" if outcome.unit == "%" else shown(outcome.number)
    return f"{number} {unit_words(outcome.unit)}".rstrip()


def _date(text: str | None) -> str:
    """The date as recorded, without the time of day; a partial date stays partial."""
    return text.partition("T")[0] if text else EN_DASH
