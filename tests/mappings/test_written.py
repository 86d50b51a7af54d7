"""What is written back, against models that nobody here wrote: fhir.resources, and R4's own JSON Schema."""

import gzip
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dm_fhir import __version__
from dm_fhir.demo.cohorts import four_patients, twenty_four_patients
from dm_fhir.errors import NotWritable
from dm_fhir.mappings import outcome_parts, outcome_verdicts, provenance
from dm_fhir.mappings.case import read_case
from dm_fhir.mappings.codes import load_tables
from dm_fhir.mappings.outcome_observation import as_entered_in_error, is_own, to_fhir
from dm_fhir.mappings.written import date_time, reference
from dm_fhir.model.case import Case, Input, Outcome, Part, Source
from dm_fhir.outcomes import battery, exposure, glucocorticoids, tis
from dm_fhir.outcomes.answers import ANSWERS
from dm_fhir.outcomes.composites import RULES
from dm_fhir.outcomes.instruments import INSTRUMENTS
from dm_fhir.outcomes.verdicts import definitions_of

Json = dict[str, Any]
MADRID = ZoneInfo("Europe/Madrid")
SCHEMA = Path(__file__).parents[3] / "shared" / "data" / "definitions" / "fhir.schema.json.gz"


@pytest.fixture(scope="module")
def r4_faults() -> Any:
    """Lists what is wrong with a resource by R4's JSON Schema."""
    from jsonschema import Draft6Validator

    whole = json.loads(gzip.decompress(SCHEMA.read_bytes()))
    validators = {
        kind: Draft6Validator({"$ref": f"#/definitions/{kind}", "definitions": whole["definitions"]})
        for kind in ("Observation", "Provenance", "Device")
    }

    def faults(one: Json) -> list[str]:
        found = [error.message for error in validators[one["resourceType"]].iter_errors(one)]
        return found + [fault for inner in one.get("contained", ()) for fault in faults(inner)]

    return faults


def written(outcome: Outcome, patient: str = "Patient/1") -> bytes:
    return to_fhir(outcome, "anifrolumab", patient, MADRID).body


def loaded(body: bytes | str) -> Json:
    """With numbers as decimals, which are equal whatever zeros they end with, and UTC written in one way."""
    text = (body.decode() if isinstance(body, bytes) else body).replace('+00:00"', 'Z"')
    found: Json = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    return found


def as_fhir_resources_reads_it(body: bytes) -> Json:
    from fhir.resources.R4B import get_fhir_model_class

    model = get_fhir_model_class(json.loads(body)["resourceType"])
    return loaded(model.model_validate_json(body).model_dump_json())


class Stored:
    """A record of the sample cohort as the store has it."""

    def __init__(self, resource: Json) -> None:
        self.type, self.id, self.body = (
            resource["resourceType"],
            resource["id"],
            msgspec.json.Encoder(decimal_format="number").encode(resource),
        )
        self.version, self.last_updated = "1", None


@cache
def computed() -> tuple[tuple[str, Outcome], ...]:
    """Every outcome of the sample cohorts that has a time."""
    found = []
    for site in (*four_patients(), *twenty_four_patients()):
        people: dict[str, list[Any]] = {}
        for one in site.resources:
            patient = (
                f"Patient/{one['id']}" if one["resourceType"] == "Patient" else one.get("subject", {}).get("reference")
            )
            people.setdefault(patient, []).append(Stored(one))
        for patient, records in people.items():
            case: Case = read_case(patient, "north", "Europe/Madrid", "anifrolumab", records, load_tables(), {})
            found += [(patient, one) for one in battery.outcomes(case, Fraction(300)) if one.when is not None]
    return tuple(found)


def shape(value: Any) -> Any:
    """Which elements there are, whatever stands in them."""
    if isinstance(value, dict):
        return tuple((name, shape(inner)) for name, inner in sorted(value.items()))
    return tuple(sorted({repr(shape(one)) for one in value})) if isinstance(value, list) else type(value).__name__


@cache
def distinct() -> tuple[bytes, ...]:
    """Of the sample cohorts' outcomes one of each shape."""
    return tuple(
        {
            repr(shape(json.loads(body))): body for patient, one in computed() for body in [written(one, patient)]
        }.values()
    )


def test_the_sample_cohorts_have_many_shapes() -> None:
    bodies = [json.loads(body) for body in distinct()]

    assert len(bodies) > 20
    assert {name for one in bodies for name in one} >= {
        "valueQuantity", "valueDateTime", "valueCodeableConcept", "dataAbsentReason", "interpretation", "note", "derivedFrom",
        "extension", "component",
    }  # fmt: skip
    assert {name for one in bodies for part in one.get("component", ()) for name in part} >= {
        "valueQuantity",
        "dataAbsentReason",
    }


