"""dm-fhir.toml, checked once at the door and then frozen. Paths are relative to the file; secrets are read when used."""

import os
import tomllib
from difflib import get_close_matches
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from dm_fhir.config_rules import broken_rules
from dm_fhir.errors import ConfigError
from dm_fhir.model.case import Dates
from dm_fhir.model.definitions import ADULT_ENZYME_RANGES, SCHEDULES, Definitions, Visit
from dm_fhir.model.read_file import read_text, read_toml
from dm_fhir.secret import Secret as Secret
from dm_fhir.secret import private_file
from dm_fhir.validation import faults

DEFAULT_NAME = "dm-fhir.toml"
#: So many sites at most are named in an error.
_MOST_NAMES = 10
DEFAULT_SCOPE = "system/*.read"
Partial = Literal["patients", "nothing", "everything"]
#: What a run can end with, in the words of `[notify] on`, by exit code; `recovered` is the first 0 after another.
NOTIFIED_OF = {
    1: "failed", 2: "configuration", 3: "partial", 4: "unavailable", 5: "refused", 7: "conflict", 11: "locked",
    130: "interrupted", 0: "recovered",
}  # fmt: skip
NOTIFIED_BY_DEFAULT = tuple(word for code, word in NOTIFIED_OF.items() if code not in (11, 130))


class Auth(msgspec.Struct, frozen=True):
    """How to log in at a site."""

    method: Literal["none", "basic", "bearer", "client-secret", "smart-backend"] = "none"
    username: str | None = None
    password: Secret | None = None
    token: Secret | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    private_key: Secret | None = None
    key_id: str | None = None
    jku: str | None = None
    token_url: str | None = None
    scope: str = DEFAULT_SCOPE


class Pull(msgspec.Struct, frozen=True):
    """How to ask a site. None where the site does not say: then its vendor's row decides, else the default (fhir/vendors.py).

    `mode`: by searches, or by a bulk export. A type in `optional_types` may be unsupported there. One in `whole_types` cannot be searched by patient: all of it is
    asked for, and only what is the cohort's is kept.
    """

    mode: Literal["search", "bulk"] = "search"
    scope: Literal["mapped", "all"] = "mapped"
    concurrency: int = 5
    requests_per_second: float | None = None
    connect_timeout_seconds: float = 10
    read_timeout_seconds: float = 60
    total_timeout_seconds: float = 300
    tries: int = 5
    longest_wait_seconds: float = 300
    waiting_budget_seconds: float = 1800
    full_every_days: float = 7
    history: bool = False
    allow_plain_http: bool = False
    optional_types: tuple[str, ...] = ()
    whole_types: tuple[str, ...] = ()
    page_size: int | None = None
    patients_per_query: int | None = None
    observations_by: Literal["codes", "categories", "whole"] | None = None
    categories: tuple[str, ...] | None = None
    post_search: bool | None = None
    batch: bool | None = None
    strict: bool | None = None
    last_updated: bool | None = None
    totals_are_estimates: bool | None = None
    result_limit: int | None = None
    sort: str | None = None
    ask_for_totals: bool | None = None


class Bulk(msgspec.Struct, frozen=True):
    """What is asked of a site's bulk export. `types` None: all that the plan has; those that are left out are searched for.

    `group` is the Group of level `group`. `type_filters` and `elements` narrow it, as the server understands them. An export
    that is not ready after `longest_days` is given up. `keep_files`: what was downloaded stays.
    """

    level: Literal["group", "patient", "system"] = "patient"
    group: str | None = None
    types: tuple[str, ...] | None = None
    type_filters: tuple[str, ...] = ()
    elements: tuple[str, ...] = ()
    longest_days: float = 30
    keep_files: bool = False


class Push(msgspec.Struct, frozen=True):
    """What may be written to a site, and how. `imported`: the scores of imported tables too. `unattended`: the first push need
    not be confirmed by a person. `outcomes` are patterns of the variables that are written (`cdasi_*`).

    None where the site does not say: then its vendor's row decides, else what is found out. `way` is how a resource is written
    once, `bundle_size` how many at most go in one Bundle.
    """

    enabled: bool = False
    imported: bool = False
    unattended: bool = False
    outcomes: tuple[str, ...] = ("*",)
    way: Literal["transaction", "conditional-update", "conditional-create", "search"] | None = None
    bundle_size: int | None = None


class Sync(msgspec.Struct, frozen=True):
    """What is computed and written of a site that is not completely read.

    `patients`: only of those whose own records are complete. `nothing`: nothing. `everything`: all of it, as if it were.
    """

    partial: Partial = "patients"


class Cohort(msgspec.Struct, frozen=True):
    """Whose records are pulled: who was given the study drug, has the disease, is in a Group or on a list; or everybody's.

    `patients` is a file: ids, `Patient/id` or `system|value` identifiers, one a line.
    """

    by: Literal["medication", "condition", "group", "patients", "everybody"] = "medication"
    group: str | None = None
    patients: Path | None = None


