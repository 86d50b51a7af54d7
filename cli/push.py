"""dm-fhir push: outcomes onto the servers, back from them, and the proof that they are there."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import click

from dm_fhir.cli.push_ledger import written_details, written_lines
from dm_fhir.cli.push_plan import Details, Lines, plan_document, planned_details, planned_lines, trouble_lines
from dm_fhir.cli.push_proof import to_repair, verified
from dm_fhir.cli.reporter import FEW, closing_line, counted, document, report
from dm_fhir.cli.study import Run, Study, json_option, note_look, opened, running, site_option
from dm_fhir.config import Site
from dm_fhir.errors import ConfigError, in_a_line
from dm_fhir.mappings.site import site_mappers
from dm_fhir.sync.push.consent import Agree
from dm_fhir.sync.push.result import Result

_STEPS = ("push",)


class _Wish(NamedTuple):
    """What was asked for, besides writing."""

    dry_run: bool
    yes: bool
    again: bool
    retract: bool
    verify: bool
    repair: bool
    relearn: bool
    listed: bool


@click.command("push")
@site_option
@click.option("--dry-run", is_flag=True, help="Show what would be written, field by field, and write nothing.")
@click.option("--yes", is_flag=True, help="Confirm a first push, a retraction or writing again, without a question.")
@click.option("--retract", is_flag=True, help="Take back all that was written to a site (entered-in-error).")
@click.option("--again", is_flag=True, help="Write again to a site from which everything was taken back.")
@click.option("--verify", is_flag=True, help="Read back what was written and compare it; change nothing.")
@click.option(
    "--sample", type=click.IntRange(min=1), metavar="N", help="With --verify: only N of each site's, spread over all."
)
@click.option(
    "--repair", is_flag=True, help="Of results that a server holds several times set all but one to entered-in-error."
)
@click.option(
    "--relearn", is_flag=True, help="Forget what was found out of how a server is written to, and find it out again."
)
@click.option("--list", "listed", is_flag=True, help="List what was written: where on the server, when, by which run.")
@json_option
@click.pass_context
def command(ctx: click.Context, /, sites: tuple[str, ...], sample: int | None, as_json: bool, **wish: bool) -> int:
    """Write the computed outcomes onto the servers, each once; what has not changed is not sent.

    A site takes part when its config says [site.push] enabled = true. The first push to a server asks whether it may write
    there. With imported = true the scores that were imported are written too.

    \b
    Examples:
      dm-fhir push --dry-run
      dm-fhir push --site leon
      dm-fhir push --verify --sample 100
      dm-fhir push --site leon --retract --dry-run
    """
    asked = _Wish(**wish)
    _check(asked, sample)
    with opened(ctx, sites) as study:
        if asked.listed:
            return _listed(study, as_json=as_json)
        if asked.verify:
            return verified(study, sample, as_json=as_json)
        if asked.repair and asked.dry_run:
            return to_repair(study, as_json=as_json)
        if asked.retract and len(study.sites) > 1 and not sites:
            known = ", ".join(site.name for site in study.sites)
            raise ConfigError("--retract needs to be told the site", hint=f"--site NAME, of {known}")
        if asked.dry_run:
            return _planned(study, asked, as_json=as_json)
        return _pushed(study, asked, as_json=as_json)


def _check(asked: _Wish, sample: int | None) -> None:
    """That the options go together. Raises UsageError naming those that do not."""
    modes = {
        "--retract": asked.retract, "--again": asked.again, "--verify": asked.verify, "--repair": asked.repair,
        "--list": asked.listed,
    }  # fmt: skip
    chosen = [name for name, is_chosen in modes.items() if is_chosen]
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(chosen)} exclude each other")
    if (asked.verify or asked.listed) and (asked.dry_run or asked.yes):
        raise click.UsageError(f"{chosen[0]} writes nothing: neither --dry-run nor --yes goes with it")
    if asked.relearn and (asked.verify or asked.listed or asked.dry_run):
        raise click.UsageError("--relearn goes with what writes")
    if sample is not None and not asked.verify:
        raise click.UsageError("--sample goes with --verify")


def _planned(study: Study, asked: _Wish, *, as_json: bool) -> int:
    """What a push would do. It reads the store only: no request, no lock, no run."""
    from dm_fhir.sync.passes import planned
    from dm_fhir.sync.push.consent import waits

    verbose = study.voice.verbose
    mappers = site_mappers(study.config, study.sites)
    plans = {site.name: planned(study.db, site, mappers[site.name], retract_all=asked.retract) for site in study.sites}
    waiting = {site.name: _waiting(site, None if asked.retract else waits(study.db, site)) for site in study.sites}
    if as_json:
        details = {site: planned_details(items, verbose=verbose) for site, items in plans.items()}
        _note_values(study, details.values())
        for part in plan_document(details, waiting):
            click.echo(part, nl=False)
        click.echo()
        return 0
    found = {site: planned_lines(site, items, verbose=verbose) for site, items in plans.items()}
    _note_values(study, found.values())
    lines = [line for site, one in found.items() for line in (*one.lines, *_indented(waiting[site]))]
    return report("push", [], 0, as_json=False, lines=[*lines, "dry run: nothing was sent"])


def _note_values(study: Study, plans: Iterable[Lines | Details]) -> None:
    """What is changed is shown with its values: that is noted."""
    if any(one.counts.get("changed") for one in plans):
        note_look(study, "show", reference="push --dry-run")


def _indented(line: str | None) -> list[str]:
    return [f"  {line}"] if line else []


def _waiting(site: Site, why: str | None) -> str | None:
    """What keeps all of a site's plan from being carried out."""
    if not site.push.enabled:
        return "nothing of it is written: [site.push] enabled is not true"
    return f"it waits to be confirmed: {why}" if why else None


