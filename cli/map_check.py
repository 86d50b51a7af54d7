"""dm-fhir map check: codes, units and kinds of value that the store holds, against the tables."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from dm_fhir.cli.reporter import capped, counted, document
from dm_fhir.cli.study import Study, json_option, opened, site_option
from dm_fhir.config import Site
from dm_fhir.model.spreadsheet_text import harmless

if TYPE_CHECKING:
    from dm_fhir.mappings.codes import Tables
    from dm_fhir.mappings.survey import CodeSeen, NeverSeen, SiteSeen

_MOST_UNMAPPED = 20
_MOST_NEVER = 20
_COLUMNS = (
    "site", "mapped", "kind", "element", "system", "code", "display", "variable", "records", "patients", "last_seen",
    "units", "units_not_in_table", "values", "statuses", "statuses_not_counted", "scales", "unused",
)  # fmt: skip


@click.command("check", short_help="What the tables do not know of what the store holds.")
@site_option
@click.option(
    "--suggest", is_flag=True, help="Print a site table to begin from instead: TOML, every row commented out."
)
@click.option(
    "--csv", "csv_path", type=click.Path(path_type=Path), metavar="FILE", help="Also write every code to FILE."
)
@json_option
@click.pass_context
def check(ctx: click.Context, sites: tuple[str, ...], suggest: bool, csv_path: Path | None, as_json: bool) -> int:
    """Codes that no table knows, values that cannot be used and why, rows never seen. Reads the store only.

    Counts, codes, units and the codes' own displays; nothing that names or dates a patient. The exit code is 3 while values of
    known codes cannot be used, or a record cannot be read.

    \b
    Examples:
      dm-fhir map check --site leon
      dm-fhir map check --site leon --suggest > tables/leon-new.toml
      dm-fhir map check --csv codes.csv
    """
    if suggest and as_json:
        raise click.UsageError("--suggest or --json, not both")
    with opened(ctx, sites) as study:
        found = [(site, *_seen(study, site)) for site in study.sites]
        drug = study.config.drug
    code = 3 if any(_needs_mending(seen) for _, _, seen in found) else 0
    if csv_path is not None:
        _write_csv(csv_path, [seen for _, _, seen in found])
    if suggest:
        from dm_fhir.mappings.suggest import suggestion

        click.echo("\n".join(suggestion(seen, tables) for _, tables, seen in found), nl=False)
    elif as_json:
        click.echo(document("map check", [_for_machines(site, seen) for site, _, seen in found], code))
    else:
        click.echo("\n".join(printable(line) for site, _, seen in found for line in _lines(site, seen, drug)))
        click.echo(f"map check: exit {code} ({'what cannot be used is named above' if code else 'complete'})")
    return code


def _seen(study: Study, site: Site) -> "tuple[Tables, SiteSeen]":
    from dm_fhir.mappings.site import site_mapper
    from dm_fhir.mappings.survey import survey
    from dm_fhir.store.records import records
    from dm_fhir.store.resources import resources_of_type

    mapper = site_mapper(study.config, site)
    medications = mapper.medications(resources_of_type(study.db, site.name, "Medication"))
    return mapper.tables, survey(site.name, records(study.db, site.name), mapper.tables, medications, mapper.drug)


def _needs_mending(seen: "SiteSeen") -> bool:
    return bool(seen.trouble or seen.unreadable_count or not seen.records)


def _for_machines(site: Site, seen: "SiteSeen") -> dict[str, Any]:
    return {**msgspec.structs.asdict(seen), "scope": scope_of(site), "trouble": seen.trouble}


def scope_of(site: Site) -> str:
    """What a pull keeps of this site: `mapped` or `all`; files are always kept whole."""
    return site.pull.scope if site.endpoint else "all"


def _lines(site: Site, seen: "SiteSeen", drug: str) -> list[str]:
    name = site.name
    if not seen.records:
        return [f"{name}: the store holds no record to look at; dm-fhir pull --site {name}"]
    codes = len({(one.kind, one.system, one.code) for one in seen.mapped})
    everything = f"dm-fhir map check --site {name} --json"
    return [
        f"{name}: looked at {counted(seen.records)}; {codes} codes known, {len(seen.unmapped)} not",
        *_scope_lines(site),
        *_drug_lines(seen, drug),
        *capped([one for one in seen.mapped if one.trouble], _unusable, "codes with such values", everything),
        *[f"  several {one.what} of {one.variable}: {_counts(one.counts)}" for one in seen.mixed],
        *_status_lines(seen.mapped),
        *capped([one for one in seen.mapped if one.units], _known, "known codes with units", everything),
        *capped(seen.unmapped, _unmapped, "codes that no table knows", everything, _MOST_UNMAPPED),
        *_remarks(seen),
        *_never(seen.never_seen),
        *_next(name, seen),
    ]


def _scope_lines(site: Site) -> list[str]:
    if scope_of(site) == "all":
        return []
    return [
        '  pulled with scope = "mapped": what no table knows was not kept, so it cannot be seen here. To see it: '
        f'[site.pull] scope = "all", then dm-fhir pull --site {site.name}'
    ]


def _drug_lines(seen: "SiteSeen", drug: str) -> list[str]:
    never = any((one.kind, one.variable) == ("medication", drug) for one in seen.never_seen)
    return [f"  no code of the study drug, {drug}, was seen: without one nobody makes a case"] if never else []


def _unusable(one: "CodeSeen") -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in one.unused.items() if reason != "status_excluded")
    units = f"; units that the row does not know: {_units(one.units_not_in_table)}" if one.units_not_in_table else ""
    values = f"; values as {_counts(one.values)}" if set(one.values) - {"valueQuantity"} else ""
    return f"  cannot be used: {one.variable} by {_code(one)}: {reasons} of {one.records} records{units}{values}"


def _known(one: "CodeSeen") -> str:
    return f"  known: {one.variable} by {_code(one)} in {one.element}: {_how_often(one)}"


def _unmapped(one: "CodeSeen") -> str:
    return f"  no row: {_code(one)} in {one.element}: {_how_often(one)}"


def _how_often(one: "CodeSeen") -> str:
    units = f", units {_counts({unit or 'none': count for unit, count in one.units.items()})}" if one.units else ""
    last = f", last {one.last_seen}" if one.last_seen else ""
    return f"{one.records} records, {one.patients} patients{units}{last}"


def _status_lines(mapped: "Iterable[CodeSeen]") -> list[str]:
    """How many records of each variable do not count for their status."""
    counts: dict[str, Counter[str]] = {}
    for one in mapped:
        for status in one.statuses_not_counted:
            counts.setdefault(one.variable or "", Counter())[status] += one.statuses[status]
    return [f"  not counted for their status: {variable}: {_counts(found)}" for variable, found in counts.items()]


def _remarks(seen: "SiteSeen") -> list[str]:
    lines = [f"  no code in {element}: {_counts(counts)}" for element, counts in seen.without_code.items()]
    lines += [
        f"  which drug is unknown in {element}: {count}, its Medication is not in the store"
        for element, count in seen.unresolved.items()
    ]
    if seen.unreadable_count:
        named = ", ".join(seen.unreadable[:3])
        lines.append(
            f"  cannot be read: {seen.unreadable_count} records ({named}{', …' * (seen.unreadable_count > 3)})"
        )
    if seen.not_listed:
        lines.append(f"  {seen.not_listed} records have further codes: too many different ones to list")
    if seen.other_types:
        lines.append(f"  types that dm-fhir does not map: {counted(seen.other_types)}")
    if seen.own_outcomes:
        lines.append(f"  written by dm-fhir itself: {seen.own_outcomes} Observations, not looked at")
    return lines


def _never(rows: "Sequence[NeverSeen]") -> list[str]:
    """The rows of which nothing was seen, a line a kind; a row without codes waits for a site's table."""
    lines = []
    for kind in dict.fromkeys(one.kind for one in rows):
        names = [one.variable + ("" if one.codes else " (has no code)") for one in rows if one.kind == kind]
        more = f" and {len(names) - _MOST_NEVER} more" if len(names) > _MOST_NEVER else ""
        lines.append(f"  never seen, {kind.replace('_', ' ')}: {', '.join(names[:_MOST_NEVER])}{more}")
    return lines