class Tls(msgspec.Struct, frozen=True):
    """How the way to the endpoint is secured. None: the system's certificates, no client certificate, no proxy."""

    ca_bundle: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    proxy: str | None = None


class Site(msgspec.Struct, frozen=True):
    """One hospital. `endpoint` is None where its records only come as files.

    `column_map` says how its imported tables are read, None: each import says it.
    """

    name: str
    endpoint: str | None
    timezone: str
    tables: tuple[Path, ...]
    headers: dict[str, str]
    auth: Auth
    pull: Pull
    push: Push = Push()
    sync: Sync = Sync()
    cohort: Cohort = Cohort()
    vendor: str | None = None
    rewrite: dict[str, str] = {}
    redirect_hosts: tuple[str, ...] = ()
    tls: Tls = Tls()
    column_map: Path | None = None
    bulk: Bulk = Bulk()

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which this site's days begin and end."""
        return ZoneInfo(self.timezone)


class Metrics(msgspec.Struct, frozen=True):
    """The file of metrics that each run leaves, and who may read it."""

    file: Path
    readable_by: Literal["owner", "group", "all"] = "all"


class Notify(msgspec.Struct, frozen=True):
    """Who is told how runs end. `command` is a program and its arguments, () where there is none; `webhook` is an address, or
    where one is kept. `on` are the words of NOTIFIED_OF of which they are told, the same one again only after `repeat_hours`.
    """

    command: tuple[str, ...] = ()
    webhook: str | Secret | None = None
    webhook_token: Secret | None = None
    tls: Tls = Tls()
    on: tuple[str, ...] = NOTIFIED_BY_DEFAULT
    repeat_hours: float = 24


class Config(msgspec.Struct, frozen=True):
    """A whole study. Without a `pseudonym_key` nothing is exported under pseudonyms.

    `dates` is how exported documents have their dates. `person_identifier` is the system of the identifiers by which a
    person is the same at every site, None where there is none.

    A run works at `sites_at_a_time` sites side by side, which have `most_requests` under way together.

    The report does not show counts from 1 to `suppress_below` - 1; 0: it shows all. `store_shared`: the store may lie where
    others can read or replace it.
    """

    path: Path
    title: str
    drug: str
    store_path: Path
    pseudonym_key: Secret | None
    sites: tuple[Site, ...]
    definitions: Definitions = msgspec.field(default_factory=Definitions)
    suppress_below: int = 0
    dates: Dates = "kept"
    person_identifier: str | None = None
    metrics: Metrics | None = None
    notify: Notify | None = None
    store_shared: bool = False
    sites_at_a_time: int = 8
    most_requests: int = 32

    def site(self, name: str) -> Site:
        """The site called `name`. Raises ConfigError naming the known ones."""
        for site in self.sites:
            if site.name == name:
                return site
        raise ConfigError(f"no site is called '{name}'", hint=self._names_like(name))

    def sites_called(self, pattern: str) -> list[Site]:
        """The site of this name, or those whose names match it (`north-*`), as they stand here. Raises ConfigError for none."""
        if not set(pattern) & set("*?["):
            return [self.site(pattern)]
        found = [site for site in self.sites if fnmatchcase(site.name, pattern)]
        if not found:
            raise ConfigError(f"no site's name matches '{pattern}'", hint=self._names_like(pattern))
        return found

    def _names_like(self, name: str) -> str:
        """The sites that there are; of many those that may be meant."""
        names = [site.name for site in self.sites]
        if len(names) <= _MOST_NAMES:
            return f"known: {', '.join(names)}"
        near = get_close_matches(name, names, _MOST_NAMES, 0.5)
        shown = f"near it: {', '.join(near)}" if near else f"known: {', '.join(names[:_MOST_NAMES])}"
        return f"{shown}; all {len(names)}: dm-fhir status --all"


def load_config(path: Path) -> Config:
    """The study in `path`. Raises ConfigError listing every fault at once."""
    document = _read_toml(path)
    found = [*faults(document, "site-config"), *broken_rules(document)]
    if found:
        raise ConfigError(f"{path} has {len(found)} fault{'s' * (len(found) > 1)}:", faults=found)
    return _build(document, path)