def _pushed(study: Study, asked: _Wish, *, as_json: bool) -> int:
    """Write, or take back, and tell what became of it."""
    from dm_fhir.store.facts import forget_writing
    from dm_fhir.sync import passes

    agree = _agreeing(yes=asked.yes)
    with running(study, "push", _STEPS) as run:
        sites = enabled_sites(run)
        if asked.relearn:
            for site in sites:
                forget_writing(study.db, site.name)
        if asked.retract:
            results = passes.retract(run.work, sites, agree)
        elif asked.repair:
            results = passes.repair(run.work, sites, agree)
        else:
            results = passes.push(run.work, sites, agree, again=asked.again)
        summaries = run.summaries()
        code = run.exit_code(summaries)
        return report("push", summaries, code, as_json=as_json, lines=result_lines(results), **result_details(results))


def _agreeing(*, yes: bool) -> Agree:
    """Whoever runs this is asked on a terminal. Where there is none, --yes is the only way to agree."""

    def agree(question: str) -> bool:
        if yes:
            return True
        return sys.stdin.isatty() and click.confirm(question, err=True)

    return agree


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


def _listed(study: Study, *, as_json: bool) -> int:
    """What was written, by the store."""
    from dm_fhir.store.pushes import written

    rows = {site.name: written(study.db, site.name) for site in study.sites}
    if as_json:
        click.echo(document("push", [], 0, written=written_details(rows)))
    else:
        click.echo("\n".join([*written_lines(rows), closing_line("push", [], 0)]))
    return 0


def result_lines(results: Mapping[str, Result]) -> list[str]:
    """What became of each site's outcomes, or of those of many together, and each one that is not on the server as it should be."""
    lines, are_few = list[str](), len(results) <= FEW
    if not are_few:
        sums = sum((Counter(result.counts) for result in results.values()), Counter[str]())
        lines.append(f"outcomes of {len(results)} sites: {counted(sums) or 'none'}")
    for site, result in results.items():
        lines += [f"{site}: outcomes: {counted(result.counts) or 'none'}"] if are_few else []
        lines += [f"{site}: imported scores: {counted(result.imported)}"] if result.imported else []
        lines += [f"{site}: {in_a_line(remark)}" for remark in result.remarks]
        lines += trouble_lines(result.troubles, f"dm-fhir push --list --site {site}")
    return lines


def result_details(results: Mapping[str, Result]) -> dict[str, Any]:
    """The same for machines: `pushed`, and `pushed_imported` where there were imported scores."""
    imported = {site: result.imported for site, result in results.items() if result.imported}
    pushed: dict[str, Any] = {"pushed": {site: result.counts for site, result in results.items()}}
    troubles = {site: result.troubles for site, result in results.items() if result.troubles}
    pushed |= {"pushed_imported": imported} if imported else {}
    return pushed | ({"push_troubles": troubles} if troubles else {})
