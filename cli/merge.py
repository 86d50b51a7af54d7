"""dm-fhir merge: the case series of many sites into one."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dm_fhir.cli.private_file import STANDARD_OUTPUT, private_file
from dm_fhir.cli.reporter import document, number_of
from dm_fhir.cli.study import json_option
from dm_fhir.cli.voice import Voice

if TYPE_CHECKING:
    from dm_fhir.report.merged import Document, Merged


@click.command("merge")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to; - is standard output.")
@click.option("--title", metavar="TEXT", help="The title of the merged series; without it that of the first file.")
@click.option(
    "--allow-differences",
    is_flag=True,
    help="Merge also where definitions or versions of rules differ, and record how.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context, files: tuple[str, ...], output: str, title: str | None, allow_differences: bool, as_json: bool
) -> int:
    """Case series of many sites (the json of dm-fhir export) into one document. Needs no config.

    Study drug, pseudonyms, the way of dates, definitions and versions of rules must be the same. The same case in two files is
    kept once; a person at two sites keeps both cases and is named. Reports and tables: report --from, export --from.

    \b
    Examples:
      dm-fhir merge leon.json madrid.json -o all-sites.json
      dm-fhir merge sites/*.json --title "Anifrolumab, 20 hospitals" -o all-sites.json
    """
    from dm_fhir.export.document import write_document
    from dm_fhir.report.documents import read_documents
    from dm_fhir.report.merged import merged

    if output == STANDARD_OUTPUT and as_json:
        raise click.UsageError("--json is about the merge, which would go to standard output too: name --output FILE")
    documents = read_documents(files)
    found = merged(documents, title=title, allow_differences=allow_differences)
    with private_file(output) as file:
        write_document(file, found.series, found.series.cases)
    if as_json:
        click.echo(document("merge", _sites(found), 0, **_for_machines(documents, found, output)))
    else:
        voice: Voice = ctx.obj[1]
        for line in _lines(documents, found, output):
            voice.say(line)
    return 0


def _sites(found: "Merged") -> list[dict[str, object]]:
    cases = Counter(case.site for case in found.series.cases)
    return [
        {"site": site, "cases": cases[site], "complete_until": until}
        for site, until in found.series.complete_until.items()
    ]


def _for_machines(documents: "Sequence[Document]", found: "Merged", output: str) -> dict[str, Any]:
    files = [
        {"file": one.file, "cases": len(one.series.cases), "sites": sorted(one.series.complete_until), "written_by": one.series.written_by}
        for one in documents
    ]  # fmt: skip
    persons = [{"person": person, "cases": names} for person, names in found.persons.items()]
    return {
        "output": output,
        "files": files,
        "cases": len(found.series.cases),
        "repeated": found.repeated,
        "persons": persons,
        "without_person": _without_person(found),
        "differences": found.series.differences,
    }


def _lines(documents: "Sequence[Document]", found: "Merged", output: str) -> list[str]:
    titles = {one.series.title for one in documents}
    to = "" if output == STANDARD_OUTPUT else f" to {Path(output)}"
    without = _without_person(found)
    return [
        *(f"{one.file}: {number_of(len(one.series.cases), 'case')} of {', '.join(sorted(one.series.complete_until))}" for one in documents),
        *([f"the titles differ; kept: {found.series.title}"] if len(titles) > 1 else []),
        *([f"{number_of(found.repeated, 'case')} in several files, the same in each: kept once"] if found.repeated else []),
        *(f"difference: {text}" for text in found.series.differences),
        *(f"one person, several cases, all kept: {' and '.join(names)}" for names in found.persons.values()),
        *([f"{number_of(without, 'case')} without a person: whether they are at another site too is not known"] if without else []),
        f"merged {number_of(len(found.series.cases), 'case')} of {number_of(len(found.series.complete_until), 'site')}{to}",
    ]  # fmt: skip


def _without_person(found: "Merged") -> int:
    return sum(case.person is None for case in found.series.cases)
