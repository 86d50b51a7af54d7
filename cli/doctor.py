"""dm-fhir doctor: what works at each site, what degrades, what to ask the hospital for."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from dm_fhir.cli.private_file import write_private
from dm_fhir.cli.reporter import FEW, document, number_of
from dm_fhir.cli.study import chosen, json_option, site_option
from dm_fhir.cli.voice import Voice
from dm_fhir.config import Config, Site, load_config
from dm_fhir.errors import ConfigError, DmFhirError, unexpected, worst_exit_code
from dm_fhir.fhir.budget import Budget
from dm_fhir.mappings.site import SiteMapper, site_mapper
from dm_fhir.store.looking import look
from dm_fhir.sync.side_by_side import side_by_side

if TYPE_CHECKING:
    from dm_fhir.sync.check import Check
    from dm_fhir.sync.doctor import Examination

_LEFT_OPEN = 3
_NEXT = {
    0: "complete",
    2: "mend the configuration",
    _LEFT_OPEN: "a pull or a push would leave open what fails above",
    4: "server unavailable: try again later",
    5: "login refused",
}


@click.command("doctor")
@site_option
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Also write a letter to the hospital's IT, free of patient data (Markdown); for one site.",
)  # fmt: skip
@json_option
@click.pass_context
def command(ctx: click.Context, sites: tuple[str, ...], output: Path | None, as_json: bool) -> int:
    """Try everything that a pull of each site needs, and say what works, what degrades, and what to ask the hospital for.

    Endpoint, certificate, clocks, login, scopes, the cohort's search, each planned search with _count=1, and a sample of
    records. Changes nothing, neither in the store nor on the server. Sites are tried side by side, as many at a time as a sync
    works at; of more than ten only what does not work is shown.

    \b
    Examples:
      dm-fhir doctor
      dm-fhir doctor --site leon --output letter-to-leon.md
      dm-fhir doctor --json
    """
    config = load_config(ctx.obj[0])
    asked = chosen(config, sites)
    if output and len(asked) > 1:
        hint = f"name it with --site: {', '.join(site.name for site in asked)}"
        raise ConfigError("a letter is for one hospital", hint=hint)
    found, code = examined(config, asked, ctx.obj[1])
    if output:
        _write_letter(output, config, asked[0], found[0])
    if as_json:
        click.echo(document("doctor", found, code, letter=str(output) if output else None))
    else:
        click.echo("\n".join([*_of_sites(found), *_written(output), _closing(found, code)]))
    return code


def examined(config: Config, sites: Sequence[Site], voice: Voice) -> tuple[list["Examination"], int]:
    """What was tried at each site and what came of it, in the order of `sites`; the exit code of the worst.

    They are tried side by side, within the budget of a run. Whoever asked for more hears of each check.
    """
    budget = Budget(config.most_requests)
    found: dict[str, Examination] = {}
    voice.of_many = len(sites) > FEW

    def one(site: Site) -> None:
        found[site.name] = _examined(config, site, voice, budget)

    def look(ended: int) -> None:
        would_stop = sum(done.exit_code not in (0, _LEFT_OPEN) for done in list(found.values()))
        voice.sites_progress("doctor", ended, would_stop, len(sites))

    side_by_side(sites, one, config.sites_at_a_time, budget.heard, look)
    return [found[site.name] for site in sites], worst_exit_code(done.exit_code for done in found.values())


def _examined(config: Config, site: Site, voice: Voice, budget: Budget) -> "Examination":
    """What came of one site; a fault of its own, or of this program, is a check of it and holds up no other site."""
    from dm_fhir.mappings.validity import faults_of
    from dm_fhir.sync.doctor import Examination, examine, misconfigured, mistaken

    def tell(check: "Check") -> None:
        voice.detail(f"{check.what} {check.state}", site=site.name)

    try:
        mapper = site_mapper(config, site)
        known = look(config.store_path, site.name, most_members=2)
        examination = examine(site, config.drug, mapper, known, faults_of, tell, budget)
    except ConfigError as error:
        return Examination(site.name, [misconfigured(error)])
    except DmFhirError:
        raise
    except Exception as error:  # noqa: BLE001  # an odd answer of one server must not cost the others their check
        internal = unexpected(error)
        for frame in internal.frames:
            voice.detail(frame, "internal_error", site.name)
        return Examination(site.name, [mistaken(internal)])
    examination.checks[:0] = [_config_check(config, mapper), _files_check(config), *_shared_endpoint(config, site)]
    return examination


def _config_check(config: Config, mapper: SiteMapper) -> "Check":
    from dm_fhir.sync.check import Check

    drug, disease = len(mapper.drug_codes()), len(mapper.disease_codes())
    left = len(mapper.tables.remarks)
    shown = f"; {left} lines of its ConceptMap not taken: dm-fhir map show --site {mapper.site}" if left else ""
    said = f"read; the tables know {config.drug} by {drug} codes and the disease by {disease}{shown}"
    return Check("config and tables", "works", said)


def _files_check(config: Config) -> "Check":
    """Whether others can read or replace the store, read the key of pseudonyms, or write the config."""
    from dm_fhir.store.place import check_private, mode_of
    from dm_fhir.sync.check import Check

    what, key = "files of the study", config.pseudonym_key.file if config.pseudonym_key else None
    if not config.store_shared:
        try:
            check_private(config.store_path)
        except ConfigError as error:
            consequence = f"every command ends with exit code {error.exit_code}"
            return Check(what, "fails", error.message, consequence, mend=error.hint, exit_code=error.exit_code)
    if key is not None and mode_of(key) & 0o077:
        consequence = "whoever can read it can tell who is behind a pseudonym"
        return Check(what, "degrades", f"{key} can be read by others", consequence, mend=f"chmod 600 {key}")
    if mode_of(config.path) & 0o022:
        consequence = "whoever can write it can have the login sent to another server"
        return Check(
            what, "degrades", f"{config.path} can be written by others", consequence, mend=f"chmod go-w {config.path}"
        )
    shared = "the store may lie where others can read it: [store] shared = true" if config.store_shared else ""
    return Check(what, "works", shared or "nothing of them is open to others")


def _shared_endpoint(config: Config, site: Site) -> "Iterator[Check]":
    """A check that degrades where other sites of the study have the same endpoint."""
    from dm_fhir.sync.check import Check

    place = _place(site)
    others = [one.name for one in config.sites if one.name != site.name and place and _place(one) == place]
    if others:
        yield Check(
            "endpoint of its own", "degrades", f"{site.name} has the same endpoint as {', '.join(others)}",
            "each takes the outcomes that the other wrote for its own, and who is in both cohorts is counted twice",
            mend="make one site of them, or ask the hospital for an endpoint for each",
        )  # fmt: skip


def _place(site: Site) -> tuple[str, str | None, int | None, str] | None:
    """Where its endpoint is, however it is spelt; None where there is none."""
    if site.endpoint is None:
        return None
    url = urlsplit(site.endpoint)
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme), url.path.rstrip("/")


def _write_letter(path: Path, config: Config, site: Site, examination: "Examination") -> None:
    from dm_fhir.sync.letter import letter

    write_private(str(path), letter(config, site, examination).encode())


def _written(output: Path | None) -> list[str]:
    return [f"a letter to the hospital, without patient data: {output}"] if output else []


def _of_sites(found: "Sequence[Examination]") -> Iterator[str]:
    """Each site; of many only what does not work, and at how many others everything does."""
    if len(found) <= FEW:
        for one in found:
            yield from _lines(one)
        return
    to_see_to = [one for one in found if any(check.state != "works" for check in one.checks)]
    for one in to_see_to:
        works = sum(check.state == "works" for check in one.checks)
        yield f"{one.site}: {works} of {number_of(len(one.checks), 'check')} work"
        yield from _check_lines(check for check in one.checks if check.state != "works")
    well = len(found) - len(to_see_to)
    if well:
        yield f"at {number_of(well, 'site')} everything works; each check of one: dm-fhir doctor --site NAME"


def _lines(one: "Examination") -> Iterator[str]:
    """A site: each check, then what is known."""
    yield f"{one.site}: {one.server}" if one.server else f"{one.site}:"
    yield from _check_lines(one.checks)
    told = [f"{s.name} {_plain(s.value)} ({s.by})" for s in one.settings if s.by != "default"]
    if one.settings:
        yield f"  settings: {', '.join(told) or 'all as usual'}{'; all others as usual' if told else ''}"
    if one.vendor:
        yield from (f"  {one.vendor.name} servers: {remark}" for remark in one.vendor.remarks)
    if one.facts:
        yield f"  known from earlier pulls: {', '.join(f'{f.name}: {f.value} ({f.learned[:10]})' for f in one.facts)}"
    if one.found_now:
        yield f"  found out now, and not kept: {', '.join(f'{name}: {value}' for name, value in one.found_now.items())}"


def _check_lines(checks: "Iterable[Check]") -> Iterator[str]:
    """Each check, and under what is not as it should be what follows and what mends it."""
    for check in checks:
        yield f"  {check.state:<8}  {check.what}: {check.said}"
        if check.state != "works":
            yield from _remedies(check)


def _remedies(check: "Check") -> Iterator[str]:
    for head, text in (("so", check.consequence), ("ask the hospital", check.ask), ("here", check.mend)):
        if text:
            yield f"            {head}: {text}"


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _closing(found: Sequence["Examination"], code: int) -> str:
    states = Counter[str](check.state for one in found for check in one.checks)
    verbs = {"works": "work", "degrades": "degrade", "fails": "fail"}
    counted = ", ".join(f"{states[state]} {verb}" for state, verb in verbs.items())
    return f"doctor: {counted}; exit {code} ({_NEXT.get(code, 'failed')})"
