"""dm-fhir validate: every fault of a file, with its line."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from dm_fhir.cli.completion import site_names
from dm_fhir.cli.fault import FHIR_RESOURCES, MISSING, PASSED_OVER, UNRECOGNISED, Looked, Told, error
from dm_fhir.cli.reporter import document, number_of
from dm_fhir.cli.study import json_option
from dm_fhir.config import load_config
from dm_fhir.errors import worst_exit_code

_MEANING = {0: "valid", 1: "mend what is named above", 2: "a path does not exist"}


@click.command("validate")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "--site",
    metavar="NAME",
    help="Look at FHIR resources with this site's tables and time zone.",
    shell_complete=site_names,
)
@json_option
@click.pass_context
def command(ctx: click.Context, files: tuple[str, ...], site: str | None, as_json: bool) -> int:
    """Every fault of FHIR resources, case series, mapping tables and configs, with file, line and path; no values.

    What a file is, is told by what is in it; in a folder, whatever is nothing of this is passed over. No config is needed
    without --site. Exit code 1 if there is a fault.

    \b
    Examples:
      dm-fhir validate export/*.ndjson.gz
      dm-fhir validate dm-fhir.toml tables/leon.toml
      dm-fhir validate --site leon --json observations.ndjson
    """
    from dm_fhir.cli.file_faults import check_file
    from dm_fhir.mappings.codes import load_tables

    chosen = load_config(ctx.obj[0]).site(site) if site else None
    tables, timezone = load_tables(chosen.tables if chosen else ()), chosen.timezone if chosen else "UTC"
    looked = []
    for file, is_named in _files(files):
        one = check_file(file, tables, timezone) if file.exists() else _missing(file)
        looked.append(one if is_named or one.kind != UNRECOGNISED else one._replace(kind=PASSED_OVER, faults=[]))
        if not as_json:
            click.echo("\n".join(_lines(looked[-1])))
    code = worst_exit_code(map(_exit_code, looked))
    if as_json:
        click.echo(document("validate", [], code, files=[_for_machines(one) for one in looked]))
    else:
        click.echo(_closing_line(looked, code))
    return code


def _files(names: Sequence[str]) -> Iterator[tuple[Path, bool]]:
    """Each file once, and whether it was named by itself and not by its folder."""
    for path in map(Path, dict.fromkeys(names)):
        if path.is_dir():
            yield from ((file, False) for file in sorted(path.rglob("*")) if file.is_file())
        else:
            yield path, True


def _missing(file: Path) -> Looked:
    return Looked(str(file), MISSING, [error("does not exist")])


def _exit_code(one: Looked) -> int:
    return 2 if one.kind == MISSING else 1 if _faults(one) else 0


def _faults(one: Looked) -> list[Told]:
    """Those that are more than worth knowing."""
    return [fault for fault in one.faults if fault.severity != "information"]


def _for_machines(one: Looked) -> dict[str, object]:
    return one._asdict() | {"faults": [fault._asdict() for fault in one.faults]}


def _lines(one: Looked) -> list[str]:
    """Every fault in a line, as editors read it; then the file, and what is no fault."""
    remarks = len(one.faults) - len(_faults(one))
    told = [
        one.kind,
        *([number_of(one.resources, "resource")] if one.kind == FHIR_RESOURCES else []),
        *([number_of(len(_faults(one)), "fault")] if one.kind not in (PASSED_OVER, MISSING) else []),
        *([number_of(remarks, "remark")] if remarks else []),
    ]
    return [
        *(_line(one.file, fault) for fault in one.faults),
        f"{one.file}: {', '.join(told)}",
        *(f"  {count} x {note}" for note, count in one.notes.items()),
    ]


def _line(file: str, fault: Told) -> str:
    whose = " ".join(part for part in (fault.reference, fault.path) if part)
    place = f"{file}:{fault.line}" if fault.line else file
    return f"{place}: {fault.severity}: {f'{whose}: ' if whose else ''}{fault.message}{f' [{fault.code}]' if fault.code else ''}"


def _closing_line(looked: Sequence[Looked], code: int) -> str:
    counts = (
        number_of(len(looked), "file"),
        number_of(sum(one.resources for one in looked), "resource"),
        number_of(sum(len(_faults(one)) for one in looked), "fault"),
    )
    return f"validate: {', '.join(counts)}; exit {code} ({_MEANING[code]})"
