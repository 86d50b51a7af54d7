"""Scores that a hospital keeps as filled-in questionnaires: read by a table, never counted beside their Observation."""

import json
from collections.abc import Callable
from datetime import UTC
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_fhir.errors import ConfigError
from dm_fhir.mappings import outcome_observation, questionnaire_response
from dm_fhir.mappings.codes import Tables, load_tables
from dm_fhir.mappings.datatypes import read, write
from dm_fhir.mappings.questionnaire_response import QuestionnaireResponse
from dm_fhir.model.case import Assessment, Case, Result, Source
from dm_fhir.outcomes.battery import outcomes
from dm_fhir.report.pseudonym import pseudonymised

CaseOf = Callable[..., Case]
FORM = "https://forms.example.org/Questionnaire/dlqi"
WEIGHT = "http://hl7.org/fhir/StructureDefinition/ordinalValue"
TOTAL = f"""
[[measurement]]
variable = "dlqi"
forms = [{{ canonical = "{FORM}", total = "sum" }}]
"""
ITEMS = f"""
[[measurement]]
variable = "dlqi"
values = [
  {{ system = "urn:x", code = "much", value = "2" }}, {{ system = "urn:x", code = "little", value = "1" }},
  {{ system = "urn:x", code = "not-relevant", value = "0" }},
]
forms = [{{ canonical = "{FORM}", items = ["1", "2", "3", "4", "5", "6", "7a", "8", "9", "10"], prevented = "7" }}]
"""
LINKS = ("1", "2", "3", "4", "5", "6", "7a", "8", "9", "10")
DLQI = {"coding": [{"system": "https://w3id.org/dm-fhir/CodeSystem/measurement", "code": "dlqi"}]}


def response(*items: dict[str, Any], **elements: Any) -> dict[str, Any]:
    found = {
        "resourceType": "QuestionnaireResponse",
        "id": "q",
        "status": "completed",
        "authored": "2024-03-05T09:00:00Z",
    }
    return {**found, "questionnaire": FORM, "item": list(items), **elements}


def item(link: str, *answers: dict[str, Any]) -> dict[str, Any]:
    return {"linkId": link, "answer": list(answers)}


def answers(*values: int | None) -> list[dict[str, Any]]:
    """The ten questions; one without answer is left out."""
    return [item(link, {"valueInteger": n}) for link, n in zip(LINKS, values, strict=True) if n is not None]


def score(case: Case) -> Result:
    [one] = case.assessments
    assert one.measured.concept.variable == "dlqi"
    return one.measured.result


@pytest.mark.parametrize(
    ("answer", "number", "reason"),
    [
        ({"valueInteger": 12}, 12, None),
        ({"valueDecimal": 12}, 12, None),
        ({"valueQuantity": {"value": 12, "unit": "{score}"}}, 12, None),
        ({"valueString": "12"}, None, "value_is_string"),
        ({"valueCoding": {"system": "urn:x", "code": "a"}}, None, "value_not_mapped"),
        ({"valueBoolean": True}, None, "value_not_a_number"),
        ({"valueDate": "2024-03-05"}, None, "value_missing"),
        ({"valueInteger": 31}, None, "out_of_range"),
    ],
)
def test_a_total_is_read_from_its_item(case_of: CaseOf, answer: Any, number: Any, reason: Any) -> None:
    case = case_of(response({"linkId": "g", "item": [item("sum", answer)]}), table=TOTAL)

    assert (score(case).number, score(case).reason) == (number, reason)
    assert [one.code for one in case.findings] == ([reason] if reason else [])
    assert case.assessments[0].source.place == "QuestionnaireResponse/q#item[sum]"


def test_an_item_that_was_answered_in_two_ways_contradicts_itself(case_of: CaseOf) -> None:
    case = case_of(response(item("sum", {"valueInteger": 12}), item("sum", {"valueInteger": 9})), table=TOTAL)

    assert (score(case).reason, [one.code for one in case.findings]) == ("conflict", ["conflict"])


