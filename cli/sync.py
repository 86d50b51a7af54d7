"""dm-fhir sync: the line a scheduler runs."""

import time
from typing import Any

import click

from dm_fhir.cli.compute import computed_lines
from dm_fhir.cli.pull import cohort_details, cohort_lines, tell
from dm_fhir.cli.push import result_details, result_lines
from dm_fhir.cli.reporter import report
from dm_fhir.cli.study import Study, json_option, opened, running, site_option
from dm_fhir.sync.summary import SiteSummary


@click.command("sync")
@site_option
@json_option
@click.pass_context
def command(ctx: click.Context, sites: tuple[str, ...], as_json: bool) -> int:
    """Pull, compute and push under a lock; each step only for what changed. Safe to run twice, safe to kill.

    Sites without [site.push] enabled = true are read and computed, not written to. Sites without an endpoint are computed
    from the files that `pull --from` has read.

    \b
    Examples:
      dm-fhir sync
      dm-fhir --quiet --config /etc/dm-fhir/study.toml sync --json
    """
    with opened(ctx, sites) as study:
        lines, more, summaries, code = synced(study)
        return report("sync", summaries, code, as_json=as_json, lines=lines, **more)


def synced(study: Study) -> tuple[list[str], dict[str, Any], list[SiteSummary], int]:
    """One whole pass: lines for people, details for machines, the sites' state, the exit code."""
    from dm_fhir.sync.passes import compute, pull, push
    from dm_fhir.sync.pull import EVERYTHING

    started = time.monotonic()
    with running(study, "sync") as run:
        pulled = pull(run.work, [site for site in study.sites if site.endpoint])
        tell(run, pulled, EVERYTHING)
        computed = compute(run.work, study.sites)
        results = push(run.work, [site for site in study.sites if site.push.enabled])
        summaries = run.summaries()
        more: dict[str, Any] = {
            **cohort_details(pulled),
            "computed": {site: done._asdict() for site, done in computed.items()},
            **result_details(results),
            "seconds": round(time.monotonic() - started, 1),
        }
        lines = [*cohort_lines(pulled), *computed_lines(computed), *result_lines(results)]
        return lines, more, summaries, run.exit_code(summaries)
