"""The queries of a plan: what is asked of each patient, how an answer is checked, and how it is put to the server."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from dm_fhir.fhir.resource import NOT_READABLE, Resource
from dm_fhir.fhir.search import LONGEST_ADDRESS, Parameters, Search, read_url
from dm_fhir.store.ledger import Unit
from dm_fhir.sync.puller import Puller

Wanted = Callable[[Resource], bool]
#: Each type of a patient's record with the search parameter that finds the patient's. AdverseEvent has no `patient` in R4.
SEARCHES = (
    ("MedicationAdministration", "patient"),
    ("Observation", "patient"),
    ("Condition", "patient"),
    ("MedicationRequest", "patient"),
    ("MedicationStatement", "patient"),
    ("AdverseEvent", "subject"),
)
#: Asked for only where a table of the site names a questionnaire: most hospitals have none that are of use here.
FORMS = ("QuestionnaireResponse", "patient")
#: The parameter by which a type can be split by date.
DATE_PARAMETERS = {
    "MedicationAdministration": "effective-time",
    "Observation": "date",
    "Condition": "recorded-date",
    "MedicationRequest": "authoredon",
    "MedicationStatement": "effective",
    "AdverseEvent": "date",
    "QuestionnaireResponse": "authored",
}
CODED = {"Observation": ("combo-code", "code"), "Condition": ("code",)}
_ALONE = str.maketrans({"\\": "\\\\", ",": "\\,", "|": "\\|", "$": "\\$"})


class Query(NamedTuple):
    """One query of the plan, asked of every patient.

    `parameter` is the one that names the patient, `also` narrows what is asked for. `filters` say, by parameter, whether a
    resource is what the server was asked for; `wanted` whether it is to be kept.
    """

    type: str
    name: str
    parameter: str
    also: Parameters = ()
    filters: tuple[tuple[str, Wanted], ...] = ()
    wanted: Wanted = lambda _: True
    scope: str = ""

    @property
    def asked(self) -> str:
        """Changes with what is asked for: then what was read before is no longer all."""
        return hashlib.sha256(repr((self.type, self.also, self.scope)).encode()).hexdigest()[:16]

    def is_listed(self, puller: Puller) -> bool:
        """Whether the server says that it can search so. Patients can be found by id everywhere."""
        return self.type == "Patient" or puller.capability.searches(self.type, self.parameter)

    def search(self, puller: Puller, patients: Sequence[str], more: Parameters = ()) -> Search:
        """The search for these patients' resources, in the manner that this server takes.

        Where the server does not list the parameter it goes by the patient's compartment: an unknown parameter is ignored
        by many servers, and the answer is everybody's.
        """
        settings = puller.settings
        if self.is_listed(puller):
            path = self.type
            named: Parameters = ((self.parameter, ",".join(self._value(patient) for patient in patients)),)
        else:
            path, named = f"{read_url(patients[0])}/{self.type}", ()
        found = Search(path, (*named, *self.also, *manner(puller, self.type), *more), settings.page_size)
        is_long = len(found.url) > LONGEST_ADDRESS
        return found._replace(
            strict=settings.strict and puller.fact(f"strict {self.type}") != "no",
            by_post=is_long and puller.takes_post(self.type),
        )

    def _value(self, patient: str) -> str:
        value = patient if self.parameter == "subject" else patient.partition("/")[2]
        return value.translate(_ALONE)


def manner(puller: Puller, type_name: str) -> Parameters:
    """What a search says of how it is to be answered: sorted, and with an exact total, where this server must be told so."""
    settings = puller.settings
    is_listed = settings.ask_for_totals is None and puller.capability.searches(type_name, "_total")
    sort: Parameters = (("_sort", settings.sort),) if settings.sort else ()
    total: Parameters = (("_total", "accurate"),) if settings.ask_for_totals or is_listed else ()
    return (*sort, *total)


#: Patient by id: some servers refuse Patient?patient=.
PATIENT = Query("Patient", "Patient", "_id")


def plan(puller: Puller) -> list[Query]:
    """The queries for each patient's record, but for Patient itself and for what comes by an export."""
    elsewhere = {*puller.site.pull.whole_types, *puller.exported}
    forms = (FORMS,) if puller.mapper.reads_forms else ()
    return [
        query
        for type_name, parameter in (*SEARCHES, *forms)
        if type_name not in elsewhere
        for query in queries_of(puller, type_name, parameter)
    ]