def test_an_item_inside_an_answer_is_found(case_of: CaseOf) -> None:
    inside = {"valueBoolean": True, "item": [item("sum", {"valueInteger": 12})]}

    assert score(case_of(response(item("filled", inside)), table=TOTAL)).number == 12


def test_a_version_of_the_form_is_the_form(case_of: CaseOf) -> None:
    assert (
        score(case_of(response(item("sum", {"valueInteger": 12}), questionnaire=f"{FORM}|2.1"), table=TOTAL)).number
        == 12
    )


def test_a_form_that_no_table_knows_is_counted(case_of: CaseOf) -> None:
    assert case_of(response(item("sum", {"valueInteger": 12}))).left_out == {
        "QuestionnaireResponse: no questionnaire that the tables know": 1
    }


def test_a_form_inside_its_response_codes_its_own_items(case_of: CaseOf) -> None:
    form = {
        "resourceType": "Questionnaire",
        "id": "f",
        "item": [{"linkId": "g", "item": [{"linkId": "t", "code": DLQI["coding"]}]}],
    }
    case = case_of(response(item("t", {"valueInteger": 12}), contained=[form], questionnaire="#f"))

    assert score(case).number == 12


@pytest.mark.parametrize(
    ("items", "number", "flags", "reason"),
    [
        (answers(1, 2, 1, 0, 0, 3, 0, 1, 2, 1), 11, (), None),
        (answers(1, 2, None, 0, 0, 3, 0, 1, 2, 1), 10, ("one_item_missing_scored_0",), None),
        (answers(1, 2, None, None, 0, 3, 0, 1, 2, 1), None, (), "two_or_more_items_missing"),
        (answers(1, 2, 1, 0, 0, 4, 0, 1, 2, 1), None, (), "out_of_range"),
        ([*answers(1, 2, 1, 0, 0, 3, None, 1, 2, 1), item("7", {"valueBoolean": True})], 14, (), None),
        ([*answers(1, 2, 1, 0, 0, 3, 0, 1, 2, 1), item("7", {"valueBoolean": False})], 11, (), None),
        ([*answers(None, 2, 1, 0, 0, 3, 0, 1, 2, 1), item("1", {"valueInteger": 1}, {"valueInteger": 3})], 13, (), None),
        ([*answers(None, 2, 1, 0, 0, 3, 0, 1, 2, 1), item("1", {"valueCoding": {"system": "urn:x", "code": "much"}})], 12, (), None),
        ([*answers(None, 2, 1, 0, 0, 3, 0, 1, 2, 1), item("1", {"valueCoding": {"code": "?", "extension": [{"url": WEIGHT, "valueDecimal": 3}]}})], 13, (), None),
        ([*answers(None, 2, 1, 0, 0, 3, 0, 1, 2, 1), item("1", {"valueCoding": {"system": "urn:x", "code": "?"}})], None, (), "value_not_mapped"),
    ],
    ids=["all", "one missing", "two missing", "4", "prevented", "not prevented", "two boxes", "code", "weight", "no worth"],
)  # fmt: skip
def test_a_score_is_reckoned_from_the_items(case_of: CaseOf, items: Any, number: Any, flags: Any, reason: Any) -> None:
    found = score(case_of(response(*items), table=ITEMS))

    assert (found.number, found.flags, found.reason) == (number, flags, reason)


@pytest.mark.parametrize("status", ["in-progress", "entered-in-error", "stopped"])
def test_an_unfinished_form_is_excluded_and_counted(case_of: CaseOf, status: str) -> None:
    case = case_of(response(item("sum", {"valueInteger": 12}), status=status), table=TOTAL)

    assert [one.code for one in case.findings] == ["status_excluded"]


def observation(**elements: Any) -> dict[str, Any]:
    found = {"resourceType": "Observation", "id": "o", "status": "final", "code": DLQI, "valueInteger": 12}
    return {**found, "effectiveDateTime": "2024-03-05", **elements}


DERIVED = {"derivedFrom": [{"reference": "https://example.org/r4/QuestionnaireResponse/q/_history/1"}]}


