"""What mends a unit that is not complete: what somebody must see to first, and the command to type then."""

import re
import shlex
from typing import NamedTuple

from dm_fhir.config import Site
from dm_fhir.errors import NotConfirmed
from dm_fhir.sync.bulk.order import BULK
from dm_fhir.sync.cohort import COHORT
from dm_fhir.sync.file_cohort import PREFIXES
from dm_fhir.sync.file_records import MEDICATIONS_IN_FILES
from dm_fhir.sync.file_units import FILE
from dm_fhir.sync.files import ALL_FILES
from dm_fhir.sync.imports import FAULTY_ROWS, IMPORT, file_and_map
from dm_fhir.sync.summary import Attention

_TYPE = re.compile(r"[A-Z][A-Za-z]+")
#: With these exit codes a site was stopped by what only a person mends: its config, its login.
_ASK_THE_DOCTOR = (2, 5)
_IF_IT_STAYS = "if it stays so, show the hospital the message"
#: By reason, what may help. The braces are filled with the site's name, the resource type, and when to ask again.
_ADVICE = {
    "refused": 'ask the hospital to let this client read {type} (such as the scope "system/{type}.read")',
    "refused-on-page-6": "ask the hospital to let this client read all of {type}, not only its first pages",
    "auth": "mend the login: `{program} doctor --site {site}` says what is wrong with it",
    "auth-lost": "mend the login: `{program} doctor --site {site}` says what is wrong with it",
    "retry-after-too-long": "the server asks to be left alone until {not_before}",
    "waiting-budget": "the run has waited as long as it may; waiting_budget_seconds of [site.pull] says how long that is",
    "unreachable": "is the server up? `{program} doctor --site {site}` tries it",
    "read-timeout": "give it more time (read_timeout_seconds of [site.pull]), or ask for less at once (page_size)",
    "too-slow": "give it more time (total_timeout_seconds of [site.pull]), or ask for less at once (page_size)",
    "too-large": "ask for less at once: page_size of [site.pull]",
    "server-cap": "the server cuts long results off: result_limit of [site.pull] says where",
    "short": "if the server only estimates its totals: totals_are_estimates = true under [site.pull]",
    "page-budget": "ask for more at once: page_size of [site.pull]",
    "foreign-next": "if the address is the server's own behind a proxy, say so: rewrite of the site",
    "foreign-redirect": "if the host is the hospital's, name it: redirect_hosts of the site",
    "foreign-subject": "the server sends other patients' records: " + _IF_IT_STAYS,
    "file-changed": "it was changed while it was read: read it again when nobody is writing it",
    "file-not-readable": "see that it is there, may be read, and is packed as gzip, zstd, tar or a usual zip",
    "file-encrypted": "unpack it with its password, and name what was in it",
    "file-cut-off": "get the file again: it is cut off",
    "file-damaged": "get the file again: it is damaged",
    "export-running": "nothing is wrong: the server is preparing the export, and is asked again from {not_before} on",
    "export-too-long": "ask the hospital what keeps its export; longest_days of [site.bulk] says how long that may take",
    "export-errors": "show the hospital what the server says it could not export",
    "not-delivered": 'ask the hospital to export {type} (and to allow this client the scope "system/{type}.read")'
    "; or leave it out of [site.bulk] types: then it is searched for",
    "wrong-type": "show the hospital: a file of its export holds other types than its manifest says",
    "unusable-entries": "show the hospital: the manifest of its export names files that are nowhere",
    "file-too-large": "cut the file up, or get it as NDJSON: one document of 256 MiB at most is read",
    FAULTY_ROWS: "mend the rows that `{program} quarantine --site {site}` lists, or acknowledge them there",
    "search-expired": "the server forgets a search before it is read: ask for more at once (page_size of [site.pull])",
}
_SMART = "; the hospital must know the key that `{program} keys show --jwks --site {site}` prints"
_OPTIONAL = (
    "Condition",
    "Medication",
    "MedicationRequest",
    "MedicationStatement",
    "AdverseEvent",
    "QuestionnaireResponse",
)
_WHOLE = ("AdverseEvent",)
_UNSUPPORTED = "if the hospital has none of these, or they are not needed: optional_types = [{types}] under [site.pull]"
_UNSUPPORTED_BY_PATIENT = "; if only the search by patient is missing: whole_types = [{types}]"
_UNSUPPORTED_CATEGORY = "name the categories that the hospital has: categories = […] under [site.pull]"
_NEEDED = "no case can be made without these: ask the hospital to open the search (`dm-fhir doctor -o letter.md` writes the letter)"
_UNSUPPORTED_COHORT = 'the server cannot search the cohort this way: choose another, [site.cohort] by = "condition", "group" or "patients"'

