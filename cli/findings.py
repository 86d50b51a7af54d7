"""dm-fhir findings: what was unusual in the records, record by record."""

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import groupby

import click

from dm_fhir.cli.private_file import STANDARD_OUTPUT, write_private
from dm_fhir.cli.reporter import closing_line, document, number_of
from dm_fhir.cli.study import json_option, opened, site_option
from dm_fhir.model.findings import KINDS, by_severity, meaning_of, severity_of
from dm_fhir.model.spreadsheet_text import harmless
from dm_fhir.store.cases import ListedFinding, counts_by_state, findings

_MOST_OF_A_KIND = 3
_Found = Mapping[str, Sequence[ListedFinding]]


@click.command("findings")
@site_option
@click.option(
    "--code", "codes", multiple=True, type=click.Choice(sorted(KINDS)), metavar="CODE",
    help="Only findings of this code; may be given several times.",
)  # fmt: skip
@click.option("--csv", "table", metavar="FILE", help="Write every finding as a row of this file; - is standard output.")
@json_option
@click.pass_context
def command(
    ctx: click.Context, sites: tuple[str, ...], codes: tuple[str, ...], table: str | None, as_json: bool
) -> int:
    """What was unusual in the records: which, what was done, how to mend it. Reads the store only.

    Records are named by their references on the hospital's server, and nothing else of them is shown.

    \b
    Examples:
      dm-fhir findings
      dm-fhir findings --site leon --code unit_missing --csv units.csv
    """
    if as_json and table == STANDARD_OUTPUT:
        raise click.UsageError("--json and --csv - both want standard output: name a file")
    with opened(ctx, sites) as study:
        found = {site.name: _chosen(findings(study.db, site.name), codes) for site in study.sites}
        computed = [site.name for site in study.sites if counts_by_state(study.db, site.name)]
        code = 3 if any(one.severity == "error" for listed in found.values() for one in listed) else 0
        if table is not None:
            write_private(table, _csv(found))
            study.voice.say(
                f"{number_of(sum(map(len, found.values())), 'finding')}{'' if table == STANDARD_OUTPUT else f' to {table}'}"
            )
    if as_json:
        click.echo(document("findings", [_for_machines(*one) for one in found.items()], code, kinds=_kinds(found)))
    elif table != STANDARD_OUTPUT:
        click.echo("\n".join(line for one in found.items() for line in _lines(*one, is_computed=one[0] in computed)))
        click.echo(closing_line("findings", [], code))
    return code


def _chosen(listed: Sequence[ListedFinding], codes: Sequence[str]) -> list[ListedFinding]:
    return [one for one in listed if not codes or one.code in codes]


def _csv(found: _Found) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["site", *ListedFinding._fields])
    writer.writerows(harmless((site, *one)) for site, listed in found.items() for one in listed)
    return text.getvalue().encode()


def _for_machines(site: str, listed: Sequence[ListedFinding]) -> dict[str, object]:
    return {
        "site": site,
        "findings": {code: len(some) for code, some in _by_code(listed).items()},
        "finding_patients": {code: _patients(some) for code, some in _by_code(listed).items()},
        "listed": [one._asdict() for one in listed],
    }


def _kinds(found: _Found) -> dict[str, dict[str, str]]:
    """What the registry says of the codes that were found."""
    codes = {one.code for listed in found.values() for one in listed}
    return {code: KINDS[code]._asdict() for code in sorted(codes) if code in KINDS}


def _by_code(listed: Sequence[ListedFinding]) -> dict[str, list[ListedFinding]]:
    return {code: list(some) for code, some in groupby(listed, key=lambda one: one.code)}


def _patients(some: Sequence[ListedFinding]) -> int:
    return len({one.patient for one in some})


def _lines(site: str, listed: Sequence[ListedFinding], *, is_computed: bool) -> list[str]:
    """The findings of a site by code, the gravest first: what they mean, some of them, what mends them."""
    if not is_computed:
        return [f"{site}: nothing computed yet; dm-fhir compute --site {site}"]
    by_code = _by_code(listed)
    kinds = [line for code in by_severity(by_code) for line in _kind(site, code, by_code[code])]
    return [f"{site}: {number_of(len(listed), 'finding')} in {number_of(_patients(listed), 'patient')}", *kinds]


def _kind(site: str, code: str, some: Sequence[ListedFinding]) -> list[str]:
    more = len(some) - _MOST_OF_A_KIND
    where = f"dm-fhir findings --site {site} --code {code} --csv {code}.csv"
    return [
        f"  {severity_of(code)}: {code}, {len(some)} in {number_of(_patients(some), 'patient')}: {meaning_of(code)}",
        *(f"    {one.reference}{f' ({one.path})' if one.path else ''}: {one.done}" for one in some[:_MOST_OF_A_KIND]),
        *([f"    … and {more} more; all of them: {where}"] if more > 0 else []),
        *([f"    to mend: {KINDS[code].mend}"] if code in KINDS else []),
    ]