@pytest.mark.parametrize(
    ("elements", "kept", "found"),
    [
        ({}, ["Observation/o"], []),
        ({**DERIVED, "effectiveDateTime": "2024-04-01"}, ["Observation/o"], []),
        ({"valueInteger": 9}, ["Observation/o"], ["form_differs"]),
        ({"effectiveDateTime": "2024-03-06"}, ["Observation/o", "QuestionnaireResponse/q"], []),
        ({"status": "cancelled", **DERIVED}, ["Observation/o", "QuestionnaireResponse/q"], ["status_excluded"]),
    ],
    ids=["same day", "derived", "another value", "another day", "cancelled"],
)
def test_a_score_with_an_observation_is_not_counted_twice(
    case_of: CaseOf, elements: Any, kept: list[str], found: list[str]
) -> None:
    case = case_of(response(item("sum", {"valueInteger": 12})), observation(**elements), table=TOTAL)

    assert [one.source.reference for one in case.assessments] == kept
    assert [one.code for one in case.findings] == found
    assert sum(case.left_out.values()) == 2 - len(kept)


def test_a_form_is_a_baseline_like_any_other(case_of: CaseOf) -> None:
    drug = {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AG11"}]}
    given = {
        "resourceType": "MedicationAdministration", "id": "i", "status": "completed", "medicationCodeableConcept": drug,
        "effectiveDateTime": "2024-03-06T10:00:00+01:00",
    }  # fmt: skip
    case = case_of(response(item("sum", {"valueInteger": 12})), given, table=TOTAL)
    [found] = [one for one in outcomes(case) if one.variable == "dlqi_baseline"]

    assert found.number == 12
    assert found.inputs[0].source.reference == "QuestionnaireResponse/q"


def test_an_outcome_of_a_form_is_derived_from_it(case_of: CaseOf) -> None:
    drug = {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AG11"}]}
    given = {
        "resourceType": "MedicationAdministration", "id": "i", "status": "completed", "medicationCodeableConcept": drug,
        "effectiveDateTime": "2024-03-06T10:00:00+01:00",
    }  # fmt: skip
    case = case_of(response(item("sum", {"valueInteger": 12})), given, table=TOTAL)
    [found] = [one for one in outcomes(case) if one.variable == "dlqi_baseline"]
    written = json.loads(outcome_observation.to_fhir(found, "anifrolumab", "Patient/1", UTC).body)

    assert written["derivedFrom"] == [{"reference": "QuestionnaireResponse/q/_history/1"}]


@pytest.mark.parametrize(
    ("body", "known"),
    [
        (response(), True),
        (response(questionnaire=f"{FORM}|3"), True),
        (response(questionnaire="https://other.example.org"), False),
        (response(questionnaire="#f", contained=[{"resourceType": "Questionnaire", "id": "f"}]), True),
        ({"resourceType": "QuestionnaireResponse", "questionnaire": 5}, True),
    ],
)
def test_only_what_may_hold_a_score_is_kept(tables: Tables, body: dict[str, Any], known: bool) -> None:
    assert questionnaire_response.is_known(json.dumps(body).encode(), tables) is known


def test_what_a_form_and_an_observation_say_leaves_the_hospital_without_names(case_of: CaseOf) -> None:
    told = observation(
        **DERIVED,
        effectiveDateTime="2024-04-01",
        specimen={"reference": "Specimen/anna"},
        hasMember=[{"reference": "Observation/anna"}],
        component=[{"code": DLQI, "valueDateTime": "1980-05-05"}, {"code": DLQI, "valueString": "Anna"}],
    )
    filled = response(item("1", {"valueString": "Anna"}), authored="2024-03-05", id="anna")
    text = repr(pseudonymised(case_of(filled, told, table=ITEMS), b"key"))

    assert [word for word in ("Anna", "anna", "1980", "/q") if word in text] == []


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ('variable = "haq_di"\nforms = [{ canonical = "x", items = ["1","2","3","4","5","6","7","8","9","10"] }]', "only a DLQI"),
        ('variable = "dlqi"\nforms = [{ canonical = "x" }]', "must name either"),
        ('variable = "dlqi"\nforms = [{ canonical = "x", total = "t", prevented = "7" }]', "belongs to items"),
        ('variable = "dlqi"\nforms = [{ canonical = "x", items = ["1"] }]', "forms[0].items"),
        ('variable = "dlqi"\nvalues = [{ system = "x", code = "1", value = "many" }]', "exact number"),
    ],
)  # fmt: skip
def test_a_form_that_no_rule_scores_is_a_fault_of_the_table(tmp_path: Path, table: str, fault: str) -> None:
    path = tmp_path / "site.toml"
    path.write_text(f"[[measurement]]\n{table}\n", encoding="utf-8")

    with pytest.raises(ConfigError) as error:
        load_tables([path])
    assert fault in "\n".join(error.value.faults)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """A site whose form holds a DLQI in items and two totals."""
    path = tmp_path_factory.mktemp("tables") / "site.toml"
    more = (
        f'[[measurement]]\nvariable = "pruritus_nrs"\nforms = [{{ canonical = "{FORM}", total = "itch" }}]\n'
        f'[[measurement]]\nvariable = "physician_global_vas"\nforms = [{{ canonical = "{FORM}", total = "vas" }}]\n'
    )
    path.write_text(ITEMS + more, encoding="utf-8")
    return load_tables([path])


