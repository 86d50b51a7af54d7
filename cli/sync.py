"""dm-fhir sync: the line a scheduler runs."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import click

from dm_fhir.cli.compute import computed_lines
from dm_fhir.cli.pull import cohort_details, cohort_lines, tell
from dm_fhir.cli.push import result_details, result_lines
from dm_fhir.cli.reporter import report, units_of
from dm_fhir.cli.study import Study, json_option, opened, running, site_option
from dm_fhir.sync.push.plan import TO_SEND
from dm_fhir.sync.summary import SiteSummary


@click.command("sync")
@site_option
@json_option
@click.pass_context
def command(ctx: click.Context, sites: tuple[str, ...], as_json: bool) -> int:
    """Pull, compute and push under a lock; each step only for what changed. Safe to run twice, safe to kill.

    Sites without [site.push] enabled = true are read and computed, not written to. Sites without an endpoint are computed
    from the files that `pull --from` has read. One site's failure never holds the others. Patients whose records are not
    complete keep the case and the outcomes that they had: see [site.sync] partial.

    The last line on stdout says how it ended, whatever happens; with --quiet there is nothing else but what needs attention.

    \b
    Examples:
      dm-fhir sync
      dm-fhir --quiet --config /etc/dm-fhir/study.toml sync --json
    """
    with opened(ctx, sites) as study:
        lines, more, summaries, code = synced(study)
        more["seconds"]["total"] = round(study.ending.seconds, 1)
        return report("sync", summaries, code, as_json=as_json, lines=lines, quiet=study.voice.quiet, **more)


def synced(study: Study) -> tuple[list[str], dict[str, Any], list[SiteSummary], int]:
    """One whole pass: lines for people, details for machines, the sites' state, the exit code."""
    from dm_fhir.sync.passes import compute, pull, push
    from dm_fhir.sync.pull import EVERYTHING

    with running(study, "sync") as run:
        pulled = pull(run.work, [site for site in study.sites if site.endpoint])
        tell(run, pulled, EVERYTHING)
        computed = compute(run.work, study.sites)
        results = push(run.work, [site for site in study.sites if site.push.enabled and site.endpoint])
        summaries = run.summaries()
        more: dict[str, Any] = {
            "units": units_of(summaries),
            "outcomes": _outcomes(result.counts for result in results.values()),
            **cohort_details(pulled),
            "computed": {site: done._asdict() for site, done in computed.items()},
            **result_details(results),
            "seconds": {step: round(seconds, 1) for step, seconds in run.work.seconds.items()},
        }
        steps = [*cohort_lines(pulled), *computed_lines(computed), *result_lines(results)]
        troubles = [trouble for result in results.values() for trouble in result.troubles]
        lines = troubles if study.voice.quiet else steps
        return lines, more, summaries, run.exit_code(summaries)


def _outcomes(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """How many outcomes ended how, over all sites; `written` is what was new, changed or taken back."""
    found: Counter[str] = Counter()
    for one in counts:
        for ending, count in one.items():
            found["written" if ending in TO_SEND else ending] += count
    return dict(found)