def _next(name: str, seen: "SiteSeen") -> list[str]:
    if not seen.unmapped and not any(one.units_not_in_table for one in seen.mapped):
        return []
    return [f"  next: dm-fhir map check --site {name} --suggest > {name}-new.toml, fill it in, then dm-fhir map diff"]


def _code(one: "CodeSeen") -> str:
    display = f' "{one.display}"' if one.display else ""
    return f"{one.system or '(no system)'}|{one.code}{display}"


def _units(units: Iterable[str]) -> str:
    return ", ".join(f'"{unit}"' if unit else "none at all" for unit in units)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def printable(text: str) -> str:
    """A hospital's text without what would move a terminal's cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _write_csv(path: Path, sites: "Iterable[SiteSeen]") -> None:
    from dm_fhir.cli.private_file import write_private

    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for seen in sites:
        for one in (*seen.unmapped, *seen.mapped):
            values = msgspec.structs.asdict(one) | {"site": seen.site, "mapped": "yes" if one.variable else "no"}
            writer.writerow(harmless(_cell(values[column]) for column in _COLUMNS))
    write_private(str(path), text.getvalue().encode())


def _cell(value: object) -> object:
    if isinstance(value, dict):
        return "; ".join(f"{name or 'none'}: {count}" for name, count in value.items())
    return "; ".join(value) if isinstance(value, tuple) else value