_NO_EXPORT_REASONS = ("http-4", "http-501", "refused")
_NO_EXPORT = (
    "ask the hospital whether this client may export, with which scope (system/*.read is usual), at which level (level of "
    "[site.bulk]) and of which Group; "
    'without an export: mode = "search" under [site.pull]'
)


class Mend(NamedTuple):
    """`advice` is what somebody must see to, None where nobody need; `command` is what to type then, complete."""

    advice: str | None
    command: str


def mend(one: Attention, site: Site, program: str = "dm-fhir") -> Mend:
    """What mends this unit by itself. `program` is how the command line begins, with its config."""
    return Mend(_advice(one, site, program), _command(one, site, program))


def mend_all(some: list[Attention], site: Site, program: str = "dm-fhir") -> Mend:
    """What mends all of these units, which have the same state, query and reason."""
    first = mend(some[0], site, program)
    patients = {one.patient for one in some}
    return first if len(patients) == 1 else first._replace(command=f"{program} pull --site {site.name} --retry-failed")


def mended_with(exit_code: int, reason: str | None, site: str, program: str = "dm-fhir") -> str | None:
    """What to type where a site was stopped, by why; None where nobody need do anything yet."""
    if reason == NotConfirmed.reason:
        return f"{program} push --dry-run --site {site}"
    return f"{program} doctor --site {site}" if exit_code in _ASK_THE_DOCTOR else None


def _command(one: Attention, site: Site, program: str) -> str:
    pull = f"{program} pull --site {site.name}"
    file = _file(one.query)
    if file is not None:
        return f"{pull} --from {shlex.quote(file)}"
    if one.query in (ALL_FILES, MEDICATIONS_IN_FILES):
        return f"{pull} --from PATH"
    if one.query.startswith(IMPORT):
        file, column_map = map(shlex.quote, file_and_map(one.query))
        return f"{program} import {file} --site {site.name} --map {column_map}"
    # What is nobody's single record (the cohort, the plan, a whole type) is what every pull asks.
    return f"{pull} --patient {shlex.quote(one.patient)}" if one.patient else pull


def _file(query: str) -> str | None:
    """The file of a unit that is one's, by itself or in the search for the cohort."""
    heads = (FILE, *(f"{prefix}{FILE}" for prefix in PREFIXES))
    return next((query.removeprefix(head) for head in heads if query.startswith(head)), None)


def _advice(one: Attention, site: Site, program: str) -> str | None:
    found = _TYPE.search(one.query.removeprefix(COHORT))
    type_name = found[0] if found else "Patient"
    if one.query.startswith(BULK) and (one.reason or "").startswith(_NO_EXPORT_REASONS):
        return _NO_EXPORT
    if one.state == "unsupported":
        return _advice_on_unsupported(one, site, type_name)
    if one.query in (ALL_FILES, MEDICATIONS_IN_FILES):
        return "read all files again that the last pull was given: those that are complete are not read twice"
    if one.reason == "interrupted":
        return None
    text = _ADVICE.get("refused" if one.state == "refused" else _kind(one.reason or ""), _IF_IT_STAYS)
    if one.reason in ("auth", "auth-lost") and site.auth.method == "smart-backend":
        text += _SMART
    return text.format(type=type_name, site=site.name, program=program, not_before=one.not_before or "later")


def _kind(reason: str) -> str:
    """`refused-on-page-6` stands for every page."""
    return "refused-on-page-6" if reason.startswith("refused-on-page-") else reason


def _advice_on_unsupported(one: Attention, site: Site, type_name: str) -> str:
    if one.query.startswith(COHORT) and type_name != "Medication":
        return _UNSUPPORTED_COHORT
    if "&category=" in one.query:
        return _UNSUPPORTED_CATEGORY
    if type_name not in _OPTIONAL:
        return _NEEDED
    advice = _UNSUPPORTED.format(types=_listed(site.pull.optional_types, type_name))
    by_patient = _UNSUPPORTED_BY_PATIENT.format(types=_listed(site.pull.whole_types, type_name))
    return advice + (by_patient if type_name in _WHOLE else "")


def _listed(known: tuple[str, ...], type_name: str) -> str:
    return ", ".join(f'"{name}"' for name in dict.fromkeys([*known, type_name]))