NUMBERS = st.decimals(0, 30, places=1) | st.integers(0, 30).map(Decimal)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
CODED = st.builds(
    lambda code, display, weight: {
        "valueCoding": {
            "system": "urn:x", "code": code, "display": display,
            **({"extension": [{"url": WEIGHT, "valueDecimal": weight}]} if weight is not None else {}),
        }
    },
    st.sampled_from(["much", "little", "not-relevant", "?"]), TEXTS, st.none() | NUMBERS,
)  # fmt: skip
ANSWERS = st.one_of(
    NUMBERS.map(lambda n: {"valueDecimal": n}),
    st.integers(0, 30).map(lambda n: {"valueInteger": n}),
    st.booleans().map(lambda yes: {"valueBoolean": yes}),
    TEXTS.map(lambda text: {"valueString": text}),
    NUMBERS.map(lambda n: {"valueQuantity": {"value": n, "unit": "cm"}}),
    CODED,
)
RESPONSES = st.builds(
    lambda items, elements: response(*(item(link, *found) for link, found in items.items()), **elements),
    st.dictionaries(st.sampled_from([*LINKS, "7", "itch", "vas", "other"]), st.lists(ANSWERS, min_size=1, max_size=2)),
    st.fixed_dictionaries(
        {"status": st.sampled_from(["completed", "amended", "in-progress"])},
        optional={
            "identifier": st.fixed_dictionaries({"system": TEXTS, "value": TEXTS}),
            "authored": st.sampled_from(["2024", "2024-03-05T10:00:00+01:00"]),
        },
    ),
)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(body=RESPONSES)
def test_what_is_read_of_a_response_can_be_written_and_read_again(tables: Tables, body: dict[str, Any]) -> None:
    source = Source("north", "QuestionnaireResponse/q")
    first = scores(json.dumps(body, default=float).encode(), source, tables)
    again = scores(write(questionnaire_response.to_fhir(first, "Patient/1")), source, tables)

    assert again == first
    assert [one.measured.concept.variable for one in first] == ["dlqi", "physician_global_vas", "pruritus_nrs"]


def scores(body: bytes, source: Source, tables: Tables) -> list[Assessment]:
    found = questionnaire_response.from_fhir(read(body, QuestionnaireResponse), source, tables)
    return sorted(found, key=lambda one: one.measured.concept.variable or "")


def test_a_sum_is_no_more_than_its_items_say(tables: Tables) -> None:
    body = json.dumps(response(*answers(3, 3, 3, 3, 3, 3, 3, 3, 3, 3))).encode()

    assert scores(body, Source("north", "QuestionnaireResponse/q"), tables)[0].measured.result.number == Fraction(30)
