"""QuestionnaireResponse <-> Assessment: scores of questionnaires (https://hl7.org/fhir/R4/questionnaireresponse.html).

A site's table names the questionnaire, by its canonical, and the item that holds the total or the items that make it
up. A questionnaire that is contained in its response may code its items instead. Texts of questions are never read.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec
from msgspec.structs import replace

from dm_fhir.mappings import measured
from dm_fhir.mappings.codes import Form, Row, Tables
from dm_fhir.mappings.datatypes import (
    Coding,
    Identifier,
    Quantity,
    Reference,
    coding_in,
    identifiers_in,
    local_id,
    quantity_in,
    quantity_out,
)
from dm_fhir.model import case
from dm_fhir.model.case import Assessment, Concept, Measured, Result, Source
from dm_fhir.model.exact import to_decimal
from dm_fhir.outcomes import dlqi

#: What an answer weighs, where the questionnaire says so in the answer itself (R4 ordinalValue, R5 itemWeight).
_WEIGHTS = (
    "http://hl7.org/fhir/StructureDefinition/ordinalValue",
    "http://hl7.org/fhir/StructureDefinition/itemWeight",
)
#: The elements that survive the way there and back, for the items that a table names. Items inside others come back
#: side by side, and a valueQuantity that has nothing but a number as valueDecimal.
SUPPORTED = (
    "resourceType", "id", "identifier.system", "identifier.value", "questionnaire", "status", "subject.reference",
    "authored", "item.linkId", "item.answer.valueDecimal", "item.answer.valueInteger", "item.answer.valueBoolean",
    "item.answer.valueString", "item.answer.valueCoding.system", "item.answer.valueCoding.code",
    "item.answer.valueCoding.display", "item.answer.valueQuantity.value", "item.answer.valueQuantity.comparator",
    "item.answer.valueQuantity.unit", "item.answer.valueQuantity.system", "item.answer.valueQuantity.code",
)  # fmt: skip


class Weight(msgspec.Struct, frozen=True, omit_defaults=True):
    """Extension: url, valueDecimal."""

    url: str | None = None
    valueDecimal: Decimal | None = None


class AnswerCoding(Coding, frozen=True, omit_defaults=True):
    """A Coding that may say what it weighs."""

    extension: tuple[Weight, ...] = ()


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """QuestionnaireResponse.item.answer; answers of a kind that no score has pass by."""

    valueDecimal: Decimal | None = None
    valueInteger: int | None = None
    valueBoolean: bool | None = None
    valueString: str | None = None
    valueCoding: AnswerCoding | None = None
    valueQuantity: Quantity | None = None
    item: "tuple[Item, ...]" = ()

    def __post_init__(self) -> None:
        if self.valueDecimal is not None:
            Quantity(self.valueDecimal)  # the same numbers as elsewhere


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """QuestionnaireResponse.item."""

    linkId: str | None = None
    answer: tuple[Answer, ...] = ()
    item: "tuple[Item, ...]" = ()


class QuestionnaireResponse(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="resourceType", tag="QuestionnaireResponse"
):
    """The view of a QuestionnaireResponse."""

    id: str | None = None
    contained: tuple[msgspec.Raw, ...] = ()
    identifier: Identifier | None = None
    questionnaire: str | None = None
    status: str | None = None
    subject: Reference | None = None
    authored: str | None = None
    item: tuple[Item, ...] = ()


class _Question(msgspec.Struct, frozen=True):
    linkId: str | None = None
    code: tuple[Coding, ...] = ()
    item: "tuple[_Question, ...]" = ()


class _Contained(msgspec.Struct, frozen=True):
    resourceType: str | None = None
    id: str | None = None


class _Questionnaire(msgspec.Struct, frozen=True):
    url: str | None = None
    item: tuple[_Question, ...] = ()


def from_fhir(record: QuestionnaireResponse, source: Source, tables: Tables) -> tuple[Assessment, ...]:
    """The scores that the response gives, one assessment each; none where no table knows the questionnaire or an item."""
    canonical, questions = _questionnaire(record)
    items = list(_every(record.item))
    scores: list[_Score] = [
        _scored(row, form, canonical, items, tables) for row, form in tables.forms.get(_unversioned(canonical), ())
    ]
    for question in questions:
        concept = Concept(tuple(map(coding_in, question.code)))
        row = measured.row_of(concept, tables)
        answers = _answers(items, question.linkId)
        if row is not None and answers:
            scores.append((question.linkId, *_total(row, concept, answers, tables)))
    return tuple(
        Assessment(
            source=replace(source, path=f"item[{link}]") if link is not None else source,
            status=record.status,
            identifiers=identifiers_in((record.identifier,) if record.identifier is not None else ()),
            when=record.authored,
            measured=score,
            components=parts,
            questionnaire=canonical,
        )
        for link, score, parts in scores
    )


def to_fhir(assessments: Sequence[Assessment], subject: str | None) -> QuestionnaireResponse:
    """The response that gave these scores: all of one response, at least one. Only the items that gave them are written."""
    first = assessments[0]
    items: dict[str, list[Answer]] = {}
    for one in assessments:
        for value in (one.measured, *one.components):
            link = _link(one, value)
            if link is not None:
                items.setdefault(link, []).extend(_answer_out(value))
    named = first.identifiers[0] if first.identifiers else None
    return QuestionnaireResponse(
        id=local_id(first.source),
        identifier=Identifier(named.system, named.value) if named is not None else None,
        questionnaire=first.questionnaire,
        status=first.status,
        subject=Reference(subject),
        authored=first.when,
        item=tuple(Item(link, tuple(answers)) for link, answers in items.items()),
    )


def is_known(body: bytes, tables: Tables) -> bool:
    """Whether a response is to a questionnaire that gives a score; True where that cannot be told from the outside."""
    try:
        record = msgspec.json.decode(body, type=_Outside)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return bool(record.contained) or _unversioned(record.questionnaire) in tables.forms


class _Outside(msgspec.Struct, frozen=True):
    questionnaire: str | None = None
    contained: tuple[msgspec.Raw, ...] = ()


def _unversioned(canonical: str | None) -> str:
    return (canonical or "").partition("|")[0]


def _questionnaire(record: QuestionnaireResponse) -> tuple[str | None, list[_Question]]:
    """The canonical, and the questions where the questionnaire is inside the response."""
    canonical = record.questionnaire
    for body in record.contained if canonical is not None and canonical.startswith("#") else ():
        named = msgspec.json.decode(body, type=_Contained)
        if named.resourceType == "Questionnaire" and f"#{named.id}" == canonical:
            found = msgspec.json.decode(body, type=_Questionnaire)
            return found.url or canonical, [*_questions(found.item)]
    return canonical, []


def _questions(items: Iterable[_Question]) -> Iterator[_Question]:
    for one in items:
        yield one
        yield from _questions(one.item)


def _every(items: Iterable[Item]) -> Iterator[Item]:
    """The items, and those inside them and inside their answers."""
    for one in items:
        yield one
        yield from _every(one.item)
        for answer in one.answer:
            yield from _every(answer.item)


def _answers(items: Iterable[Item], link: str | None) -> list[Answer]:
    return [answer for one in items if one.linkId == link for answer in one.answer]


#: The item that holds a score, None for the whole response; the score; the answers that make it up.
_Score = tuple[str | None, Measured, tuple[Measured, ...]]


def _scored(row: Row, form: Form, canonical: str | None, items: Sequence[Item], tables: Tables) -> _Score:
    if form.total is not None:
        question = Concept((case.Coding(canonical, form.total),))
        return form.total, *_total(row, question, _answers(items, form.total), tables)
    links = [*form.items, *([form.prevented] if form.prevented is not None else [])]
    parts = [_part(case.Coding(canonical, link), one, row, tables) for link in links for one in _answers(items, link)]
    return (
        None,
        Measured(Concept((case.Coding(canonical),), variable=row.variable), result=_sum(row, form, parts)),
        tuple(parts),
    )


def _part(question: case.Coding, answer: Answer, row: Row, tables: Tables) -> Measured:
    worth = _worth(answer, row, tables)
    result = Result(worth, row.unit) if worth is not None else Result(reason="value_not_mapped")
    return replace(_answered(Concept((question,)), answer), result=result)


def _sum(row: Row, form: Form, parts: Sequence[Measured]) -> Result:
    """The score that the answers make. One that no table gives a worth to is no missing one: there is no score then."""
    if any(part.result.number is None for part in parts):
        return Result(reason="value_not_mapped")
    found = dlqi.score(
        [_points(parts, link) for link in form.items], prevented=bool(form.prevented and _points(parts, form.prevented))
    )
    if found.number is None:
        return Result(reason=found.reason)
    return Result(found.number, row.unit, flags=found.flags)


def _total(
    row: Row, concept: Concept, answers: Sequence[Answer], tables: Tables
) -> tuple[Measured, tuple[Measured, ...]]:
    """The score that one item says; and what was answered there, where that is two things."""
    distinct = list(dict.fromkeys(answers))
    if len(distinct) > 1:
        parts = tuple(_answered(concept, one) for one in distinct)
        return Measured(replace(concept, variable=row.variable), result=Result(reason="conflict")), parts
    recorded = _answered(concept, distinct[0]) if distinct else Measured(concept)
    return measured.evaluated_as(row, recorded, tables), ()


def _answered(concept: Concept, answer: Answer) -> Measured:
    """What was answered, as recorded."""
    decimal = case.Quantity(answer.valueDecimal) if answer.valueDecimal is not None else None
    coding = answer.valueCoding
    return Measured(
        concept=concept,
        quantity=quantity_in(answer.valueQuantity) or decimal,
        integer=answer.valueInteger,
        string=answer.valueString,
        boolean=answer.valueBoolean,
        coded=Concept((coding_in(coding),)) if coding is not None else None,
    )


def _points(parts: Iterable[Measured], link: str) -> Fraction | None:
    """What the answers to one item are worth: of two ticked boxes the higher; None where none is ticked."""
    ticked = [part.result.number for part in parts if part.concept.codings[0].code == link]
    return max((worth for worth in ticked if worth is not None), default=None)


def _worth(answer: Answer, row: Row, tables: Tables) -> Fraction | None:
    """The points of one answer: a number, yes as 1 and no as 0, or a code by the row's `values` or its own weight."""
    number = answer.valueInteger if answer.valueInteger is not None else answer.valueDecimal
    if number is None and answer.valueBoolean is not None:
        number = int(answer.valueBoolean)
    coding = answer.valueCoding
    if number is None and coding is not None:
        weights = [one.valueDecimal for one in coding.extension if one.url in _WEIGHTS and one.valueDecimal is not None]
        number = row.values.get((tables.system(coding.system), coding.code or ""), weights[0] if weights else None)
    return Fraction(number) if number is not None else None


