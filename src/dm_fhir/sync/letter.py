"""The letter to a hospital's IT: who asks, what for, what was tried, what the server answered. Nothing in it is a patient's.

It is made of our own words, of what the config says, and of statuses; of the server's words only what it says of itself
(its name, its scopes) and what its token endpoint says of our login, where no patient is spoken of.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from dm_fhir import __version__
from dm_fhir.config import Config, Site
from dm_fhir.errors import ConfigError
from dm_fhir.fhir.login import signing_key
from dm_fhir.sync.check import Check
from dm_fhir.sync.check_access import method_of
from dm_fhir.sync.doctor import Examination
from dm_fhir.sync.group_size import MOST

_COHORTS = {
    "medication": "whoever was given the study drug ({drug})",
    "condition": "whoever has a diagnosis of dermatomyositis",
    "group": "the patients in {group}",
    "patients": "patients on a list that the study keeps",
    "everybody": "everybody in the files that the hospital gives",
}
_RECORDS = {
    "mapped": "by their codes, only what the study needs: medications, scores and laboratory values, diagnoses, adverse events",
    "all": "all their medications, Observations, Conditions and adverse events",
}
_OUTCOMES = "outcomes that the study computes, as Observations with an identifier of their own"
_STATES = {"works": "works", "degrades": "a pull gets along", "fails": "missing"}


def letter(config: Config, site: Site, examination: Examination) -> str:
    """The letter as Markdown."""
    return "\n".join(_lines(config, site, examination)) + "\n"


def _lines(config: Config, site: Site, examination: Examination) -> Iterator[str]:
    yield f"# Access of the study “{_line(config.title)}” to your FHIR server"
    yield ""
    yield f"Written by dm-fhir {__version__} on {datetime.now(UTC):%Y-%m-%d at %H:%M} UTC, after trying what the study needs. This"
    yield "letter holds no patient data: no reference, identifier, name or value of anybody. Nothing was changed on the server."
    yield ""
    yield "## Who asks"
    yield ""
    yield from (f"- {name}: {value}" for name, value in _about(config, site, examination))
    yield ""
    yield "## What we ask for"
    yield ""
    yield from _asks(examination.checks)
    yield ""
    yield "## What was tried, and what the server answered"
    yield ""
    yield "| what | how | answer | for the study |"
    yield "|---|---|---|---|"
    for check in examination.checks:
        if check.answer is not None:
            how = f"`{_cell(check.request)}`" if check.request else ""
            yield f"| {_cell(check.what)} | {how} | {_cell(check.answer)} | {_STATES[check.state]} |"


def _about(config: Config, site: Site, examination: Examination) -> Iterator[tuple[str, str]]:
    yield "Study", f"{_line(config.title)}, at the site {site.name}"
    yield "Who answers for it", "(name, address, telephone: please fill in before sending)"
    yield "Endpoint", site.endpoint or "none: files only"
    if examination.server:
        yield "Server", _line(examination.server)
    yield "Login", method_of(site)
    if site.auth.client_id:
        yield "Client", f"`{site.auth.client_id}`, asking for the scope `{site.auth.scope}`"
    yield from _key(site)
    if site.headers:
        yield "Headers sent with every request", ", ".join(f"`{name}`" for name in site.headers)
    yield "Whose records", _COHORTS[site.cohort.by].format(drug=config.drug, group=site.cohort.group)
    yield "Which records", _RECORDS[site.pull.scope]
    yield "How", "; ".join(_how(site, examination))
    yield "Writing", _OUTCOMES if site.push.enabled else "nothing"


def _how(site: Site, examination: Examination) -> Iterator[str]:
    settings = {setting.name: setting.value for setting in examination.settings}
    if settings:
        most = settings["patients_per_query"] or MOST
        yield f"searches as below, naming up to {most} patients where the server takes that"
        yield f"pages of {settings['page_size']}"
    yield f"at most {site.pull.concurrency} requests at a time, fewer as soon as the server answers 429 or 503"
    if site.pull.requests_per_second:
        yield f"at most {site.pull.requests_per_second:g} requests a second"


def _key(site: Site) -> Iterator[tuple[str, str]]:
    """The key by which the hospital knows us. It must have the public half, which is no secret."""
    if site.auth.method != "smart-backend":
        return
    try:
        key = signing_key(site.auth)
    except ConfigError:
        return
    where = f", published at {site.auth.jku}" if site.auth.jku else ""
    yield "Key", f"{key.kind}, {key.algorithm}, `kid` {key.kid}{where}"


def _asks(checks: list[Check]) -> Iterator[str]:
    """What fails first; the same wish once."""
    wanted = [check for check in checks if check.ask and check.answer is not None]
    by_ask: dict[str, Check] = {}
    for check in sorted(wanted, key=lambda check: check.state != "fails"):
        by_ask.setdefault(check.ask or "", check)
    if not by_ask:
        yield "Nothing: all that was tried works."
    for number, (ask, check) in enumerate(by_ask.items(), start=1):
        yield f"{number}. Please {ask}."
        yield f"    Now: {check.what}: {_line(check.answer or '')}. As long as it is so: {check.consequence}."


def _line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _cell(text: str | None) -> str:
    return _line(text or "").replace("|", "\\|").replace("`", "'")