def _read_toml(path: Path) -> dict[str, object]:
    try:
        return read_toml(read_text(path))
    except FileNotFoundError:
        raise ConfigError(f"there is no config at {path}", hint="write one with: dm-fhir init") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def _build(document: dict[str, Any], path: Path) -> Config:
    study, folder = document["study"], path.resolve().parent
    key = study.get("pseudonym_key")
    return Config(
        path=path,
        title=study["title"],
        drug=study["drug"],
        store_path=folder
        / (os.environ.get("DM_FHIR_STORE") or document.get("store", {}).get("path", "dm-fhir.sqlite")),
        pseudonym_key=Secret(key, folder) if key else None,
        sites=tuple(_site(site, study.get("timezone", "UTC"), folder) for site in document["site"]),
        definitions=_definitions(study),
        suppress_below=document.get("report", {}).get("suppress_below", 0),
        dates=study.get("dates", "kept"),
        person_identifier=study.get("person_identifier"),
        metrics=_metrics(document.get("metrics"), folder),
        notify=_notify(document.get("notify"), folder),
        store_shared=document.get("store", {}).get("shared", False),
        **document.get("sync", {}),
    )


def _metrics(metrics: dict[str, Any] | None, folder: Path) -> Metrics | None:
    return Metrics(folder / metrics["file"], metrics.get("readable_by", "all")) if metrics else None


def _notify(notify: dict[str, Any] | None, folder: Path) -> Notify | None:
    if notify is None:
        return None
    webhook, token = notify.get("webhook"), notify.get("webhook_token")
    return Notify(
        command=tuple(notify.get("command", ())),
        webhook=Secret(webhook, folder) if webhook and webhook.startswith(("env:", "file:")) else webhook,
        webhook_token=Secret(token, folder) if token else None,
        tls=Tls(ca_bundle=_path(notify.get("ca_bundle"), folder), proxy=notify.get("proxy")),
        on=tuple(notify.get("on", NOTIFIED_BY_DEFAULT)),
        repeat_hours=notify.get("repeat_hours", 24),
    )


def _definitions(study: dict[str, Any]) -> Definitions:
    """The defaults, with what the study says instead; of the ranges of enzymes each by itself."""
    own = {name: _exact(value) for name, value in study.get("definitions", {}).items()}
    ranges = {**ADULT_ENZYME_RANGES, **own.pop("enzyme_range_in_uln", {})}
    visits = (
        tuple(msgspec.convert(one, Visit) for one in study.get("visit", ()))
        or SCHEDULES[study.get("schedule", "weeks")]
    )
    return Definitions(visits=visits, enzyme_range_in_uln=ranges, **own)


def _exact(value: Any) -> Any:
    """Numbers as exact ones: whole, or text such as "2.5" or "20/3"."""
    if isinstance(value, dict):
        return {name: Fraction(number) for name, number in value.items()}
    is_number = (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, str) and value[:1].isdigit()
    )
    return Fraction(value) if is_number else value


def _site(site: dict[str, Any], timezone: str, folder: Path) -> Site:
    endpoint = site.get("endpoint")
    return Site(
        name=site["name"],
        endpoint=endpoint.rstrip("/") if endpoint else None,
        timezone=site.get("timezone", timezone),
        tables=tuple(folder / table for table in site.get("tables", [])),
        headers=site.get("headers", {}),
        auth=_auth(site.get("auth", {}), folder),
        pull=msgspec.convert(site.get("pull", {}), Pull),
        push=msgspec.convert(site.get("push", {}), Push),
        sync=msgspec.convert(site.get("sync", {}), Sync),
        cohort=_cohort(site.get("cohort", {}), folder),
        vendor=site.get("vendor"),
        rewrite=site.get("rewrite", {}),
        redirect_hosts=tuple(site.get("redirect_hosts", ())),
        tls=Tls(
            ca_bundle=_path(site.get("ca_bundle"), folder),
            client_cert=_private(site.get("client_cert"), folder),
            client_key=_private(site.get("client_key"), folder),
            proxy=site.get("proxy"),
        ),
        column_map=_path(site.get("import", {}).get("map"), folder),
        bulk=_bulk(site.get("bulk", {}), site.get("cohort", {})),
    )


def _bulk(bulk: dict[str, Any], cohort: dict[str, Any]) -> Bulk:
    """A cohort that is a Group is exported as that Group, unless the site says otherwise."""
    group = bulk.get("group") or cohort.get("group")
    level = bulk.get("level") or ("group" if group else "patient")
    return msgspec.convert({**bulk, "level": level, "group": group if level == "group" else None}, Bulk)


def _cohort(cohort: dict[str, Any], folder: Path) -> Cohort:
    return Cohort(cohort.get("by", "medication"), cohort.get("group"), _private(cohort.get("patients"), folder))


def _path(name: str | None, folder: Path) -> Path | None:
    return folder / name if name else None


def _private(name: str | None, folder: Path) -> Path | None:
    """A file that has a key in it, or patients."""
    return private_file(folder / name, folder) if name else None


def _auth(auth: dict[str, str], folder: Path) -> Auth:
    secrets = ("password", "token", "client_secret", "private_key")
    given: dict[str, Any] = {key: Secret(value, folder) if key in secrets else value for key, value in auth.items()}
    return Auth(**given)