def _link(one: Assessment, value: Measured) -> str | None:
    """The linkId of the item that was answered; None for a score that was reckoned from others."""
    coding = value.concept.codings[0] if value.concept.codings else case.Coding()
    if coding.system == one.questionnaire:
        return coding.code
    path = one.source.path
    return path.removeprefix("item[").removesuffix("]") if path is not None else None


def _answer_out(value: Measured) -> list[Answer]:
    quantity, coded = value.quantity, value.coded
    is_bare = quantity is not None and quantity == case.Quantity(quantity.value)
    coding = coded.codings[0] if coded is not None and coded.codings else None
    answer = Answer(
        valueDecimal=quantity.value if quantity is not None and is_bare else None,
        valueInteger=value.integer,
        valueBoolean=value.boolean,
        valueString=value.string,
        valueCoding=_coding_out(coding, value.result) if coding is not None else None,
        valueQuantity=quantity_out(quantity) if not is_bare else None,
    )
    return [answer] if answer != Answer() else []


def _coding_out(coding: case.Coding, result: Result) -> AnswerCoding:
    """The code that was answered, with what it is worth."""
    worth = to_decimal(result.number) if result.number is not None else None
    weight = (Weight(_WEIGHTS[0], worth),) if worth is not None else ()
    return AnswerCoding(coding.system, coding.code, coding.display, extension=weight)
