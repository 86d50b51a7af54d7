"""dm-fhir push: outcomes onto the servers."""

from collections.abc import Mapping
from typing import Any

import click

from dm_fhir.cli.reporter import counted, report
from dm_fhir.cli.study import Run, Study, json_option, opened, running, site_option
from dm_fhir.config import Site
from dm_fhir.errors import ConfigError
from dm_fhir.mappings.site import site_mapper
from dm_fhir.sync.push_plan import IMPORTED, TO_SEND, Item, count
from dm_fhir.sync.push_result import Result


@click.command("push")
@site_option
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@json_option
@click.pass_context
def command(ctx: click.Context, sites: tuple[str, ...], dry_run: bool, as_json: bool) -> int:
    """Write the computed outcomes onto the servers, each once; what has not changed is not sent.

    A site takes part when its config says [site.push] enabled = true. With imported = true the scores that were imported
    are written too.

    \b
    Examples:
      dm-fhir push --dry-run
      dm-fhir push --site leon
    """
    with opened(ctx, sites) as study:
        return _planned(study, as_json=as_json) if dry_run else _pushed(study, as_json=as_json)


def _planned(study: Study, *, as_json: bool) -> int:
    """What a push would do. It reads the store only: no request, no lock, no run."""
    from dm_fhir.sync.push_plan import plan

    planned = {site.name: plan(study.db, site.name, site_mapper(study.config, site), site.push) for site in study.sites}
    counts = {site: count(items) for site, items in planned.items()}
    lines = [line for site, items in planned.items() for line in _planned_lines(site, items)]
    lines.append("dry run: nothing was sent")
    return report("push", [], 0, as_json=as_json, lines=lines, planned=counts, dry_run=True)


def _pushed(study: Study, *, as_json: bool) -> int:
    from dm_fhir.sync.passes import push

    with running(study, "push", ("push",)) as run:
        results = push(run.work, enabled_sites(run))
        summaries = run.summaries()
        code = run.exit_code(summaries)
        return report("push", summaries, code, as_json=as_json, lines=result_lines(results), **result_details(results))


def enabled_sites(run: Run) -> list[Site]:
    """The sites that may be written to. Raises ConfigError if none may."""
    enabled = [site for site in run.study.sites if site.push.enabled]
    for site in run.study.sites:
        if not site.push.enabled:
            run.study.voice.say("not written to, [site.push] enabled is not true", "push_not_enabled", site.name)
    if not enabled:
        raise ConfigError(
            "no site may be written to", hint="set enabled = true under [site.push]; see first: dm-fhir push --dry-run"
        )
    return enabled


def result_lines(results: Mapping[str, Result]) -> list[str]:
    """What became of each site's outcomes, and each one that is not on the server as it should be."""
    lines = []
    for site, result in results.items():
        lines.append(f"{site}: outcomes: {counted(result.counts) or 'none'}")
        lines += [f"{site}: imported scores: {counted(result.imported)}"] if result.imported else []
        lines += [f"{site}: {remark}" for remark in result.remarks]
        lines += [f"  {trouble}" for trouble in result.troubles]
    return lines


def result_details(results: Mapping[str, Result]) -> dict[str, Any]:
    """The same for machines: `pushed`, and `pushed_imported` where there were imported scores."""
    imported = {site: result.imported for site, result in results.items() if result.imported}
    pushed = {"pushed": {site: result.counts for site, result in results.items()}}
    return pushed | ({"pushed_imported": imported} if imported else {})


def _planned_lines(site: str, items: list[Item]) -> list[str]:
    to_send = [item for item in items if item.action in TO_SEND]
    outcomes = [item for item in items if item.variable != IMPORTED]
    scores = [item for item in items if item.variable == IMPORTED]
    return [
        f"{site}: outcomes: {counted(count(outcomes)) or 'none'}",
        *([f"{site}: imported scores: {counted(count(scores))}"] if scores else []),
        *(f"  {i.action}: {i.variable} of {i.patient}{f' at {i.about}' if i.about else ''}" for i in to_send),
    ]