def test_fhir_resources_reads_each_shape_as_it_was_written() -> None:
    for body in distinct():
        assert as_fhir_resources_reads_it(body) == loaded(body)
        assert as_fhir_resources_reads_it(as_entered_in_error(body)) == loaded(body) | {"status": "entered-in-error"}


@pytest.mark.real_data
def test_each_shape_is_valid_r4(r4_faults: Any) -> None:
    for body in distinct():
        assert r4_faults(json.loads(body)) == []
    assert r4_faults({**json.loads(distinct()[0]), "contained": [{"resourceType": "Device", "deviceName": "dm-fhir"}]})


numbers = st.fractions(min_value=-(10**6), max_value=10**6)
ids = st.from_regex(r"[A-Za-z0-9\-.]{1,64}", fullmatch=True)
times = st.one_of(
    st.dates().map(lambda day: day.isoformat()),
    st.datetimes().map(lambda moment: moment.isoformat(timespec="seconds")),
    st.datetimes(timezones=st.just(MADRID)).map(lambda moment: moment.isoformat(timespec="seconds")),
    st.from_regex(r"(19|20)[0-9]{2}(-(0[1-9]|1[0-2]))?", fullmatch=True),
)  # fmt: skip
sources = st.builds(
    Source, st.just("north"),
    st.tuples(st.sampled_from(["Observation", "MedicationAdministration", "QuestionnaireResponse", "Condition"]), ids).map("/".join),
    st.none() | ids,
)  # fmt: skip
coded = [tuple(one.code.replace("-", "_").rsplit(".", 1)) for one in outcome_verdicts.codes()]
verdicts = st.dictionaries(
    st.sampled_from(["population", "interval_days"]), st.sampled_from(["adult", "28"])
) | st.lists(st.sampled_from(coded), max_size=3).map(dict)
reasons = st.lists(st.sampled_from(["baseline_missing", "comparator:ck"]), max_size=2).map(tuple)
measures = st.sampled_from([("enzyme", "ck"), ("mmt8", "mmt8_80"), ("haq_di", None), ("cmas", "cmas")])
parts = st.builds(
    lambda named, *rest: Part(*named, *rest),
    measures, st.none() | numbers, st.none() | numbers, st.none() | numbers, st.none() | st.just("> 5, <= 15"),
    st.sampled_from([{}, {"limit_kept": "yes"}, {"improved_20": "yes", "worse_25": "no"}]), reasons,
)  # fmt: skip
values = st.one_of(
    st.builds(
        lambda number, unit: {"number": number, "unit": unit}, numbers, st.sampled_from(["%", "{score}", "U/L", None])
    ),
    st.builds(lambda time: {"date": time}, times),
    st.builds(lambda answer: {"answer": answer}, st.sampled_from(sorted(ANSWERS))),
    st.builds(lambda why: {"reasons": ("baseline_missing", *why)}, reasons),
)
outcomes = st.builds(
    lambda value, variable, rule, **more: Outcome(variable, rule, "1", **more, **value),
    values, st.sampled_from(battery.variables()), st.sampled_from(["R-TIS", "R-IMACS-IMPROVE", "R-JDM-INACTIVE", "R-CK"]),
    when=times, flags=reasons, verdicts=verdicts, parts=st.lists(parts, max_size=3).map(tuple),
    inputs=st.lists(st.builds(Input, st.just("baseline"), sources), max_size=4).map(tuple),
)  # fmt: skip


@given(outcomes, ids)
@settings(max_examples=60, deadline=None)
def test_fhir_resources_reads_any_outcome_as_it_was_written(outcome: Outcome, patient: str) -> None:
    try:
        body = written(outcome, f"Patient/{patient}")
    except NotWritable:  # a year that means nothing
        return
    assert as_fhir_resources_reads_it(body) == loaded(body)


@pytest.mark.real_data
@given(outcome=outcomes, patient=ids)
@settings(max_examples=60, deadline=None)
def test_any_outcome_is_valid_r4(r4_faults: Any, outcome: Outcome, patient: str) -> None:
    try:
        found = json.loads(written(outcome, f"Patient/{patient}"))
    except NotWritable:
        return
    assert r4_faults(found) == []


FHIR_DATE_TIME = re.compile(  # as R4 gives it, section 2.24.0.1
    r"([0-9]([0-9]([0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)(-(0[1-9]|1[0-2])(-(0[1-9]|[1-2][0-9]|3[0-1])(T([01][0-9]|2[0-3]):"
    r"[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?(Z|(\+|-)((0[0-9]|1[0-3]):[0-5][0-9]|14:00)))?)?)?"
)


@given(times | st.text() | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?)?", fullmatch=True))  # fmt: skip
@settings(max_examples=400)
def test_what_is_let_through_as_a_time_is_one(text: str) -> None:
    try:
        found = date_time(text, MADRID)
    except NotWritable:
        return
    assert FHIR_DATE_TIME.fullmatch(found)


