"""Many patients in one query, each still a unit of the ledger: together while all is well, alone as soon as anything is odd.

Here nothing is repaired and nothing is guessed: whatever is not plainly whole is handed back, to be asked for in smaller
groups and in the end patient by patient, where every means is tried and the fault is named with its patient.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from dm_fhir.errors import LoginRefused, RequestFailed, ServerUnavailable
from dm_fhir.fhir.page import Page
from dm_fhir.fhir.resource import Resource
from dm_fhir.fhir.search import Parameters, first_pages
from dm_fhir.store.audit import note_read
from dm_fhir.store.filing import put_resources
from dm_fhir.store.ledger import Unit, now, put_units
from dm_fhir.store.quarantine import clear_set_aside
from dm_fhir.sync.deletions import find_deleted, was_full
from dm_fhir.sync.group_size import heeds, heeds_not, longest_list, refuses, usual_list
from dm_fhir.sync.opening import NOT_THIS_WAY, opened
from dm_fhir.sync.puller import Puller
from dm_fhir.sync.query import Query
from dm_fhir.sync.tally import begun, watermark

#: A group that did not work is asked for in so many parts.
PARTS = 10
#: How a server fails at a list that is too long for it, beside refusing it.
_TOO_MUCH = (431, 500, 502, 503, 504)
_TOO_SLOW = ("read-timeout", "too-slow")
#: What may happen to a page without anything being wrong with the data.
_HARMLESS = ("bom", "media_type", "next_rewritten", "plain_http_links", "authorised_view_only")


class _Odd(Exception):
    """Something that only a closer look at each patient can tell."""


def pull_together(
    puller: Puller, query: Query, patients: Sequence[str], before: Mapping[str, Unit], changed_since: str | None
) -> bool:
    """Ask for these patients' resources in one query. False: it did not work out, ask in smaller groups.

    `before` has their ledger rows, `changed_since` is None where all is to be asked for. Raises NeedsCategory,
    LoginRefused or ServerUnavailable; then the units are open in the ledger.
    """
    more = (("_lastUpdated", f"ge{changed_since}"),) if changed_since else ()
    group = _Group(puller, query, patients, before, in_full=changed_since is None)
    try:
        # What a record says twice is noticed when the record is used; alone, it is noticed here.
        search = query.search(puller, patients, more)._replace(exactly=False)
        for page in opened(puller, query.type, search, group.notes):
            puller.reached()
            group.take(page)
        group.check()
        if not _is_proven(puller, query, patients, more, group.whose):
            return False
    except _Odd:
        return False
    except RequestFailed as error:
        if _is_for_length(error) and not group.has_begun:
            refuses(puller, len(patients))
        return False
    except LoginRefused as error:
        group.stop("auth", error.message)
        raise
    except ServerUnavailable as error:
        group.stop(error.reason, error.message, error.not_before)
        puller.not_reached(error)
        return True
    if group.in_full:
        held = [patient for patient in patients if was_full(before.get(patient))]
        find_deleted(puller, query, held, group.seen, group.notes)
    group.complete()
    return True


def pull_batch(puller: Puller, query: Query, patients: Sequence[str], before: Mapping[str, Unit]) -> list[str]:
    """Ask for each patient by a search of its own, all in one batch Bundle; the patients who must be asked for alone.

    Raises RequestFailed where the server takes no such Bundle.
    """
    searches = [query.search(puller, [patient])._replace(by_post=False) for patient in patients]
    notes: Counter[str] = Counter()
    left = []
    for patient, page in zip(patients, first_pages(puller.connection, searches, notes), strict=True):
        group = _Group(puller, query, [patient], before, in_full=True)
        try:
            if page is None or page.next_url is not None or page.next_failure is not None:
                raise _Odd
            group.take(page)
            group.check()
        except _Odd:
            left.append(patient)
            continue
        if was_full(before.get(patient)):
            find_deleted(puller, query, [patient], group.seen, group.notes)
        group.complete()
    return left


class _Group:
    """The units of one query's patients while their common answer comes in."""

    def __init__(
        self, puller: Puller, query: Query, patients: Sequence[str], before: Mapping[str, Unit], *, in_full: bool
    ) -> None:
        self.notes: Counter[str] = Counter()
        self.seen: set[str] = set()
        self.whose: Counter[str] = Counter()
        self.in_full = in_full
        self._puller, self._query = puller, query
        asked = query.asked
        self._units = {
            patient: begun(before.get(patient), puller.name, patient, query.name, puller.run, asked)
            for patient in patients
        }
        self._notes: dict[str, Counter[str]] = {patient: Counter() for patient in patients}
        self._received: Counter[str] = Counter()
        self._waiting: list[Resource] = []
        self._only_read: set[str | None] = set()
        self._pages = 0
        self._total: int | None = None
        self._message: str | None = None
        self._started: datetime | None = None

    @property
    def has_begun(self) -> bool:
        """Whether any page has come."""
        return self._pages > 0

    def take(self, page: Page) -> None:
        """Count one page, and store the one before it with the rows of its patients.

        Raises _Odd, before anything of it is stored, if it is not plainly right.
        """
        self._check_page(page)
        self._puller.learn_of_times(page.resources)
        if self._pages:
            self._store(self._units if self._pages == 1 else {r.subject or "" for r in self._waiting})
        self._pages += 1
        self._started = self._started or page.answer.date or datetime.now(UTC)
        self._total = page.total if page.total is not None else self._total
        self._message = self._message or (f"server: {page.messages[0]}" if page.messages else None)
        seen = {name: page.notes[name] for name in _HARMLESS} | {"server_message": len(page.messages)}
        self.notes.update({name: count for name, count in seen.items() if count})
        self._count(page.resources)
        self._waiting = self._kept(page.resources)
        self._only_read = {r.subject for r in page.resources} - {r.subject for r in self._waiting}

    def check(self) -> None:
        """Raises _Odd unless all that was announced has come, and every Patient that was named."""
        if self.in_full and self._query.type == "Patient" and not all(self.whose[patient] for patient in self._units):
            raise _Odd
        if self._total is not None and self._total > len(self.seen) and not self._puller.settings.totals_are_estimates:
            raise _Odd

    def complete(self) -> None:
        """The answer is whole: its last page is stored together with the rows that say so."""
        told = self._total is not None and self._total == len(self.seen)
        mark, full = watermark(self._started), now()
        with self._puller.writing() as db:
            self._file()
            for patient in self._units:
                if self._puller.has_aside(patient, self._query.name):
                    clear_set_aside(db, self._puller.name, self._query.name, patient, self._puller.run)
            put_units(db, [self._complete_row(patient, mark, full, told=told) for patient in self._units])
            self._note_how_many()

    def stop(self, reason: str, message: str, not_before: str | None = None) -> None:
        """The run cannot go on here: all the group's units stay open."""
        rows = [self._row(patient) for patient in self._units]
        with self._puller.writing() as db:
            put_units(db, [replace(row, reason=reason, message=message, not_before=not_before) for row in rows])

    def _note_how_many(self) -> None:
        key = (self._query.name, self.in_full)
        patients, resources = self._puller.answered.get(key, (0, 0))
        self._puller.answered[key] = (patients + len(self._units), resources + len(self.seen))

    def _check_page(self, page: Page) -> None:
        odd = any(count for name, count in page.notes.items() if name not in _HARMLESS) or page.next_failure
        if page.rejected or odd:
            raise _Odd
        if not {resource.type for resource in page.resources} <= {self._query.type}:
            raise _Odd
        if not {resource.subject for resource in page.resources} <= self._units.keys():
            raise _Odd
        if not all(all(map(fits, page.resources)) for _, fits in self._query.filters):
            raise _Odd

    def _count(self, resources: Sequence[Resource]) -> None:
        patients = [resource.subject or "" for resource in resources]
        references = [resource.reference for resource in resources]
        self._received.update(patients)
        if len(set(references)) == len(references) and self.seen.isdisjoint(references):
            self.seen.update(references)
            self.whose.update(patients)
        else:
            self._count_again(patients, references)
        for resource in resources:
            if resource.last_updated is None:
                self._notes[resource.subject or ""]["no_last_updated"] += 1

    def _count_again(self, patients: Sequence[str], references: Sequence[str]) -> None:
        """Where something has come before."""
        for patient, reference in zip(patients, references, strict=True):
            if reference in self.seen:
                self._notes[patient]["duplicate"] += 1
            else:
                self.seen.add(reference)
                self.whose[patient] += 1

    def _kept(self, resources: Sequence[Resource]) -> list[Resource]:
        """Without our own outcomes, and without what no table knows; both are counted."""
        is_own, wanted = self._puller.mapper.is_own, self._query.wanted
        own = self._query.type == "Observation"
        kept = []
        for resource in resources:
            if own and is_own(resource.body):
                self._notes[resource.subject or ""]["own_outcome"] += 1
            elif not self._query.filters and not wanted(resource):
                self._notes[resource.subject or ""]["not_mapped"] += 1
            else:
                kept.append(resource)
        return kept

    def _store(self, patients: Iterable[str]) -> None:
        with self._puller.writing() as db:
            self._file()
            put_units(db, [self._row(patient) for patient in patients])

    def _file(self) -> None:
        note_read(self._puller.db, self._puller.run, self._puller.name, self._only_read)
        filed = put_resources(self._puller.db, self._puller.name, self._waiting, self._puller.run)
        patients = [resource.subject or "" for resource in self._waiting]
        for (patient, what), times in Counter(zip(patients, filed, strict=True)).items():
            self._notes[patient][what] += times
        self._waiting = []

    def _complete_row(self, patient: str, mark: str, full: str, *, told: bool) -> Unit:
        return self._row(
            patient,
            state="complete",
            reason=None,
            message=self._message,
            expected=self.whose[patient] if told else None,
            watermark=mark,
            read_in_full=full if self.in_full else self._units[patient].read_in_full,
        )

    def _row(self, patient: str, **ended: object) -> Unit:
        notes = {**self._notes[patient], **self.notes, "asked_together": len(self._units)}
        notes.pop("waited_milliseconds", None)
        retries = notes.pop("retries", 0)
        return replace(
            self._units[patient],
            received=self._received[patient],
            unique=self.whose[patient],
            pages=self._pages,
            retries=retries,
            notes={name: count for name, count in sorted(notes.items()) if count},
            **ended,
        )


