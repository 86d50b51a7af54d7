"""The check of the scopes: what the login may do, against what a pull and a push need."""

from collections.abc import Iterator, Sequence

from dm_fhir.config import Site
from dm_fhir.errors import RequestFailed
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.scopes import CREATE, READ, SEARCH, UPDATE, Scope, extent, scopes_in, shown, written
from dm_fhir.sync.check import Check
from dm_fhir.sync.check_access import WITH_TOKEN
from dm_fhir.sync.query import FORMS, SEARCHES


def check_scopes(connection: Connection, site: Site, *, reads_forms: bool) -> Iterator[Check]:
    """What the login may do, against what a pull and a push need. Nothing where there are no scopes."""
    if site.auth.method not in WITH_TOKEN:
        return
    told = connection.login.granted_scope
    asked, granted = scopes_in(site.auth.scope), scopes_in(told if told is not None else site.auth.scope)
    request = f"scope={shown(asked) or 'none of SMART'}"
    if not granted:
        said = "the token names no scope of SMART: the searches tell what may be read"
        yield Check("scopes", "works", said, request=request, answer="accepted")
        return
    said = (
        f"granted: {shown(granted)}" if told is not None else f"{shown(granted)}, as the server does not say otherwise"
    )
    needed = _needed(site, reads_forms=reads_forms)
    lacking = [(name, letters) for name, letters in needed if extent(granted, name, letters) == "none"]
    partly = list(dict.fromkeys(name for name, letters in needed if extent(granted, name, letters) == "in part"))
    if not lacking and not partly:
        yield Check("scopes", "works", said, request=request, answer=said)
    if partly:
        yield _in_part(partly, said, request)
    if lacking:
        yield _lacking(asked, lacking, said, request)


def _in_part(types: list[str], said: str, request: str) -> Check:
    names = ", ".join(types)
    return Check(
        "scopes",
        "degrades",
        f"{said}; only in part: {names}",
        consequence=f"what else there is of {names} does not come, and nobody says so",
        ask=f"grant {names} without a restriction",
        request=request,
        answer=f"{said}; only in part: {names}",
    )


def _lacking(asked: Sequence[Scope], lacking: list[tuple[str, str]], said: str, request: str) -> Check:
    """Scopes that are needed and were not granted; those never asked for are the config's fault."""
    is_version_2 = any(scope.is_version_2 for scope in asked)
    names = [written(name, letters, is_version_2=is_version_2) for name, letters in lacking]
    never_asked = [name for name, lack in zip(names, lacking, strict=True) if extent(asked, *lack) == "none"]
    reads, writes = (any(letter in letters for _, letters in lacking) for letter in (READ, CREATE))
    consequences = ["what they would let us read is refused"] * reads + ["what push writes is refused"] * writes
    said = f"{said}; not granted: {', '.join(names)}"
    return Check(
        "scopes",
        "fails" if writes else "degrades",
        said,
        consequence=", and ".join(consequences),
        ask=f"grant this client {', '.join(names)}",
        mend=f"ask for {', '.join(never_asked)} too: scope of [site.auth]" if never_asked else None,
        request=request,
        answer=said,
        exit_code=RequestFailed.exit_code if writes else 0,
    )


def _needed(site: Site, *, reads_forms: bool) -> list[tuple[str, str]]:
    """Each type with the letters of what must be allowed."""
    searched = (*SEARCHES, FORMS) if reads_forms else SEARCHES
    types = ["Patient", *(name for name, _ in searched), "Medication"]
    needed = [(name, READ + SEARCH) for name in types if name not in site.pull.optional_types]
    if site.cohort.by == "group":
        needed.append(("Group", READ))
    if site.push.enabled:
        needed.append(("Observation", CREATE + UPDATE))
    return needed
