"""How many patients one search names: as many as fill the pages of its answer, and no more than the server is known to heed.

The first search of a query names as many as is usual, because nobody knows how many records a patient has. From its answer on
those who come next are reckoned, and reckoned again with every answer.
"""

from math import ceil

from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import SEARCHES, Query

#: So many are named where nothing is known yet, where the server has refused more, and never fewer where it takes lists.
USUAL = 100
#: The most. Databases end at 1,000 values of one parameter (hapifhir/hapi-fhir#3091), or at 2,100 of the whole search
#: (microsoft/fhir-server#4855), and codes count among them; forms often end at 100 kB, and 500 ids of 64 characters are 40 kB.
MOST = 500
#: How full a page is to be: patients differ, and what does not fit costs one more request.
_PERCENT_OF_A_PAGE = 90


def group_size(puller: Puller, query: Query, share: int, *, in_full: bool) -> int:
    """How many patients the next search of this query is to name, where the server takes lists.

    What the site, its vendor or an earlier refusal says is taken exactly. `share`: with more than that, some of the
    connections would have nothing to do.
    """
    said = puller.settings.patients_per_query
    if said is not None:
        return said
    fitting = _fitting(puller, query, in_full=in_full)
    if fitting is None or not puller.takes_post(query.type):  # so long a search as an address is refused by most
        return USUAL
    return max(USUAL, min(fitting, share, _believed(puller, query, in_full=in_full)))


def is_known(puller: Puller, query: Query, *, in_full: bool) -> bool:
    """Whether anything says how many patients a search is to name."""
    return puller.settings.patients_per_query is not None or _fitting(puller, query, in_full=in_full) is not None


def _fitting(puller: Puller, query: Query, *, in_full: bool) -> int | None:
    """As many patients as fill whole pages, by all answers of this run; None: there was none."""
    patients, resources = puller.answered.get((query.name, in_full), (0, 0))
    if in_full and query.type == "Patient":
        patients = resources = 1
    if not patients:
        return None
    if not resources:
        return MOST
    room = max(1, puller.settings.page_size * _PERCENT_OF_A_PAGE // 100)
    pages = ceil(USUAL * resources / (patients * room))
    return pages * room * patients // resources


def _believed(puller: Puller, query: Query, *, in_full: bool) -> int:
    """As many as the server may be thought to heed.

    A longer list is tried with a full answer only, which shows how far it was heeded; and not where a look has shown nothing.
    """
    if in_full and query.type not in puller.probed:
        return MOST
    return max(longest_list(puller, query.type), usual_list(puller))


def longest_list(puller: Puller, type_name: str) -> int:
    """The longest list of patients that a search of this type has been seen to heed; 0 if there was none."""
    fact = puller.fact(list_fact(type_name)) or ""
    return int(fact) if fact.isdecimal() else 0


def usual_list(puller: Puller) -> int:
    """As many patients as a search of any type may be thought to heed; 0 if none has been seen to, or one type heeds none.

    Up to the usual length any list that was heeded speaks for others.
    """
    types = [type_name for type_name, _ in SEARCHES]
    if any(puller.fact(list_fact(type_name)) == "no" for type_name in types):
        return 0
    longest = max(longest_list(puller, type_name) for type_name in types)
    return max(USUAL, longest) if longest else 0


def heeds(puller: Puller, type_name: str, patients: int) -> None:
    """Remember that a search of this type has heeded a list of so many."""
    if patients > longest_list(puller, type_name):
        puller.remember(list_fact(type_name), str(patients))


def heeds_not(puller: Puller, type_name: str, patients: int) -> None:
    """Remember that it has not: none at all, or none so long."""
    if patients > USUAL:
        refuses(puller, patients)
    else:
        puller.remember(list_fact(type_name), "no")


def refuses(puller: Puller, patients: int) -> None:
    """A search with so many patients was refused: from now on none names more than is usual."""
    if patients > USUAL:
        puller.remember("patients_per_query", str(USUAL))


def list_fact(type_name: str) -> str:
    """The name of the fact: a number of patients, or `no`."""
    return f"lists {type_name}"