def queries_of(puller: Puller, type_name: str, parameter: str) -> list[Query]:
    """How one type is asked for: whole, by the codes that the tables know, or by category."""
    settings, mapper = puller.settings, puller.mapper
    name = f"{type_name}?{parameter}"
    scope = puller.site.pull.scope
    wanted: Wanted = (lambda r: True) if scope == "all" else (lambda r: mapper.is_mapped(r.type, r.body, r.concept))
    if puller.capability.searches(type_name, "subject") and not puller.capability.searches(type_name, parameter):
        parameter = "subject"
    query = Query(
        type_name, name, parameter, wanted=wanted, scope=f"{scope} {mapper.scope}" if scope == "mapped" else scope
    )
    if type_name == "Observation" and settings.observations_by == "categories":
        return [by_category(query, category) for category in taken_categories(puller)]
    by_codes = scope == "mapped" and (type_name != "Observation" or settings.observations_by in (None, "codes"))
    listed = next((p for p in CODED.get(type_name, ()) if puller.capability.searches(type_name, p)), None)
    if by_codes and listed and puller.fact(f"codes {type_name}") != "no":
        codes = ",".join(code.translate(_ALONE) for code in mapper.codes_of(type_name))
        return [query._replace(also=((listed, codes),), filters=((listed, wanted),))]
    return [query]


def by_category(query: Query, category: str) -> Query:
    """The query narrowed to one category."""
    return query._replace(
        name=f"{query.name}&category={category}",
        also=(("category", category),),
        filters=(("category", lambda resource: category in categories_of(resource.body)),),
    )


def since(puller: Puller, unit: Unit, query: Query) -> str | None:
    """From when on changes suffice for this unit; None: all must be asked for.

    All: the first time, when asked to, when another thing is asked than before, while something is set aside (it would be
    forgotten unmended), when it is long ago (deletions show only in full answers), and where resources say nothing of when
    they changed.
    """
    settings = puller.settings
    if unit.watermark is None or unit.read_in_full is None or puller.full or unit.asked != query.asked:
        return None
    if puller.has_aside(unit.patient, unit.query):
        return None
    if not (settings.last_updated and puller.capability.searches(query.type, "_lastUpdated")):
        return None
    if unit.notes.get("no_last_updated"):
        return None
    return unit.watermark if is_recent(puller, unit.read_in_full) else None


def is_recent(puller: Puller, read_in_full: str) -> bool:
    """Whether the last full answer is young enough to go on from."""
    age = datetime.now(UTC) - datetime.fromisoformat(read_in_full)
    return age < timedelta(days=puller.site.pull.full_every_days)


def taken_categories(puller: Puller) -> list[str]:
    """The categories to ask for, without those that the server has refused."""
    return [category for category in puller.settings.categories if puller.fact(f"category {category}") != "no"]


class _Coding(msgspec.Struct, frozen=True):
    code: str | None = None


class _Concept(msgspec.Struct, frozen=True):
    coding: tuple[_Coding, ...] = ()


class _Categorised(msgspec.Struct, frozen=True):
    category: tuple[_Concept, ...] = ()


_CATEGORISED = msgspec.json.Decoder(_Categorised)


def categories_of(body: bytes) -> set[str | None]:
    """The codes of a resource's categories."""
    try:
        return {coding.code for concept in _CATEGORISED.decode(body).category for coding in concept.coding}
    except NOT_READABLE:
        return set()
