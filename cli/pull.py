"""dm-fhir pull: server or files into the store."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dm_fhir.cli.engine import Engine, engine_options, runner_of
from dm_fhir.cli.files_told import file_details, file_lines, warn_of_files
from dm_fhir.cli.reporter import FEW, number_of, report
from dm_fhir.cli.study import Run, Study, json_option, opened, running, site_option
from dm_fhir.errors import ConfigError

if TYPE_CHECKING:
    from dm_fhir.sync.pull import Pulled, Wish


@click.command("pull")
@site_option
@click.option("--full", is_flag=True, help="Ask for everything again, not only for what changed.")
@click.option(
    "--retry-failed",
    is_flag=True,
    help="Only what is open: see dm-fhir failed. A site that was stopped is asked for everything, one with nothing open not at all.",
)
@click.option(
    "--patient", "patients", multiple=True, metavar="REF",
    help="Only this patient (Patient/7, or 7), who joins the cohort; may be given several times.",
)  # fmt: skip
@click.option(
    "--patient-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Only the patients in this file: ids or system|value identifiers, one a line.",
)  # fmt: skip
@click.option(
    "--from",
    "paths",
    multiple=True,
    metavar="PATH",
    help="Read files instead: NDJSON, Bundles, resources, packed or not; folders, archives, s3://…, or - for standard input.",
)
@engine_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    sites: tuple[str, ...],
    full: bool,
    retry_failed: bool,
    patients: tuple[str, ...],
    patient_file: Path | None,
    paths: tuple[str, ...],
    processes: int | None,
    engine: str,
    master: str | None,
    as_json: bool,
) -> int:
    """Read the cohort from the servers, or from files, into the store.

    The ledger accounts for every patient and query; a later pull asks only for what changed, and again for what is missing. Of
    files it keeps what is the cohort's; one that is complete is not read again unless it has changed, or with --full.

    \b
    Examples:
      dm-fhir pull
      dm-fhir pull --site leon --full
      dm-fhir pull --retry-failed
      dm-fhir pull --site leon --patient Patient/7
      dm-fhir pull --site leon --patient-file this-week.txt
      dm-fhir pull --site leon --from export/ --from extra.ndjson.gz
      dm-fhir pull --site leon --from export/ --processes 4
      dm-fhir pull --site leon --from /shared/export/ --engine spark --master yarn
    """
    from dm_fhir.sync.pull import Wish

    wish = Wish(full, tuple(map(_reference, patients)), patient_file, retry_failed)
    if sum((bool(patients) or patient_file is not None, retry_failed, bool(paths))) > 1:
        raise ConfigError("--patient, --retry-failed and --from are different pulls", hint="give one of them")
    reader = Engine(engine, processes, master)
    reader.check(paths)
    with opened(ctx, sites) as study, running(study, "pull", ("pull",)) as run:
        if patients or patient_file:
            _one_site(study)
        lines, more = _from_files(run, paths, reader, full=full) if paths else _from_servers(run, wish)
        summaries = run.summaries()
        return report("pull", summaries, run.exit_code(summaries), as_json=as_json, lines=lines, **more)


def _reference(patient: str) -> str:
    """`Patient/id`, however it was typed."""
    id_ = patient.removeprefix("Patient/")
    if not id_ or "/" in id_:
        raise ConfigError("--patient takes Patient/id, or the id alone", hint="such as --patient Patient/7")
    return f"Patient/{id_}"


def _from_servers(run: Run, wish: "Wish") -> tuple[list[str], dict[str, Any]]:
    from dm_fhir.sync.passes import pull

    pulled = pull(run.work, run.study.sites, wish)
    tell(run, pulled, wish)
    return [*cohort_lines(pulled), *_not_asked(run, pulled, wish)], cohort_details(pulled)


def _not_asked(run: Run, pulled: "Mapping[str, Pulled]", wish: "Wish") -> list[str]:
    """At how many sites no server has anything to answer for, where only what is open was asked for."""
    well = len(run.study.sites) - len(pulled.keys() | run.work.errors.keys())
    return (
        [f"at {number_of(well, 'site')} nothing is open that a server could answer: not asked"]
        if wish.retry and well
        else []
    )


def cohort_lines(pulled: "Mapping[str, Pulled]") -> list[str]:
    """How many patients each site's pull asked for, or all of many together; and the lines of a list that named nobody."""
    lines = []
    if len(pulled) > FEW:
        lines.append(
            f"pulled: {len(pulled)} sites, {sum(one.patients for one in pulled.values())} patients in their cohorts"
        )
    for site, one in pulled.items():
        lines += [f"{site}: {one.patients} patients in the cohort"] if len(pulled) <= FEW else []
        lines += [f"  line {n.line} of the list: {n.state}" for n in one.named if n.patient is None]
    return lines


def cohort_details(pulled: "Mapping[str, Pulled]") -> dict[str, Any]:
    """The same for machines: `cohort`, and `listed` where there was a list."""
    listed = {site: [line._asdict() for line in one.named] for site, one in pulled.items() if one.named}
    return {"cohort": {site: one.patients for site, one in pulled.items()}, **({"listed": listed} if listed else {})}


def tell(run: Run, pulled: "Mapping[str, Pulled]", wish: "Wish") -> None:
    """Warn of what holds for a whole site, and where nobody got the drug, and all were asked for, say what may be the reason."""
    from dm_fhir.store.ledger import units_of_nobody
    from dm_fhir.sync.cohort import COHORT

    for site, one in pulled.items():
        for remark in one.remarks:
            run.study.voice.warn(remark, "site_remark", site)
        rows = units_of_nobody(run.study.db, site)
        searched = any(unit.query.startswith(COHORT) and unit.state == "complete" for unit in rows)
        by = run.study.config.site(site).cohort.by
        if one.patients == 0 and searched and not wish.is_partial and by == "medication":
            codes = len(run.work.mappers[site].drug_codes())
            run.study.voice.warn(
                f"nobody was given {run.study.config.drug}, by any of the {codes} codes that the tables know; "
                f"if somebody was, add the hospital's own code in a table of the site (see docs/mapping.md)",
                "cohort_empty",
                site,
            )


def _one_site(study: Study) -> None:
    if len(study.sites) != 1:
        names = ", ".join(site.name for site in study.sites)
        raise ConfigError("patients and files belong to one site", hint=f"name it with --site: {names}")


def _from_files(run: Run, paths: tuple[str, ...], engine: Engine, *, full: bool) -> tuple[list[str], dict[str, Any]]:
    from dm_fhir.sync.files import pull_files

    study = run.study
    _one_site(study)
    site = study.sites[0]
    with runner_of(engine, run, site.name, paths, again=full) as runner:
        taken, passed_over = pull_files(
            study.db, site, paths, run.work.mappers[site.name], run.work.run, study.voice.progress("read", "MB"), runner,
            full=full,
            listed=lambda count: study.voice.say(f"{count} files found so far", "files_found", site.name, count=count),
        )  # fmt: skip
    if passed_over:
        text = f"{len(passed_over)} files passed over; they are listed with the result"
        study.voice.say(text, "files_passed_over", site.name, count=len(passed_over))
    warn_of_files(run, site.name, taken)
    return file_lines(site.name, taken, passed_over), file_details(site.name, taken, passed_over)