@pytest.mark.parametrize("text", ["2024-02-30", "2024-13", "last week", "", "2024-01-01T25:00:00Z", "0001", "2024-05-01T10:00:00+15:00", "2024-01-01 10:00"])  # fmt: skip
def test_what_is_no_time_is_not_written(text: str) -> None:
    with pytest.raises(NotWritable, match="its time is none that FHIR allows"):
        date_time(text, MADRID)


@pytest.mark.parametrize("text", ["Observation/a b", "Observation/../../etc/passwd", "Observation/a?b", "Observation/", "Observation/1/_history/", "Observation/1/_history/W/\"1\"", "observation/1", "Observation/é", "http://elsewhere/Observation/1", "#1", "Observation/1\n"])  # fmt: skip
def test_a_reference_that_fhir_does_not_allow_is_not_written(text: str) -> None:
    with pytest.raises(NotWritable, match="id or version is none that FHIR allows") as caught:
        reference(text)
    named = text.partition("/")[2]
    assert not named or named not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["Observation/1", "Observation/A.b-c_9", f"Observation/{'e' * 88}", "Observation/1/_history/7"]
)
def test_a_reference_that_servers_give_is_written(text: str) -> None:
    assert reference(text).reference == text


def test_one_malformed_source_keeps_its_outcome_from_being_written_and_is_named() -> None:
    bad = Input("baseline", Source("north", "Observation/Eva Meier"))
    with pytest.raises(NotWritable, match="record \\(Observation\\) whose id") as caught:
        written(Outcome("ck_baseline", "R-CK", "1", number=Fraction(1), unit="U/L", when="2024-01-01", inputs=(bad,)))
    assert "Meier" not in str(caught.value)


def component_of(part: Part, rule: str = "R-IMACS-IMPROVE") -> list[Json]:
    outcome = Outcome("imacs_improvement", rule, "1", answer="yes", when="2024-01-01", parts=(part,))
    found: list[Json] = json.loads(written(outcome))["component"]
    return found


