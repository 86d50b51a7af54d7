"""dm-fhir push: outcomes onto the servers."""

import click
from dm_fhir.cli.reporter import report
from dm_fhir.cli.study import Run, json_option, opened, running, site_option

from dm_fhir.config import Site
from dm_fhir.errors import ConfigError
from dm_fhir.sync.push import Item, Result, count


@click.command("push")
@site_option
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@json_option
@click.pass_context
def command(ctx: click.Context, sites: tuple[str, ...], dry_run: bool, as_json: bool) -> int:
    """Write the computed outcomes onto the servers, each once; what has not changed is not sent.

    A site takes part when its config says [site.push] enabled = true.

    \b
    Examples:
      dm-fhir push --dry-run
      dm-fhir push --site leon
    """
    from dm_fhir.sync.passes import plans, push

    with opened(ctx, sites) as study, running(study, "push", ("push",)) as run:
        if dry_run:
            planned = plans(run.work, study.sites)
            return report(
                "push",
                [],
                0,
                as_json=as_json,
                lines=_planned(planned),
                planned={s: count(i) for s, i in planned.items()},
                dry_run=True,
            )
        results = push(run.work, enabled_sites(run))
        summaries = run.summaries()
        return report(
            "push",
            summaries,
            run.exit_code(summaries),
            as_json=as_json,
            lines=result_lines(results),
            pushed={s: r.counts for s, r in results.items()},
        )


def enabled_sites(run: Run) -> list[Site]:
    """The sites that may be written to. Raises ConfigError if none may."""
    enabled = [site for site in run.study.sites if site.push_enabled]
    for site in run.study.sites:
        if not site.push_enabled:
            run.study.voice.say(f"{site.name}: not written to, [site.push] enabled is not true")
    if not enabled:
        raise ConfigError(
            "no site may be written to", hint="set enabled = true under [site.push]; see first: dm-fhir push --dry-run"
        )
    return enabled


def result_lines(results: dict[str, Result]) -> list[str]:
    """What became of each site's outcomes, and each one that the server refused or somebody changed."""
    lines = []
    for site, result in results.items():
        lines.append(
            f"{site}: {', '.join(f'{number} {name}' for name, number in result.counts.items()) or 'nothing to push'}"
        )
        lines += [f"  rejected: {one}" for one in result.rejected] + [f"  conflict: {one}" for one in result.conflicts]
    return lines


def _planned(planned: dict[str, list[Item]]) -> list[str]:
    lines = []
    for site, items in planned.items():
        lines.append(
            f"{site}: would be {', '.join(f'{number} {name}' for name, number in count(items).items()) or 'nothing'}"
        )
        lines += [
            f"  {i.action}: {i.variable} of {i.patient}{f' at {i.about}' if i.about else ''}"
            for i in items
            if i.action in ("new", "changed", "retract")
        ]
    return lines
