"""dm-fhir map show, map schema: the tables as they hold, ours alone or with a site's laid over them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from dm_fhir.cli.completion import site_names
from dm_fhir.cli.reporter import document
from dm_fhir.cli.study import json_option
from dm_fhir.config import load_config
from dm_fhir.errors import ConfigError
from dm_fhir.mappings.codes import KINDS, OWN_SYSTEM, Row, Tables, load_tables, own_code
from dm_fhir.mappings.rows import Bounds
from dm_fhir.model.case import Coding
from dm_fhir.model.exact import to_text


@click.command("show")
@click.option(
    "--site", "site_name", metavar="NAME", help="As they hold at this site; without it, the shipped ones.",
    shell_complete=site_names,
)  # fmt: skip
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only rows of this kind; several times.")
@click.option("--variable", "variables", multiple=True, metavar="NAME", help="Only this variable; several times.")
@click.option("--fhir", "as_fhir", is_flag=True, help="As FHIR R4: CodeSystem, ValueSets, ConceptMaps, profile.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="With --fhir: a file for each resource, in this folder; without it one Bundle is printed.",
)  # fmt: skip
@json_option
@click.pass_context
def show(
    ctx: click.Context,
    site_name: str | None,
    kinds: tuple[str, ...],
    variables: tuple[str, ...],
    as_fhir: bool,
    output: Path | None,
    as_json: bool,
) -> int:
    """Show the tables: each variable's codes, units and range, who says so, and in which file, row and line.

    Needs no config, except for --site.

    \b
    Examples:
      dm-fhir map show --kind measurement
      dm-fhir map show --variable ck --site leon
      dm-fhir map show --fhir --output terminology
    """
    if output and not as_fhir:
        raise click.UsageError("--output goes with --fhir")
    if as_fhir and (kinds or variables):
        raise click.UsageError("--fhir is always whole: it takes neither --kind nor --variable")
    tables = load_tables(load_config(ctx.obj[0]).site(site_name).tables if site_name else ())
    sites = [{"site": site_name}] if site_name else []
    if as_fhir:
        return _show_fhir(tables, sites, output, as_json=as_json)
    rows = _chosen(tables, kinds, variables)
    if as_json:
        click.echo(document("map", sites, 0, rows=[_for_machines(row) for row in rows], remarks=tables.remarks))
        return 0
    for row in rows:
        click.echo("\n".join(_lines(row)))
    click.echo("\n".join([*(f"not taken: {remark}" for remark in tables.remarks), _closing(rows, site_name)]))
    return 0


@click.command("schema")
def schema() -> int:
    """Print the JSON Schema of a mapping table, for an editor that checks while you write.

    \b
    Example:
      dm-fhir map schema > mapping-table.schema.json
    """
    from dm_fhir.validation import schema_text

    click.echo(schema_text("mapping-table"), nl=False)
    return 0


def _chosen(tables: Tables, kinds: Sequence[str], variables: Sequence[str]) -> list[Row]:
    """The rows of these kinds and variables. Raises ConfigError for a variable that none of them has."""
    rows = [row for row in tables.rows.values() if not kinds or row.kind in kinds]
    known = {row.variable for row in rows}
    for name in variables:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else "dm-fhir map show lists all"
            raise ConfigError(f"no row{' of this kind' if kinds else ''} has the variable '{name}'", hint=hint)
    return [row for row in rows if not variables or row.variable in variables]


def _lines(row: Row) -> Iterator[str]:
    """A row: what it is, its numbers, and each code with who says so and where."""
    yield f"{row.kind} {row.variable}{f' in {row.unit}' if row.unit else ''}{_remark(row)}"
    for name, text in _numbers(row):
        yield f"  {name:<10}{text}"
    for code in row.codes:
        origin = row.code_origins[code.system or "", code.code or ""]
        never = f"  [{origin.status}: read, never written]" if origin.status else ""
        yield f"  {code.system}|{code.code}  {code.display or ''}{never}"
        yield f"            {f'{origin.source}; ' if origin.source else ''}{origin.origin}"
        doses = row.dose_units.get((code.system or "", code.code or ""), {})
        if doses:
            yield f"            {_doses(row, code)}"
    if not row.codes:
        yield f"  no code; {OWN_SYSTEM}|{own_code(row.variable)} is understood; {row.origin}"


def _remark(row: Row) -> str:
    said = {
        ", recognised in order to be left out": row.excluded,
        ", a panel": row.panel,
        ", a coded result": row.answers,
        ", a diagnosis of the disease": row.diagnosis,
        f", subtype {row.subtype}": row.subtype,
        ", a bare number is in this unit": row.unitless,
    }
    return "".join(text for text, holds in said.items() if holds)


def _numbers(row: Row) -> Iterator[tuple[str, str]]:
    if row.units:
        yield "units", _units(row.units)
    if row.assumed_units:
        yield "assumed", f"{_units(row.assumed_units)} (flagged)"
    if row.range:
        yield "range", f"{_bounds(row.range)} (outside: not used)"
    if row.plausible:
        yield "plausible", f"{_bounds(row.plausible)} (outside: flagged)"
    if row.scale:
        yield "scale", str(row.scale)
    if row.label_dose_mg is not None:
        yield "label", f"{to_text(row.label_dose_mg)} mg"


def _units(units: Mapping[str, Fraction]) -> str:
    return ", ".join(f"{unit} x {to_text(factor)}" for unit, factor in units.items())


def _bounds(bounds: Bounds) -> str:
    low = to_text(bounds.low)
    return f"{low} to {to_text(bounds.high)}" if bounds.high is not None else f"from {low}"


def _doses(row: Row, code: Coding) -> str:
    doses = row.dose_units[code.system or "", code.code or ""].items()
    most = {unit: f", up to {to_text(dose.most)} {unit}" if dose.most is not None else "" for unit, dose in doses}
    return "; ".join(f"1 {unit} = {to_text(dose.mg)} mg{most[unit]}" for unit, dose in doses)


def _closing(rows: Iterable[Row], site_name: str | None) -> str:
    rows = list(rows)
    count = sum(len(row.codes) for row in rows)
    whose = f"as they hold at {site_name}" if site_name else "as shipped"
    return f"map show: {len(rows)} row{'s' * (len(rows) != 1)}, {count} codes, {whose}; exit 0 (complete)"


def _for_machines(row: Row) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "variable": row.variable,
        "own_code": own_code(row.variable),
        "excluded": row.excluded,
        "unit": row.unit,
        "units": {unit: to_text(factor) for unit, factor in row.units.items()},
        "assumed_units": {unit: to_text(factor) for unit, factor in row.assumed_units.items()},
        "unitless": row.unitless,
        "range": _ends(row.range),
        "plausible": _ends(row.plausible),
        "scale": row.scale,
        "answers": row.answers,
        "panel": row.panel,
        "diagnosis": row.diagnosis,
        "subtype": row.subtype,
        "label_dose_mg": to_text(row.label_dose_mg) if row.label_dose_mg is not None else None,
        "origin": row.origin,
        "codes": [_code(row, code) for code in row.codes],
    }


def _ends(bounds: Bounds | None) -> list[str] | None:
    """Both ends; the lower alone where there is no upper."""
    return [to_text(end) for end in bounds if end is not None] if bounds else None


def _code(row: Row, code: Coding) -> dict[str, Any]:
    key = (code.system or "", code.code or "")
    doses = {
        unit: {"mg": to_text(dose.mg), "most": to_text(dose.most) if dose.most is not None else None}
        for unit, dose in row.dose_units.get(key, {}).items()
    }
    named = {"system": code.system, "code": code.code, "display": code.display}
    return {**named, **row.code_origins[key]._asdict(), "dose_units": doses}


def _show_fhir(tables: Tables, sites: Sequence[object], output: Path | None, *, as_json: bool) -> int:
    from dm_fhir.mappings.terminology import bundle, resources

    found = resources(tables)
    if output is None:
        click.echo(json.dumps(bundle(found), ensure_ascii=False, indent=2))
        return 0
    written = [_written(output, one) for one in found]
    if as_json:
        click.echo(document("map", sites, 0, written=[str(path) for path in written], remarks=tables.remarks))
        return 0
    click.echo("\n".join(map(str, written)))
    click.echo(f"map show: {len(written)} FHIR resources written to {output}; exit 0 (complete)")
    return 0


def _written(folder: Path, resource: Mapping[str, Any]) -> Path:
    path = folder / f"{resource['resourceType']}-{resource['id']}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(resource, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    return path