def test_points_and_percentages_of_a_score_are_components() -> None:
    part = Part("enzyme", "ck", points=Fraction(5, 2), percent_of_range=Fraction(100, 3))
    points, percent = component_of(part, "R-TIS")

    assert (points["code"]["coding"][0]["code"], points["valueQuantity"]["value"]) == ("ck-points", 2.5)
    assert (percent["code"]["coding"][0]["code"], percent["valueQuantity"]) == (
        "ck-percent-of-range", {"value": 33.3, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"},
    )  # fmt: skip


def test_a_measure_says_what_was_asked_of_it_or_what_is_not_known() -> None:
    [known] = component_of(Part("mmt8", "mmt8_80", percent_of_baseline=Fraction(20), verdicts={"improved_20": "yes"}))
    [bounded] = component_of(Part("mmt8", "mmt8_80", between=">= 20"))
    [unknown] = component_of(Part("mmt8", reasons=("measure_missing:mmt8",)))
    [limit] = component_of(Part("ck", "ck", verdicts={"limit_kept": "no"}), "R-JDM-INACTIVE")
    [no_limit] = component_of(Part("cmas", reasons=("followup_missing:cmas",)), "R-JDM-INACTIVE")

    assert known["interpretation"][0]["coding"][0]["code"] == "improved-20.yes"
    assert bounded["valueString"] == ">= 20 %"
    assert unknown["code"]["coding"][0]["code"] == "mmt8-percent-of-baseline"
    assert unknown["dataAbsentReason"]["text"] == "measure_missing:mmt8"
    assert (limit["code"]["coding"][0]["code"], limit["valueCodeableConcept"]["text"]) == ("ck-limit-kept", "no")
    assert no_limit["dataAbsentReason"]["text"] == "followup_missing:cmas"


def test_every_component_of_the_sample_has_a_code_that_is_listed() -> None:
    listed = {one.code for one in outcome_parts.codes()}
    used = {part["code"]["coding"][0]["code"] for body in distinct() for part in json.loads(body).get("component", ())}

    assert len(used) > 5
    assert used <= listed
    assert len(listed) == len(list(outcome_parts.codes()))


def all_definitions() -> Iterator[str]:
    yield from (one.id for instrument in INSTRUMENTS for one in definitions_of(instrument))
    yield from glucocorticoids.status(Fraction(10), Fraction(5), None).verdicts
    yield "interval_class"


def test_every_verdict_has_one_code_with_words() -> None:
    codes = list(outcome_verdicts.codes())

    assert {one.code.rpartition(".")[0] for one in codes} >= {name.replace("_", "-") for name in all_definitions()}
    assert len({one.code for one in codes}) == len(codes) == len({one.display for one in codes})
    assert [one.code for one in codes if not one.display] == []
    assert {f"interval-class.{one.replace('_', '-')}" for one in exposure.INTERVAL_CLASSES} <= {
        one.code for one in codes
    }


def test_a_verdict_is_an_interpretation_and_whatever_is_none_a_note() -> None:
    said = {
        "cdasi_a_band_upenn_19": "moderate_severe",
        "population": "adult",
        "zero_days": "28",
        "cdasi_a_mcid_4": "perhaps",
    }
    outcome = Outcome(
        "cdasi_activity_baseline", "R-CDASI", "1", number=Fraction(20), unit="{score}", when="2024-01-01", verdicts=said
    )
    found = json.loads(written(outcome))

    assert [one["coding"][0]["code"] for one in found["interpretation"]] == ["cdasi-a-band-upenn-19.moderate-severe"]
    assert [one["text"] for one in found["note"]] == ["population: adult", "zero days: 28", "cdasi a mcid 4: perhaps"]


def test_every_verdict_of_the_sample_is_said() -> None:
    for patient, outcome in computed():
        found = json.loads(written(outcome, patient))
        notes = [one["text"] for one in found.get("note", ())]
        coded_ones = [one["coding"][0]["code"] for one in found.get("interpretation", ())]
        for name, verdict in outcome.verdicts.items():
            code = f"{name}.{verdict}".replace("_", "-")
            assert (code in coded_ones) != (f"{name.replace('_', ' ')}: {verdict.replace('_', ' ')}" in notes)


def test_each_names_the_program_and_the_rule_with_their_versions() -> None:
    found = json.loads(written(Outcome("tis", tis.RULE, "7", number=Fraction(45), unit="{score}", when="2024-01-01")))
    [device] = found["contained"]

    assert found["device"] == {"reference": f"#{device['id']}"} == {"reference": "#dm-fhir"}
    assert {one["type"]["text"]: one["value"] for one in device["version"]} == {
        "dm-fhir": __version__,
        "rule R-TIS": "7",
    }
    assert found["meta"] == {"profile": ["https://w3id.org/dm-fhir/StructureDefinition/outcome-observation"]}


def test_an_upgrade_of_the_program_alone_is_written_as_before() -> None:
    from dm_fhir.mappings.scope import Scope
    from dm_fhir.mappings.site import SiteMapper

    tables = load_tables()
    mapper = SiteMapper("north", "Europe/Madrid", "anifrolumab", tables, Scope(tables))
    assert __version__ not in mapper.written_as.split("; ")


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_what_is_written_is_known_as_our_own_and_not_as_wanted(rule: str) -> None:
    from dm_fhir.mappings.scope import Scope
    from dm_fhir.mappings.site import SiteMapper

    tables = load_tables()
    mapper = SiteMapper("north", "Europe/Madrid", "anifrolumab", tables, Scope(tables))
    body = written(
        Outcome("tis", rule, "1", answer="yes", when="2024-01-01", parts=(Part("cmas", "cmas", points=Fraction(10)),))
    )

    assert is_own(body)
    assert not mapper.is_mapped("Observation", body)


TARGETS = ("Observation/7/_history/2", "Observation/8")


def test_a_provenance_says_what_was_written_when_and_by_what() -> None:
    found = json.loads(provenance.to_fhir(TARGETS, "2026-01-02T03:04:05.678Z", "CREATE"))

    assert [one["reference"] for one in found["target"]] == list(TARGETS)
    assert (found["recorded"], found["activity"]["coding"][0]["code"]) == ("2026-01-02T03:04:05.678Z", "CREATE")
    assert found["agent"][0]["who"] == {"reference": f"#{found['contained'][0]['id']}"}
    assert found["contained"][0]["version"] == [{"type": {"text": "dm-fhir"}, "value": __version__}]
    assert "entity" not in found


@pytest.mark.real_data
@pytest.mark.parametrize("activity", provenance.ACTIVITIES)
def test_a_provenance_is_valid(r4_faults: Any, activity: str) -> None:
    body = provenance.to_fhir(TARGETS, "2026-01-02T03:04:05.678Z", activity)

    assert as_fhir_resources_reads_it(body)["target"] == loaded(body)["target"]
    assert json.loads(body)["activity"]["coding"][0]["code"] == activity
    assert r4_faults(json.loads(body)) == []
    assert r4_faults({**json.loads(body), "recorded": "yesterday"})


def test_a_provenance_of_nothing_or_of_something_else_is_none() -> None:
    for targets, activity in (((), "CREATE"), (TARGETS, "DELETE")):
        with pytest.raises(ValueError, match="a Provenance of"):
            provenance.to_fhir(targets, "2026-01-02T03:04:05.678Z", activity)
    with pytest.raises(NotWritable):
        provenance.to_fhir(("Observation/a b",), "2026-01-02T03:04:05.678Z", "CREATE")