def _is_for_length(error: RequestFailed) -> bool:
    return error.status in (*NOT_THIS_WAY, *_TOO_MUCH) or error.reason in _TOO_SLOW


def _is_proven(
    puller: Puller, query: Query, patients: Sequence[str], more: Parameters, whose: Mapping[str, int]
) -> bool:
    """Whether the server takes a list of patients for what it is, and not for its first names, or for no name at all.

    Records of somebody on the list, and of another one before: proof that it was heeded so far, and remembered. Who comes after
    is asked for again, by a list that is short enough to be believed: if there is something, the list was not heeded, and that
    is remembered too. Where too many come after, the last and the first are asked for alone; if there is nothing, what the
    server does with other types must tell; where that tells nothing either, only each patient's own answer does.
    """
    type_name, length, usual = query.type, len(patients), usual_list(puller)
    if length <= max(1, longest_list(puller, type_name)):
        return True
    if more and length <= usual:  # the next answer in full is looked at more closely
        return True
    # nobody has any, as in the group looked at before
    if type_name in puller.probed and length <= usual and not any(whose.values()):
        return True
    shown = _shown(patients, whose)
    heeds(puller, type_name, shown)
    if shown == length:
        return True
    believed = max(1, longest_list(puller, type_name), usual)
    is_all_the_rest = shown > 0 and length - shown <= believed
    rest = patients[shown:] if is_all_the_rest else patients[-1:]
    for some in (rest, patients[:1]):
        if not any(whose.get(patient) for patient in some) and _has_any(puller, query, some, more):
            heeds_not(puller, type_name, length)
            return False
        if is_all_the_rest:
            return True
    puller.probed.add(type_name)
    return length <= usual


def _shown(patients: Sequence[str], whose: Mapping[str, int]) -> int:
    """How many of the list the answer shows to have been heeded: up to the last of whom there is something."""
    having = [number for number, patient in enumerate(patients, start=1) if whose.get(patient)]
    return having[-1] if len(having) > 1 else 0


def _has_any(puller: Puller, query: Query, patients: Sequence[str], more: Parameters) -> bool:
    search = query.search(puller, patients, more)._replace(page_size=1)
    search = search if len(patients) > 1 else search._replace(by_post=False)
    return any(page.resources for page in opened(puller, query.type, search, Counter()))
