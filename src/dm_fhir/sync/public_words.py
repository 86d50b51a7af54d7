"""What may be said of a store to people who may not see patients: words from closed lists. Whatever is in none is `other`.

The columns of the ledger hold what the program wrote into them, but parts of that come from a server, a file's name or a
config: a category, a Group's id, a path. A log, a metric and a support bundle say only what is listed here.
"""

import re
from collections.abc import Collection

from dm_fhir.fhir.packed import DAMAGE
from dm_fhir.fhir.vendors import CATEGORIES
from dm_fhir.sync.bulk.order import BULK, DELETED, ERROR
from dm_fhir.sync.file_cohort import PREFIXES
from dm_fhir.sync.file_records import MEDICATIONS_IN_FILES
from dm_fhir.sync.file_units import FILE
from dm_fhir.sync.files import ALL_FILES
from dm_fhir.sync.imports import IMPORT
from dm_fhir.sync.pull import PLAN
from dm_fhir.sync.query import DATE_PARAMETERS

OTHER = "other"
#: The resource types that the program asks for, or writes.
TYPES = frozenset((*DATE_PARAMETERS, "Patient", "Medication", "Group", "Provenance"))
#: What becomes of a patient.
PATIENT_STATES = frozenset((
    "case", "left the cohort", "merged into another", "no records any more", "no administration of the study drug",
))  # fmt: skip
#: Why a unit is not complete, or something was set aside. `http-500` and `refused-on-page-6` stand for every number.
REASONS = frozenset((
    *DAMAGE,
    "ambiguous-json", "auth", "auth-lost", "bad-next", "body-corrupt", "body-incomplete", "empty-group", "export-failed", "export-gone",
    "export-running", "faulty-row",
    "file-expired", "filter-ignored", "foreign-address", "foreign-next", "foreign-redirect",
    "foreign-subject", "http", "interrupted", "invalid-utf-8", "no-id", "no-job-address", "no-new-ids", "no-resource", "no-type", "not-asynchronous", "not-confirmed", "not-fhir",
    "not-found", "not-json", "not-json-number", "not-listed", "outcome-error", "outcome-fatal", "page-budget",
    "paging-loop", "read-timeout", "refused", "refused-on-page", "retry-after-too-long", "search-expired", "server-cap",
    "short", "tls", "token-endpoint", "too-deep", "too-large", "too-slow", "unreachable", "unreadable", "waiting-budget",
    "changes-only", "export-errors", "export-too-long", "not-delivered", "unusable-entries", "wrong-type",
))  # fmt: skip
#: What was noted while reading. `filter_ignored:code` and the like are said without what follows the colon.
NOTES = frozenset((
    *DAMAGE, "not_in_cohort",
    "auth_flake", "authorised_view_only", "bom", "count_checked", "date_windows", "deleted", "duplicate", "empty_pages", "export_without",
    "failed_windows", "filter_ignored", "foreign_subject", "gone", "half_count_tried",
    "history_cut_short", "login_after_all", "media_type", "missing_from_search", "missing_not_readable", "next_rewritten", "no_last_updated",
    "not_mapped", "odd_id", "offset_tried", "other_type", "own_outcome", "plain_http_links", "repeated_query", "restarts",
    "self_link_lacks", "self_link_wrong", "server_message", "set_aside", "subject_assumed", "superseded", "text_repaired",
    "throttled", "Condition", "Group", "Medication", "MedicationAdministration", "Patient", "token_renewed", "token_retry", "total_high", "total_low", "waited_seconds",
))  # fmt: skip
#: What was found out about a server: the first word of a fact's name, and what may follow it besides a type or a category.
FACTS = frozenset((
    "batch", "categories", "category", "codes", "counts", "last_updated", "lists", "observations_by", "page_size",
    "patients_per_query", "post", "post_search", "strict", "write",
))  # fmt: skip
_WAYS = frozenset(("transaction", "conditional-update", "conditional-create", "search"))
_WRITES = _WAYS | {"bundle_size", "index", "provenance", "create"}
_FACT_VALUES = _WAYS | {"yes", "no", "codes", "categories", "whole", "works", "refused", "immediate", "later"}
_FACT_REASONS = ("it does not look at the condition", "it drops the identifier")
_PARAMETERS = frozenset(("patient", "subject", "code", "combo-code", "medication", "identifier", "_id"))
_COHORT = "cohort: "
_QUERY = re.compile(
    r"(?P<cohort>cohort: )?(?P<type>[A-Za-z]+)"
    r"(?:(?:\?| by )(?P<parameter>[a-z_-]+)(?:&category=(?P<category>\S+))?|(?P<whole>, whole|/_history))?"
)


def said(word: str | None, known: Collection[str]) -> str | None:
    """The word, if it is one of `known`; `other` for any other, None for None."""
    return word if word is None or word in known else OTHER


def reason_said(reason: str | None) -> str | None:
    """Why a unit is not complete, or something was set aside, as it may be said; None for None."""
    head, _, number = (reason or "").rpartition("-")
    if head in ("http", "refused-on-page") and number.isascii() and number.isdigit() and len(number) <= 5:
        return reason
    return said(reason, REASONS)


def note_said(note: str) -> str:
    """The name of a note, as it may be said."""
    head = note.partition(":")[0]
    return head if head in NOTES else OTHER


def query_said(query: str) -> str:
    """The name of a query, as it may be said: without file names, and without what a hospital calls its own things."""
    if query.startswith((FILE, IMPORT)):
        return query.partition(":")[0]
    head, mark, about = query.rpartition(BULK)
    if mark:
        return query if head in ("", *PREFIXES) and (about in TYPES or f"{BULK}{about}" in (DELETED, ERROR)) else OTHER
    if query in (PLAN, ALL_FILES, MEDICATIONS_IN_FILES, f"{_COHORT}list of patients"):
        return query
    prefix = next((prefix for prefix in PREFIXES if query.startswith(f"{prefix}{FILE}")), None)
    if prefix is not None:
        return f"{prefix}{FILE.partition(':')[0]}"
    if query.startswith(f"{_COHORT}Group/"):
        return f"{_COHORT}Group"
    found = _QUERY.fullmatch(query)
    if found is None or found["type"] not in TYPES or (found["parameter"] or "code") not in _PARAMETERS:
        return OTHER
    if (found["category"] or CATEGORIES[0]) not in CATEGORIES:
        return query.replace(found["category"], OTHER)
    return query


def fact_said(name: str, value: str) -> tuple[str, str]:
    """The name and the value of what was found out about a server, as they may be said."""
    head, _, about = name.partition(" ")
    is_known = head in FACTS and (not about or about in TYPES or about in CATEGORIES or about in _WRITES)
    is_number = value.isascii() and value.isdigit() and len(value) <= 5
    reason = next((reason for reason in _FACT_REASONS if value.endswith(reason)), OTHER)
    return name if is_known else OTHER, value if is_number or value in _FACT_VALUES else reason
