"""dm-fhir failed: what is not complete, and the command that mends it."""

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from dm_fhir.cli.outside import program_of
from dm_fhir.cli.reporter import (
    FEW,
    alike,
    capped,
    closing_line,
    document,
    number_of,
    queries_of,
    stop_line,
)
from dm_fhir.cli.study import json_option, opened, site_option
from dm_fhir.config import Site
from dm_fhir.errors import ConfigError, in_a_line, worst_exit_code
from dm_fhir.mappings.patient import merges
from dm_fhir.store.stops import Stop
from dm_fhir.store.unit_names import Naming, unit_names
from dm_fhir.sync.mending import mend, mend_all, mended_with
from dm_fhir.sync.summary import Attention, SiteSummary, summarise

_STEPS = ("pull",)
_MOST_OF_A_KIND = 3


@click.command("failed")
@site_option
@click.option("--unit", "name", metavar="NAME", help="Only this unit, by the name that the log calls it.")
@json_option
@click.pass_context
def command(ctx: click.Context, sites: tuple[str, ...], name: str | None, as_json: bool) -> int:
    """Every query that is not complete: why, since when, and the command that mends it. Reads the store only.

    The log of a run names no patient; what it calls a unit is its name here. Of more than ten sites only those that need
    attention are shown.

    \b
    Examples:
      dm-fhir failed
      dm-fhir failed --site leon --json
      dm-fhir failed --unit 3f9a1c02d7
    """
    program = program_of(ctx.obj[0])
    with opened(ctx, sites) as study:
        name_of = unit_names(study.db)
        found = [(site, summarise(study.db, site, merges)) for site in study.sites]
    if name is not None:
        found = _only(name, found, name_of)
    summaries = [summary for _, summary in found]
    code = worst_exit_code(summary.standing_code(_STEPS) for summary in summaries)
    if as_json:
        click.echo(document("failed", [_for_machines(site, one, program, name_of) for site, one in found], code))
        return code
    click.echo("\n".join(_of_sites(found, program)))
    click.echo(closing_line("failed", summaries, code))
    return code


def _only(name: str, found: list[tuple[Site, SiteSummary]], name_of: Naming) -> list[tuple[Site, SiteSummary]]:
    """The site that has the unit of this name, with nothing else to see to. Raises ConfigError if it needs nothing."""
    for site, summary in found:
        for one in summary.attention:
            if name_of(site.name, one.patient, one.query) == name:
                return [(site, msgspec.structs.replace(summary, attention=[one], set_aside={}, stops=[]))]
    raise ConfigError(f"no unit called '{name}' needs attention", hint="it may be complete by now: dm-fhir failed")


def _for_machines(site: Site, summary: SiteSummary, program: str, name_of: Naming) -> dict[str, Any]:
    units = [
        {"unit": name_of(site.name, one.patient, one.query)}
        | msgspec.structs.asdict(one)
        | mend(one, site, program)._asdict()
        for one in summary.attention
    ]
    stopped = [msgspec.structs.asdict(stop) | {"command": _mended_with(stop, site, program)} for stop in summary.stops]
    return {
        "site": site.name, "units": summary.units, "set_aside": len(summary.set_aside), "stopped": stopped, "failed": units,
    }  # fmt: skip


def _of_sites(found: Sequence[tuple[Site, SiteSummary]], program: str) -> list[str]:
    """Each site; of many only those with something to see to, and how many others there are."""
    to_see_to = [(site, one) for site, one in found if len(found) <= FEW or _needs_somebody(one)]
    well = len(found) - len(to_see_to)
    lines = [line for site, one in to_see_to for line in _lines(site, one, program)]
    if len(found) > FEW and sum(site.endpoint is not None for site, _ in to_see_to) > 1:
        lines.append(f"all of it again, and nothing else: {program} pull --retry-failed")
    return [*lines, *([f"at {number_of(well, 'site')} nothing needs attention"] if well else [])]


def _needs_somebody(summary: SiteSummary) -> bool:
    return bool(summary.stops or summary.attention or summary.set_aside or not summary.units)


def _lines(site: Site, summary: SiteSummary, program: str) -> list[str]:
    """The units in groups of one kind, each with what mends all of it."""
    groups: dict[tuple[str, str, str | None, str | None], list[Attention]] = {}
    for some in alike(summary.attention):
        for one in some:  # parts of an export are only alike if the same mends them
            query, advice = (some[0].query, mend(one, site, program).advice) if len(some) > 1 else (one.query, None)
            groups.setdefault((one.state, query, one.reason, advice), []).append(one)
    kinds = capped(
        list(groups.values()),
        lambda some: "\n".join(_kind(some, site, program)),
        "kinds",
        f"{program} failed --site {site.name} --json",
    )
    aside = f"  set aside: {len(summary.set_aside)}; {program} quarantine --site {site.name}"
    stopped = [line for stop in summary.stops for line in _stopped(stop, site, program)]
    head = f"{site.name}: {_how_many(site, summary, program)}"
    return [head, *stopped, *kinds, *([aside] if summary.set_aside else [])]


def _stopped(stop: Stop, site: Site, program: str) -> list[str]:
    """What stopped the site, and the command that says more or tries again."""
    return [stop_line(stop), f"    {_mended_with(stop, site, program)}"]


def _mended_with(stop: Stop, site: Site, program: str) -> str:
    again = f"{program} {stop.step} --site {site.name}"
    return mended_with(stop.exit_code, stop.reason, site.name, program) or again


def _how_many(site: Site, summary: SiteSummary, program: str) -> str:
    if not summary.units and summary.stops:
        return "never pulled"
    if not summary.units:
        return f"never pulled; {program} pull --site {site.name}{'' if site.endpoint else ' --from PATH'}"
    return f"{len(summary.attention)} units need attention" if summary.attention else "nothing needs attention"


def _kind(some: Sequence[Attention], site: Site, program: str) -> list[str]:
    """One kind of failure: how many units, the first of them, and how all are mended."""
    first, told = some[0], list(dict.fromkeys(map(_unit, some)))
    more = len(told) - _MOST_OF_A_KIND
    mended = mend_all(list(some), site, program)
    return [
        f"  {first.state}: {_queries(some)} ({first.reason or 'no reason'}), {len(some)} units",
        *(f"    {one}" for one in told[:_MOST_OF_A_KIND]),
        *([f"    … and {more} more"] if more > 0 else []),
        *([f"    {mended.advice}"] if mended.advice else []),
        f"    then: {mended.command}" if mended.advice else f"    {mended.command}",
    ]


def _queries(some: Sequence[Attention]) -> str:
    """The query of these units, or those of the parts of an export."""
    return some[0].query if len({one.query for one in some}) == 1 else queries_of(some)


def _unit(one: Attention) -> str:
    parts = [
        in_a_line(one.message or one.reason or ""),
        f"{one.unique} of {one.expected} read" if one.expected is not None else "",
        f"last complete until {one.watermark}" if one.watermark else "never complete",
        f"not before {one.not_before}" if one.not_before else "",
    ]
    return f"{one.patient or 'the site'}: {'; '.join(part for part in parts if part)}"
