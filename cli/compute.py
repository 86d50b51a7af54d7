"""dm-fhir compute: store into cases and outcomes."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import click

from dm_fhir.cli.reporter import FEW, report
from dm_fhir.cli.study import json_option, opened, running, site_option

if TYPE_CHECKING:
    from dm_fhir.sync.compute import Computed


@click.command("compute")
@site_option
@json_option
@click.pass_context
def command(ctx: click.Context, sites: tuple[str, ...], as_json: bool) -> int:
    """Turn the store into cases and outcomes, only for patients whose records or tables changed. Needs no server.

    \b
    Example:
      dm-fhir compute
    """
    from dm_fhir.sync.passes import compute

    with opened(ctx, sites) as study, running(study, "compute", ("compute",)) as run:
        computed = compute(run.work, study.sites)
        summaries = run.summaries()
        more: dict[str, Any] = {"computed": {site: done._asdict() for site, done in computed.items()}}
        lines = computed_lines(computed)
        return report("compute", summaries, run.exit_code(summaries), as_json=as_json, lines=lines, **more)


def computed_lines(computed: "Mapping[str, Computed]") -> list[str]:
    """How many patients of each site, or of many together, were computed anew, and why which cases are not what they were."""
    if len(computed) > FEW:
        return _of_many(computed.values())
    return [line for site, done in computed.items() for line in _lines(f"{site}: ", done)]


def _of_many(computed: "Collection[Computed]") -> list[str]:
    """All of them together."""
    from dm_fhir.sync.compute import Computed

    changed = sum((Counter(done.changed) for done in computed), Counter[str]())
    sums = [sum(numbers) for numbers in zip(*((one.mapped, one.unchanged, one.held) for one in computed), strict=True)]
    return _lines("computed: ", Computed(sums[0], sums[1], changed, sums[2]))


def _held(done: "Computed") -> str:
    return f", {done.held} held back: their records are not complete" if done.held else ""


def _lines(head: str, done: "Computed") -> list[str]:
    changed = [f"{count} ({why})" for why, count in done.changed.items() if why != "new"]
    return [
        f"{head}{done.mapped} patients computed, {done.unchanged} unchanged{_held(done)}",
        *([f"  cases changed: {', '.join(changed)}"] if changed else []),
    ]
