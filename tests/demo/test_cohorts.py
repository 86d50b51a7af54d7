"""The sample cohorts hold the published aggregates, counted straight in the FHIR JSON.

Expected numbers are typed from the papers: the Johns Hopkins case series of four patients (infusions April-August 2024)
and ACR Convergence 2025, abstract 2670 (24 patients in Spain). Where a row says "of 24" the paper prints a percentage
that only this count gives.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from statistics import mean, median, stdev
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from fhir.resources.R4B import get_fhir_model_class

from dm_fhir.demo.cohorts import SampleSite, dump_ndjson, four_patients, twenty_four_patients

Resource = dict[str, Any]

ATC = "http://www.whocc.no/atc"
HPO = "http://human-phenotype-ontology.org"
LOINC = "http://loinc.org"
PROJECT = "https://w3id.org/dm-fhir/CodeSystem/measurement"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
SNOMED = "http://snomed.info/sct"

INVENTED = {
    "system": "https://w3id.org/dm-fhir/CodeSystem/sample",
    "code": "invented",
    "display": "Invented person; only the aggregates are published",
}
LOINC_OF_ANTIBODY = {
    "TIF1-gamma": {"82448-2", "107562-1", "82995-2"},
    "MDA5": {"82424-3", "107563-9", "82994-5"},
    "SAE1": {"82440-9", "82992-9"},
    "Mi-2": {"56743-8", "18485-3"},
    "NXP2": {"82426-8", "82993-7"},
    "Jo-1": {"56731-3", "8076-2", "5234-0"},
    "PL-7": {"56744-6"},
    "PL-12": {"56745-3"},
    "Ro52": {"82933-3", "53016-2"},
}
ARS = {"Jo-1", "PL-7", "PL-12"}
CSDMARDS = {"L04AX03": "MTX", "L04AA06": "MMF", "L04AD02": "TAC", "L04AX01": "AZA"}


def half_up(value: Decimal, decimals: int = 1) -> str:
    return str(value.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP))


def codes(element: Any) -> set[tuple[str, str]]:
    """All (system, code) pairs of a CodeableConcept, or of a list of them."""
    concepts = element if isinstance(element, list) else [element]
    return {(coding["system"], coding["code"]) for concept in concepts for coding in concept.get("coding", [])}


def day_of(text: str) -> date:
    return date.fromisoformat(text[:10])


class Chart:
    """Everything that one cohort holds of one patient, counted without any mapping."""

    def __init__(self, patient: Resource, resources: list[Resource]) -> None:
        self.id: str = patient["id"]
        self.patient = patient
        self.resources = [r for r in resources if r.get("subject", {}).get("reference") == f"Patient/{self.id}"]

    def of(self, resource_type: str) -> list[Resource]:
        return [r for r in self.resources if r["resourceType"] == resource_type]

    def has_condition(self, system: str, code: str) -> bool:
        return any((system, code) in codes(r["code"]) for r in self.of("Condition"))

    @property
    def completed(self) -> list[date]:
        found = [r for r in self.of("MedicationAdministration") if r["status"] == "completed"]
        return sorted(day_of(start_of(r)) for r in found)

    @property
    def first(self) -> date:
        return self.completed[0]

    @property
    def last(self) -> date:
        seen = [day_of(start_of(r)) for r in self.of("MedicationAdministration") if r["status"] != "not-done"]
        seen += [day_of(r["effectiveDateTime"]) for r in self.of("Observation")]
        return max(seen)

    def scores(self, code: str) -> list[tuple[datetime, Decimal]]:
        """The accepted values of one project code by time; the amended one replaces what it amends."""
        system = LOINC if code == "2157-6" else PROJECT
        found = [r for r in self.of("Observation") if (system, code) in codes(r["code"])]
        found = [r for r in found if r["status"] != "entered-in-error"]
        amended = {r["identifier"][0]["value"] for r in found if r["status"] == "amended"}
        kept = [r for r in found if r["status"] == "amended" or not amended & identifiers(r)]
        pairs = ((datetime.fromisoformat(r["effectiveDateTime"]), Decimal(r["valueQuantity"]["value"])) for r in kept)
        return sorted(pairs)

    def antibodies(self) -> dict[str, bool]:
        """The tested antibodies, and whether each was positive."""
        found = {}
        for observation in self.of("Observation"):
            for name, loinc in LOINC_OF_ANTIBODY.items():
                if {code for _, code in codes(observation["code"])} & loinc:
                    found[name] = (SNOMED, "10828004") in codes(observation["valueCodeableConcept"])
        return found

    def prior_drugs(self) -> set[str]:
        """ATC codes of every drug that began before the first infusion."""
        began = [r for r in self.of("MedicationStatement") if day_of(r["effectivePeriod"]["start"]) < self.first]
        return {code for r in began for _, code in codes(r["medicationCodeableConcept"])}

    def csdmards_at_first_infusion(self) -> frozenset[str]:
        found = set()
        for statement in self.of("MedicationStatement"):
            period = statement["effectivePeriod"]
            if day_of(period["start"]) <= self.first <= day_of(period.get("end", "9999-12-31")):
                found |= {CSDMARDS.get(code, "") for _, code in codes(statement["medicationCodeableConcept"])}
        return frozenset(found - {""})


def start_of(administration: Resource) -> str:
    return str(administration.get("effectiveDateTime") or administration["effectivePeriod"]["start"])


def identifiers(resource: Resource) -> set[str]:
    return {identifier["value"] for identifier in resource.get("identifier", [])}


def read(site: SampleSite) -> list[Resource]:
    """The resources of a site as a server would get them."""
    return [json.loads(line, parse_float=Decimal) for line in dump_ndjson(site.resources).splitlines()]


def charts_of(sites: tuple[SampleSite, ...]) -> list[Chart]:
    found = []
    for site in sites:
        resources = read(site)
        found += [Chart(r, resources) for r in resources if r["resourceType"] == "Patient"]
    return found


SITES = [*four_patients(), *twenty_four_patients()]
FOUR = charts_of(four_patients())
TWENTY_FOUR = charts_of(twenty_four_patients())
every_site = pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)


def count(has: Callable[[Chart], bool]) -> int:
    return sum(has(chart) for chart in TWENTY_FOUR)


def everything(charts: list[Chart], resource_type: str) -> list[Resource]:
    return [resource for chart in charts for resource in chart.of(resource_type)]


# --- both cohorts: sound FHIR ---


def test_sites_and_time_zones() -> None:
    assert [(site.name, site.timezone) for site in SITES] == [
        ("baltimore", "America/New_York"),
        ("leon", "Europe/Madrid"),
        ("madrid", "Europe/Madrid"),
        ("barcelona", "Europe/Madrid"),
    ]


@every_site
def test_every_resource_is_valid_r4b(site: SampleSite) -> None:
    for resource in read(site):
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)


@every_site
def test_ids_are_unique_in_the_site_and_allowed(site: SampleSite) -> None:
    ids = [resource["id"] for resource in site.resources]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[A-Za-z0-9.\-]{1,64}", resource_id) for resource_id in ids)


def references(element: Any) -> Iterator[str]:
    if isinstance(element, dict):
        if isinstance(element.get("reference"), str):
            yield element["reference"]
        for value in element.values():
            yield from references(value)
    elif isinstance(element, list):
        for value in element:
            yield from references(value)


@every_site
def test_every_reference_points_to_an_earlier_resource_of_the_site(site: SampleSite) -> None:
    seen: set[str] = set()
    for resource in site.resources:
        contained = {f"#{inner['id']}" for inner in resource.get("contained", [])}
        assert set(references(resource)) <= seen | contained
        seen.add(f"{resource['resourceType']}/{resource['id']}")


@every_site
def test_every_resource_is_tagged_invented_and_none_is_marked_as_a_test_patient(site: SampleSite) -> None:
    assert all(resource["meta"] == {"tag": [INVENTED]} for resource in site.resources)


@every_site
def test_numbers_are_exact_and_times_carry_the_offset_of_the_site(site: SampleSite) -> None:
    def check(element: Any) -> None:
        assert not isinstance(element, float)
        if isinstance(element, str) and re.match(r"\d{4}-\d\d-\d\dT", element):
            moment = datetime.fromisoformat(element)
            assert moment.utcoffset() == moment.astimezone(ZoneInfo(site.timezone)).utcoffset()
        for value in element.values() if isinstance(element, dict) else element if isinstance(element, list) else ():
            check(value)

    check(site.resources)


def test_the_cohorts_are_the_same_at_every_call() -> None:
    assert dump_ndjson(four_patients()[0].resources) == dump_ndjson(four_patients()[0].resources)
    assert twenty_four_patients() == twenty_four_patients()


def test_decimals_are_written_digit_for_digit() -> None:
    assert dump_ndjson([{"a": Decimal("7.50")}, {"a": 3}]) == b'{"a":7.50}\n{"a":3}\n'


def test_patients_say_that_they_are_invented() -> None:
    for chart in FOUR + TWENTY_FOUR:
        assert "invented person" in chart.patient["text"]["div"]
        assert chart.patient["name"][0]["family"] == "Sample"


def test_diagnosis_manifestations_and_serology_come_before_the_first_infusion() -> None:
    for chart in FOUR + TWENTY_FOUR:
        before = chart.first.isoformat()
        onsets = [r["onsetDateTime"] for r in chart.of("Condition") if (SNOMED, "298294005") not in codes(r["code"])]
        assert all(onset < before[: len(onset)] for onset in onsets)
        coded = [r["effectiveDateTime"] for r in chart.of("Observation") if "valueCodeableConcept" in r]
        assert all(effective[:10] < before for effective in coded)


def test_onsets_have_mixed_precision() -> None:
    for charts in (FOUR, TWENTY_FOUR):
        assert {len(r["onsetDateTime"]) for r in everything(charts, "Condition")} == {4, 7, 10}


def test_baselines_lie_in_the_ninety_days_up_to_the_first_infusion() -> None:
    for chart in FOUR + TWENTY_FOUR:
        first = chart.scores("cdasi-activity")[0][0]
        assert chart.first - timedelta(days=90) <= first.date() <= chart.first
        starts = [datetime.fromisoformat(start_of(r)) for r in chart.of("MedicationAdministration")]
        assert first < min(starts)


def test_given_infusions_are_three_to_five_weeks_apart() -> None:
    for chart in FOUR + TWENTY_FOUR:
        given = sorted(
            day_of(start_of(r)) for r in chart.of("MedicationAdministration") if r["status"] in ("completed", "stopped")
        )
        assert all(21 <= (later - earlier).days <= 35 for earlier, later in pairwise(given))


def test_the_last_visit_is_the_last_thing_that_happens() -> None:
    for chart in FOUR + TWENTY_FOUR:
        assert chart.scores("cdasi-activity")[-1][0].date() == chart.last
        assert all(day_of(event["date"]) <= chart.last for event in chart.of("AdverseEvent"))
        abated = [r["abatementDateTime"] for r in chart.of("Condition") if "abatementDateTime" in r]
        assert all(chart.first < day_of(text) <= chart.last for text in abated)


def test_scores_are_scaled_and_categorised() -> None:
    for observation in everything(FOUR + TWENTY_FOUR, "Observation"):
        category = {code for _, code in codes(observation["category"])}
        if (PROJECT, "mmt8-150") in codes(observation["code"]):
            scale = observation["referenceRange"][0]
            assert (scale["low"]["value"], scale["high"]["value"], category) == (0, 150, {"exam"})
        if (PROJECT, "cdasi-activity") in codes(observation["code"]):
            assert category == {"exam"}
            assert 0 <= observation["valueQuantity"]["value"] <= 48
        if (PROJECT, "dlqi") in codes(observation["code"]):
            assert category == {"survey"}


# --- four patients ---


def pair(chart: Chart, code: str) -> tuple[int, int]:
    """The first value, which must be a baseline, and the last one."""
    values = [value for _, value in chart.scores(code)]
    return int(values[0]), int(values[-1])


def test_four_adults() -> None:
    assert [chart.id for chart in FOUR] == ["bal-1", "bal-2", "bal-3", "bal-4"]
    for chart in FOUR:
        assert chart.has_condition(SNOMED, "402425006")
        onset = min(r["onsetDateTime"] for r in chart.of("Condition"))
        assert int(onset[:4]) - int(chart.patient["birthDate"][:4]) > 18


def test_four_300_mg_between_april_and_august() -> None:
    days = [day for chart in FOUR for day in chart.completed]
    assert (min(days).month, max(days).month) == (4, 8)
    assert {day.year for day in days} == {2024}
    assert all(chart.first.month in (4, 5) for chart in FOUR)
    doses = [r["dosage"]["dose"]["value"] for r in everything(FOUR, "MedicationAdministration") if "dosage" in r]
    assert set(doses) == {300}


def test_four_infusions_before_the_assessment() -> None:
    starts = {}
    for chart in FOUR:
        assessed = chart.scores("cdasi-activity")[-1][0]
        given = [r for r in chart.of("MedicationAdministration") if r["status"] == "completed"]
        starts[chart.id] = sum(datetime.fromisoformat(start_of(r)) < assessed for r in given)
        assert len(given) == starts[chart.id]
    assert starts == {"bal-1": 3, "bal-2": 2, "bal-3": 3, "bal-4": 2}


def test_four_cdasi_pairs() -> None:
    assert sorted(pair(chart, "cdasi-activity") for chart in FOUR) == [(15, 10), (26, 9), (26, 19), (27, 6)]
    assert [len(chart.scores("cdasi-activity")) for chart in FOUR] == [3, 2, 2, 2]


def test_four_medians_and_ranges() -> None:
    pairs = [pair(chart, "cdasi-activity") for chart in FOUR]
    points = [before - after for before, after in pairs]
    percents = [Decimal(100 * (before - after)) / before for before, after in pairs]
    assert (median(points), min(points), max(points)) == (12, 5, 21)
    assert [half_up(p) for p in (median(percents), min(percents), max(percents))] == ["49.4", "26.9", "77.8"]


def test_four_extracutaneous_improvement_in_patients_one_to_three() -> None:
    extracutaneous = {"HP:0001369", "HP:0100769", "HP:0002015", "HP:0003701"}
    involved, abated = set(), set()
    for chart in FOUR:
        for condition in chart.of("Condition"):
            if {code for _, code in codes(condition["code"])} & extracutaneous:
                involved.add(chart.id)
                abated |= {chart.id} if "abatementDateTime" in condition else set()
    assert involved == abated == {"bal-1", "bal-2", "bal-3"}
    for code, sign in (("mmt8-150", -1), ("2157-6", 1)):
        improvements = {chart.id: sign * (pair(chart, code)[0] - pair(chart, code)[1]) for chart in FOUR}
        assert {name for name, points in improvements.items() if points > 0} == {"bal-1", "bal-2", "bal-3"}


def prednisone_mg(chart: Chart, day: date) -> Decimal | None:
    """The daily dose that a statement documents for a day."""
    for statement in chart.of("MedicationStatement"):
        period = statement["effectivePeriod"]
        is_steroid = (ATC, "H02AB07") in codes(statement["medicationCodeableConcept"])
        if is_steroid and day_of(period["start"]) <= day <= day_of(period["end"]):
            dosage = statement["dosage"][0]
            assert dosage["timing"]["repeat"] == {"frequency": 1, "period": 1, "periodUnit": "d"}
            return Decimal(dosage["doseAndRate"][0]["doseQuantity"]["value"])
    return None


def test_four_prednisone() -> None:
    doses = {chart.id: (prednisone_mg(chart, chart.first), prednisone_mg(chart, chart.last)) for chart in FOUR}
    assert doses == {"bal-1": (20, 10), "bal-2": (5, 5), "bal-3": (None, None), "bal-4": (10, None)}
    for chart in FOUR:
        month = {prednisone_mg(chart, chart.first - timedelta(days=back)) for back in range(1, 29)}
        assert month == {doses[chart.id][0]}
    stopped = FOUR[3]
    assert all(prednisone_mg(stopped, stopped.last - timedelta(days=back)) is None for back in range(28))


def test_four_only_patients_one_and_four_change_systemic_therapy() -> None:
    changed = set()
    for chart in FOUR:
        for statement in chart.of("MedicationStatement"):
            end = statement["effectivePeriod"].get("end")
            if end is not None and chart.first <= day_of(end) < chart.last:
                changed.add(chart.id)
    assert changed == {"bal-1", "bal-4"}


def test_four_dlqi() -> None:
    dlqi = {chart.id: chart.scores("dlqi") for chart in FOUR}
    baselines = {chart.id for chart in FOUR if dlqi[chart.id][0][0].date() <= chart.first}
    assert baselines == {"bal-1", "bal-3"}
    assert all(dlqi[name][-1][1] < dlqi[name][0][1] for name in baselines)
    assert all(len(dlqi[name]) == 1 for name in ("bal-2", "bal-4"))


def test_four_no_adverse_event_and_no_antibody() -> None:
    assert everything(FOUR, "AdverseEvent") == []
    assert all(chart.antibodies() == {} for chart in FOUR)


def test_four_flaws() -> None:
    assert Counter(r["status"] for r in everything(FOUR, "MedicationAdministration")) == {
        "completed": 10,
        "not-done": 1,
    }
    assert Counter(r["status"] for r in everything(FOUR, "Observation"))["entered-in-error"] == 1


# --- twenty-four patients ---


def test_24_patients_in_three_sites() -> None:
    assert len(TWENTY_FOUR) == len({chart.id for chart in TWENTY_FOUR}) == 24
    assert Counter(chart.id[:-3] for chart in TWENTY_FOUR) == {"leon": 8, "madrid": 10, "barcelona": 6}


def test_24_sex_and_race() -> None:
    assert Counter(chart.patient["gender"] for chart in TWENTY_FOUR) == {"female": 20, "male": 4}
    races = [chart.patient["extension"][0]["extension"][0]["valueCoding"]["code"] for chart in TWENTY_FOUR]
    assert races.count("2106-3") == 19


@pytest.mark.parametrize(
    ("system", "code", "expected"),
    [
        ("http://hl7.org/fhir/sid/icd-10-cm", "M33.12", 9),  # classic
        (SNOMED, "238935002", 10),  # amyopathic
        (SNOMED, "1212005", 3),  # juvenile
        (SNOMED, "445187004", 2),  # antisynthetase syndrome
        (SNOMED, "239901009", 5),  # paraneoplastic, 21 %
        (HPO, "HP:0025508", 24),  # Gottron's papules, 100 %
        (HPO, "HP:0000989", 22),  # pruritus, 92 %
        (HPO, "HP:0040324", 20),  # periorbital erythema, 83 %
        (HPO, "HP:0033425", 19),  # periungual erythema, 79 %
        (HPO, "HP:0001596", 11),  # alopecia, 46 %
        (HPO, "HP:0025520", 9),  # calcinosis, 38 %
        (PROJECT, "musculoskeletal-involvement", 14),  # 58 %
        (HPO, "HP:0002015", 10),  # dysphagia, 42 %
        (HPO, "HP:0001369", 12),  # arthritis, 50 %
        (HPO, "HP:0006530", 5),  # interstitial lung disease, 21 %
        (SNOMED, "298294005", 1),  # Gowers' sign
    ],
)
def test_24_conditions(system: str, code: str, expected: int) -> None:
    assert count(lambda chart: chart.has_condition(system, code)) == expected


def test_24_subtypes_exclude_one_another() -> None:
    subtypes = {"M33.12", "238935002", "1212005", "445187004"}
    for chart in TWENTY_FOUR:
        found = [{code for _, code in codes(r["code"])} & subtypes for r in chart.of("Condition")]
        assert sum(map(len, found)) == 1


def test_24_juveniles_fell_ill_before_eighteen_and_the_others_later() -> None:
    for chart in TWENTY_FOUR:
        diagnosis = next(r for r in chart.of("Condition") if r["id"] == f"{chart.id}-dm")
        onset, birth = diagnosis["onsetDateTime"], date.fromisoformat(chart.patient["birthDate"])
        youngest = completed_years(birth, date.fromisoformat((onset + "-01-01")[:10]))
        oldest = completed_years(birth, date.fromisoformat(onset if len(onset) == 10 else (onset + "-12-28")[:10]))
        assert oldest < 18 if chart.has_condition(SNOMED, "1212005") else youngest >= 18


def test_24_antibodies() -> None:
    positive = [{name for name, found in chart.antibodies().items() if found} for chart in TWENTY_FOUR]
    by_name = Counter(name for names in positive for name in names)
    assert [by_name[name] for name in ("TIF1-gamma", "MDA5", "SAE1", "Mi-2", "NXP2", "Ro52")] == [8, 3, 4, 1, 0, 9]
    assert sum(bool(names & ARS) for names in positive) == 3
    specific = [names - {"Ro52"} for names in positive]
    assert Counter(map(len, specific)) == {1: 19, 0: 5}


def test_24_everybody_was_tested_with_the_codes_of_the_site() -> None:
    panel = {"TIF1-gamma", "MDA5", "SAE1", "Mi-2", "NXP2", "Jo-1", "Ro52"}
    used: defaultdict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for chart in TWENTY_FOUR:
        assert panel <= set(chart.antibodies())
        tests = [r for r in chart.of("Observation") if "valueCodeableConcept" in r]
        for test in tests:
            used[chart.id[:-3], test["code"]["text"]] |= codes(test["code"])
            interpretation = {code for _, code in codes(test["interpretation"])}
            positive = (SNOMED, "10828004") in codes(test["valueCodeableConcept"])
            assert interpretation == {"POS" if positive else "NEG"}
    assert all(len(found) == 1 for found in used.values())


@pytest.mark.parametrize(
    ("atc", "expected"),
    [
        ({"H02AB07", "H02AB06"}, 24),  # oral corticosteroid, 100 %
        ({"P01BA02"}, 21),  # hydroxychloroquine, 88 %
        ({"L04AX03"}, 21),  # methotrexate, 88 %
        ({"L04AX01"}, 6),  # azathioprine, 25 %
        ({"L04AD02"}, 5),  # tacrolimus, 21 %
        ({"L04AA06"}, 16),  # mycophenolate, 67 %
        ({"J06BA02"}, 19),  # immunoglobulin, 79 %
        ({"L01FA01"}, 7),  # rituximab, 29 %
        ({"L04AF01"}, 10),  # tofacitinib, 42 %
        ({"L04AF02"}, 2),  # baricitinib, 8.3 %
        ({"L01EJ01"}, 1),  # ruxolitinib, printed 4.1 %
    ],
)
def test_24_prior_drugs(atc: set[str], expected: int) -> None:
    assert count(lambda chart: bool(chart.prior_drugs() & atc)) == expected


def test_24_steroids_are_oral() -> None:
    for statement in everything(TWENTY_FOUR, "MedicationStatement"):
        if {code for _, code in codes(statement["medicationCodeableConcept"])} & {"H02AB07", "H02AB06"}:
            assert codes(statement["dosage"][0]["route"]) == {(SNOMED, "26643006")}


def test_24_concomitant_csdmards() -> None:
    groups = Counter("+".join(sorted(chart.csdmards_at_first_infusion())) for chart in TWENTY_FOUR)
    assert groups == {"": 12, "MTX": 4, "MMF": 4, "TAC": 2, "AZA": 1, "MMF+TAC": 1}


def test_24_no_csdmard_starts_later() -> None:
    for chart in TWENTY_FOUR:
        for statement in chart.of("MedicationStatement"):
            names = {code for _, code in codes(statement["medicationCodeableConcept"])}
            assert day_of(statement["effectivePeriod"]["start"]) < chart.first or names <= {"H02AB07", "J06BA02"}


def test_24_indications() -> None:
    reasons = Counter(code for r in everything(TWENTY_FOUR, "MedicationRequest") for _, code in codes(r["reasonCode"]))
    assert reasons == {"indication-skin": 22, "indication-musculoskeletal": 2}


def test_24_doses() -> None:
    usual = {}
    for chart in TWENTY_FOUR:
        given = [r for r in chart.of("MedicationAdministration") if r["status"] == "completed"]
        [usual[chart.id]] = {r["dosage"]["dose"]["value"] for r in given}
    assert Counter(usual.values()) == {300: 23, 150: 1}
    [young] = [chart for chart in TWENTY_FOUR if usual[chart.id] == 150]
    assert young.has_condition(SNOMED, "1212005")
    assert completed_years(date.fromisoformat(young.patient["birthDate"]), young.first) < 18


def completed_years(birth: date, day: date) -> int:
    return day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))


def test_24_age_at_initiation() -> None:
    ages = [Decimal(completed_years(date.fromisoformat(c.patient["birthDate"]), c.first)) for c in TWENTY_FOUR]
    assert (half_up(mean(ages)), half_up(stdev(ages))) == ("53.9", "19.8")


def test_24_follow_up() -> None:
    months = [(chart.last - chart.first).days / Decimal("30.4375") for chart in TWENTY_FOUR]
    assert (half_up(mean(months)), half_up(stdev(months))) == ("7.5", "4.2")


def immunoglobulin_weeks(chart: Chart) -> list[int]:
    statements = [r for r in chart.of("MedicationStatement") if "J06BA02" in str(r["medicationCodeableConcept"])]
    statements.sort(key=lambda r: str(r["effectivePeriod"]["start"]))
    return [r["dosage"][0]["timing"]["repeat"]["period"] for r in statements if "dosage" in r]


def test_24_immunoglobulin_spaced_in_two() -> None:
    assert Counter(str(immunoglobulin_weeks(chart)) for chart in TWENTY_FOUR) == {"[]": 20, "[4, 8]": 2, "[4]": 2}
    for chart in TWENTY_FOUR:
        if immunoglobulin_weeks(chart) == [4, 8]:
            wider = next(r for r in chart.of("MedicationStatement") if r["id"] == f"{chart.id}-immunoglobulin-2")
            assert chart.first < day_of(wider["effectivePeriod"]["start"]) < chart.last


def test_24_flare_of_a_juvenile_patient_after_methotrexate() -> None:
    [(chart, ck)] = [
        (chart, r)
        for chart in TWENTY_FOUR
        for r in chart.of("Observation")
        if r.get("valueQuantity", {}).get("unit") == "UI/L"
    ]
    assert ck["valueQuantity"] == {"value": 450, "unit": "UI/L"}
    assert codes(ck["code"]) == {(LOINC, "2157-6")}
    assert chart.has_condition(SNOMED, "1212005")
    assert chart.has_condition(SNOMED, "298294005")
    [methotrexate] = [r for r in chart.of("MedicationStatement") if "L04AX03" in str(r["medicationCodeableConcept"])]
    stop = day_of(methotrexate["effectivePeriod"]["end"])
    assert chart.first < stop < day_of(ck["effectiveDateTime"]) < chart.last


def test_24_adverse_events() -> None:
    events = everything(TWENTY_FOUR, "AdverseEvent")
    names = Counter(code for event in events for _, code in codes(event["event"]))
    assert names == {"48277006": 1, "57676002": 1, "68566005": 2, "4740000": 1}
    assert len({event["subject"]["reference"] for event in events}) == 5
    assert {event["event"]["text"] for event in events if "57676002" in str(event)} == {"Arthralgia/myalgia"}


def test_24_adverse_events_point_to_the_infusion_before_them() -> None:
    for chart in TWENTY_FOUR:
        given = {r["id"]: r for r in chart.of("MedicationAdministration") if r["status"] != "not-done"}
        for event in chart.of("AdverseEvent"):
            [suspect] = event["suspectEntity"]
            infusion = given[suspect["instance"]["reference"].partition("/")[2]]
            before = [day_of(start_of(r)) for r in given.values() if day_of(start_of(r)) <= day_of(event["date"])]
            assert day_of(start_of(infusion)) == max(before)
            assert suspect["causality"] == [{"assessment": {"text": "not assessed"}}]
            assert (event["actuality"], {code for _, code in codes(event["seriousness"])}) == (
                "actual",
                {"non-serious"},
            )


def test_24_one_stopped_because_lost_to_follow_up_and_none_for_an_adverse_event() -> None:
    requests = everything(TWENTY_FOUR, "MedicationRequest")
    assert Counter(request["status"] for request in requests) == {"active": 23, "stopped": 1}
    [stopped] = [request for request in requests if "statusReason" in request]
    assert codes(stopped["statusReason"]) == {(PROJECT, "lost-to-follow-up")}
    assert not any(event["subject"] == stopped["subject"] for event in everything(TWENTY_FOUR, "AdverseEvent"))


def test_24_most_improve_and_muscle_stays_stable() -> None:
    pairs = [pair(chart, "cdasi-activity") for chart in TWENTY_FOUR]
    assert sum(2 * after <= before for before, after in pairs) >= 18
    assert all(after - before >= -2 for before, after in (pair(chart, "mmt8-150") for chart in TWENTY_FOUR))


def test_24_ck_units_by_site() -> None:
    units = defaultdict(set)
    for chart in TWENTY_FOUR:
        for r in chart.of("Observation"):
            if (LOINC, "2157-6") in codes(r["code"]) and "code" in r["valueQuantity"]:
                units[chart.id[:-3]].add(r["valueQuantity"]["code"])
                assert r["referenceRange"][0]["high"]["code"] == r["valueQuantity"]["code"]
    assert units == {"leon": {"U/L"}, "madrid": {"U/L"}, "barcelona": {"ukat/L"}}


def test_24_no_dlqi_under_sixteen() -> None:
    for chart in TWENTY_FOUR:
        if completed_years(date.fromisoformat(chart.patient["birthDate"]), chart.first) < 16:
            assert chart.scores("dlqi") == []


# --- twenty-four patients: the flaws, each exactly once ---


def test_24_one_infusion_missed_for_an_infection() -> None:
    [missed] = [r for r in everything(TWENTY_FOUR, "MedicationAdministration") if r["status"] == "not-done"]
    assert missed["statusReason"] == [{"text": "infection"}]
    assert "dosage" not in missed


def test_24_one_infusion_broken_off() -> None:
    [partial] = [r for r in everything(TWENTY_FOUR, "MedicationAdministration") if r["status"] == "stopped"]
    assert partial["dosage"]["dose"]["value"] == 120


def test_24_one_infusion_as_a_period() -> None:
    [period] = [r for r in everything(TWENTY_FOUR, "MedicationAdministration") if "effectivePeriod" in r]
    assert period["effectivePeriod"]["start"] < period["effectivePeriod"]["end"]
    assert "effectiveDateTime" not in period


def test_24_one_contained_and_one_referenced_medication() -> None:
    referring = [r for r in everything(TWENTY_FOUR, "MedicationAdministration") if "medicationReference" in r]
    contained, referenced = sorted(referring, key=lambda r: "contained" not in r)
    assert contained["medicationReference"]["reference"] == "#med"
    assert codes(contained["contained"][0]["code"]) == {(RXNORM, "2565286")}
    shared = [r for site in twenty_four_patients() for r in site.resources if r["resourceType"] == "Medication"]
    assert [f"Medication/{r['id']}" for r in shared] == [referenced["medicationReference"]["reference"]]
    assert codes(shared[0]["code"]) == {(RXNORM, "2565286"), (ATC, "L04AG11")}
    assert "contained" not in referenced
    for owner in {r["subject"]["reference"] for r in referring}:
        own = [r for r in everything(TWENTY_FOUR, "MedicationAdministration") if r["subject"]["reference"] == owner]
        assert sum("medicationCodeableConcept" in r for r in own) == len(own) - 1 > 1


def test_every_other_administration_is_coded_in_both_systems() -> None:
    for administration in everything(FOUR + TWENTY_FOUR, "MedicationAdministration"):
        if "medicationCodeableConcept" in administration:
            assert codes(administration["medicationCodeableConcept"]) == {(RXNORM, "2565286"), (ATC, "L04AG11")}
            assert administration["medicationCodeableConcept"]["text"] == "anifrolumab"


def test_24_one_cdasi_entered_in_error_after_the_true_ones() -> None:
    [(chart, mistake)] = [
        (chart, r) for chart in TWENTY_FOUR for r in chart.of("Observation") if r["status"] == "entered-in-error"
    ]
    when, value = chart.scores("cdasi-activity")[-1]
    assert datetime.fromisoformat(mistake["effectiveDateTime"]) > when
    assert day_of(mistake["effectiveDateTime"]) <= chart.last
    assert mistake["valueQuantity"]["value"] < value


def test_24_one_amended_pair() -> None:
    pair_ = [r for r in everything(TWENTY_FOUR, "Observation") if "identifier" in r]
    first, amended = sorted(pair_, key=lambda r: datetime.fromisoformat(r["issued"]))
    assert (first["status"], amended["status"]) == ("final", "amended")
    assert first["identifier"] == amended["identifier"]
    assert first["identifier"][0]["system"] == "https://w3id.org/dm-fhir/sample/result"
    assert first["valueQuantity"]["value"] != amended["valueQuantity"]["value"]
    assert first["effectiveDateTime"] == amended["effectiveDateTime"]
