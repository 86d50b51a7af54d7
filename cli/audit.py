"""dm-fhir audit: who had to do with which patient's data, and when."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import click

from dm_fhir.cli.private_file import STANDARD_OUTPUT, write_private
from dm_fhir.cli.reporter import capped, closing_line, document, number_of
from dm_fhir.cli.study import json_option, opened, site_option
from dm_fhir.model.spreadsheet_text import harmless
from dm_fhir.store.audit import Entry, entries

_MOST_LINES = 50
_DID = {"read": "read", "write": "wrote", "retract": "retracted", "show": "showed", "explain": "explained"}


@click.command("audit")
@site_option
@click.option(
    "--since",
    metavar="TIME",
    help="From this time on: 2026-11-25, or 2026-11-25T08:00:00+01:00; in UTC without a zone.",
)
@click.option("--patient", metavar="REF", help="Only what concerns this patient: Patient/7, or 7.")
@click.option(
    "--run", "number", type=click.IntRange(min=1), metavar="N", help="Only this run (dm-fhir runs has the numbers)."
)
@click.option("--csv", "table", metavar="FILE", help="Write every row of the log to this file; - is standard output.")
@json_option
@click.pass_context
def command(
    ctx: click.Context, sites: tuple[str, ...], since: str | None, patient: str | None, number: int | None, table: str | None,
    as_json: bool,
) -> int:  # fmt: skip
    """Who ran what, whose data it read, which resources it wrote, and when; who looked at records or took them out.

    The log is part of the store. Rows are added and never changed. Of one patient it also has what concerned all of a site.

    \b
    Examples:
      dm-fhir audit --since 2026-11-01
      dm-fhir audit --site leon --patient Patient/7
      dm-fhir audit --run 12 --csv run-12.csv
    """
    if as_json and table == STANDARD_OUTPUT:
        raise click.UsageError("--json and --csv - both want standard output: name a file")
    asked_time, asked_patient = _time(since), _reference(patient)
    with opened(ctx, sites) as study:
        names = {site.name for site in study.sites}
        rows = entries(study.db, since=asked_time, patient=asked_patient, run=number)
        found = [one for one in rows if not sites or one.site in names]
        if table is not None:
            write_private(table, _csv(found))
            study.voice.say(f"{number_of(len(found), 'row')}{'' if table == STANDARD_OUTPUT else f' to {table}'}")
    if as_json:
        click.echo(document("audit", _by_site(found), 0, audit=[one._asdict() for one in found]))
    elif table != STANDARD_OUTPUT:
        is_single = patient is not None or number is not None
        lines = [_line(one) for one in found] if is_single else list(_summary(found))
        every = "with --csv FILE or --json"
        click.echo("\n".join(capped(lines[::-1], str, "earlier", every, _MOST_LINES)) or "nothing noted")
        click.echo(closing_line("audit", [], 0))
    return 0


def _time(text: str | None) -> str:
    """As the log has it: in UTC, to the second; "" for no time."""
    if text is None:
        return ""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        raise click.UsageError(f"--since takes a date, or a date and time, not '{text}'") from None
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _reference(patient: str | None) -> str | None:
    return None if patient is None else f"Patient/{patient.removeprefix('Patient/')}"


def _csv(found: Sequence[Entry]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(Entry._fields)
    writer.writerows(map(harmless, found))
    return text.getvalue().encode()


def _by_site(found: Sequence[Entry]) -> list[dict[str, object]]:
    """For each site how many rows there are of each action, and of how many patients."""
    sites = sorted({one.site for one in found})
    return [
        {
            "site": site,
            "actions": dict(sorted(Counter(one.action for one in found if one.site == site).items())),
            "patients": len({one.patient for one in found if one.site == site and one.patient}),
        }
        for site in sites
    ]


def _line(one: Entry) -> str:
    what = " ".join(part for part in (one.patient or f"all of {one.site}", one.reference) if part)
    return f"{one.when} {_who(one)}: {one.site}: {_DID.get(one.action, one.action)} {what}"


def _summary(found: Sequence[Entry]) -> Iterator[str]:
    """A line for each run, site and action, in order; what is no run is told row by row."""
    groups: dict[object, list[Entry]] = {}
    for one in found:
        groups.setdefault(one.number if one.run is None else (one.run, one.site, one.action), []).append(one)
    for some in groups.values():
        run, site, action = some[0].run, some[0].site, some[0].action
        if run is None:
            yield _line(some[0])
            continue
        patients = number_of(len({one.patient for one in some}), "patient")
        what = f"data of {patients}" if action == "read" else f"{number_of(len(some), 'resource')} of {patients}"
        yield f"{some[0].when} {_who(some[0])}: {site}: {_DID[action]} {what}"


def _who(one: Entry) -> str:
    by = f" by {one.user}" if one.user else ""
    return f"{one.command}{by}" if one.run is None else f"run {one.run}, {one.command}{by}"
