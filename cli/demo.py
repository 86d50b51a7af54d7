"""dm-fhir demo: the whole loop in one command."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import click

from dm_fhir.cli.doctor import examined
from dm_fhir.cli.private_file import PSEUDONYM_KEY, make_pseudonym_key
from dm_fhir.cli.push import result_lines
from dm_fhir.cli.report import said_of, write_report
from dm_fhir.cli.reporter import report
from dm_fhir.cli.study import Study, opened_study, running
from dm_fhir.cli.sync import synced
from dm_fhir.cli.voice import Voice
from dm_fhir.demo import server
from dm_fhir.demo.cohorts import SampleSite, four_patients, twenty_four_patients
from dm_fhir.demo.server import CLIENT_ID, Server, check_installed, choose_ports
from dm_fhir.errors import ConfigError, DmFhirError, worst_exit_code

if TYPE_CHECKING:
    from dm_fhir.demo.figures import Compared
    from dm_fhir.report.sections import Section

_MARK = "demo.json"


class _Paper(NamedTuple):
    """One of the two papers: its folder, its title, its sample sites."""

    name: Literal["four-patients", "twenty-four-patients"]
    title: str
    sites: tuple[SampleSite, ...]


@click.command("demo")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("dm-fhir-demo"))
@click.option(
    "--port",
    type=click.IntRange(1024, 65000),
    help="First of the servers' ports on 127.0.0.1, one per site; free ones if left out.",
)
@click.option("--replace", is_flag=True, help="Begin again where an earlier demo left its folder.")
@click.pass_context
def command(ctx: click.Context, folder: Path, port: int | None, replace: bool) -> int:
    """The whole loop on invented patients: servers, pull, compute, push, a second sync, the papers' sentences.

    Starts the FHIR server sekmet-fhir on loopback, one per site, loads two sample cohorts made to the counts of two
    published case series, and runs on them what a user runs. Leaves configs, stores and reports in DIR
    (default: dm-fhir-demo) and stops what it started.

    \b
    Examples:
      dm-fhir demo
      dm-fhir demo /tmp/try --port 9400
    """
    voice: Voice = ctx.obj[1]
    check_installed()
    papers = _papers()
    sites = [site.name for paper in papers for site in paper.sites]
    ports = choose_ports(len(sites), port)
    _prepare(folder, replace=replace)
    public_key = _public_key(folder)
    with ExitStack() as stack:
        with voice.step(f"started {len(sites)} FHIR servers on 127.0.0.1, one per site"):
            servers = stack.enter_context(server.running(sites, ports, folder / "servers", public_key))
        codes = [_paper(paper, folder, servers, voice) for paper in papers]
    _what_next(folder, papers)
    return worst_exit_code(codes)


def _papers() -> tuple[_Paper, ...]:
    title = "Anifrolumab in {} patients with refractory dermatomyositis"
    return (
        _Paper("four-patients", title.format("four"), four_patients()),
        _Paper("twenty-four-patients", title.format(24), twenty_four_patients()),
    )


def _prepare(folder: Path, *, replace: bool) -> None:
    """An empty folder for the demo. Only a folder that an earlier demo made is ever replaced."""
    is_demo = (folder / _MARK).is_file()
    if folder.exists() and not (is_demo and replace):
        own = "--replace begins again there" if is_demo else "the demo never writes into a folder that is not its own"
        raise ConfigError(f"{folder} exists already", hint=f"name another folder: dm-fhir demo DIR; {own}")
    try:
        if is_demo:
            shutil.rmtree(folder)
        folder.mkdir(parents=True, mode=0o700)
        (folder / _MARK).write_text(json.dumps({"made_by": "dm-fhir demo"}), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be made: {error.strerror or error}") from error


def _public_key(folder: Path) -> Path:
    """Of a new key pair in the folder's `keys`; the configs name the private one beside it."""
    from dm_fhir.fhir.keys import create_key_pair

    (folder / "keys").mkdir(mode=0o700)
    _, public = create_key_pair((folder / "keys").resolve())
    return public


def _paper(paper: _Paper, folder: Path, servers: Sequence[Server], voice: Voice) -> int:
    """One paper's study from its config to its sentences; the worst exit code of its steps."""
    home = folder / paper.name
    home.mkdir(mode=0o700)
    config = home / "dm-fhir.toml"
    endpoints = {server.site: server.endpoint for server in servers}
    config.write_text(_config(paper, endpoints), encoding="utf-8")
    config.chmod(0o600)
    make_pseudonym_key(home / PSEUDONYM_KEY)
    with opened_study(config, voice) as study:
        _load(study, paper)
        with voice.step(f"{paper.name}: connections checked: endpoint, login, each planned search"):
            _check(study)
        code = _first_pass(study, paper)
        code = worst_exit_code([code, _second_sync(study, paper)])
        page = write_report(study, home / "report", [_print_paper(study, paper)])
        click.echo(f"store {study.config.store_path}\nconfig {config}\nreport {page}")
        return code


def _config(paper: _Paper, endpoints: dict[str, str]) -> str:
    head = f'[study]\ntitle = "{paper.title}"\ndrug = "anifrolumab"\ntimezone = "{paper.sites[0].timezone}"\n'
    head += f'pseudonym_key = "file:{PSEUDONYM_KEY}"\n'
    return (
        "# Written by dm-fhir demo. The servers it names ran only while the demo did.\n"
        + head
        + "".join(
            f"""
[[site]]
name = "{site.name}"
endpoint = "{endpoints[site.name]}"

[site.auth]
method = "smart-backend"
client_id = "{CLIENT_ID}"
private_key = "file:../keys/private.pem"
scope = "system/*.read system/*.write"

[site.pull]
whole_types = ["AdverseEvent"]   # this server cannot search them by patient: all are read, the cohort's are kept

[site.push]
enabled = true
unattended = true   # nobody is asked before the first push
"""
            for site in paper.sites
        )
    )


def _load(study: Study, paper: _Paper) -> None:
    from dm_fhir.demo.loading import load
    from dm_fhir.fhir.login import connect

    for sample, site in zip(paper.sites, study.sites, strict=True):
        with (
            study.voice.step(f"{site.name}: {len(sample.resources)} resources of invented patients loaded"),
            connect(site) as connection,
        ):
            load(connection, sample.resources)


def _check(study: Study) -> None:
    sites, code = examined(study.config, study.sites, study.voice)
    failed = [f"{one.site}: {check.what}: {check.said}" for one in sites for check in one.checks if not check.ok]
    if code:
        raise DmFhirError("the demo's servers do not answer as they should: " + "; ".join(failed))


def _first_pass(study: Study, paper: _Paper) -> int:
    """What a user types after `init`: pull, compute, push."""
    from dm_fhir.sync import passes

    voice = study.voice
    with running(study, "demo") as run:
        with voice.step(f"{paper.name}: pulled"):
            cohort = passes.pull(run.work, study.sites)
        with voice.step(f"{paper.name}: computed"):
            passes.compute(run.work, study.sites)
        with voice.step(f"{paper.name}: pushed, each outcome read back and compared"):
            results = passes.push(run.work, study.sites)
        summaries = run.summaries()
        voice.say(
            f"{paper.name}: {sum(one.patients for one in cohort.values())} patients; {'; '.join(result_lines(results))}"
        )
        return report(f"{paper.name}, first pass", summaries, run.exit_code(summaries), as_json=False)


def _second_sync(study: Study, paper: _Paper) -> int:
    """The same again, which must find nothing to do. Raises DmFhirError if it wrote or computed anything."""
    lines, more, _, code = synced(study)
    computed, pushed = more["computed"], more["pushed"]
    mapped = sum(done["mapped"] for done in computed.values())
    written = sum(
        count
        for counts in pushed.values()
        for action, count in counts.items()
        if action not in ("unchanged", "blocked")
    )
    if mapped or written:
        raise DmFhirError(
            f"the second sync computed {mapped} patients and wrote {written} outcomes; it should have found nothing: {lines}"
        )
    click.echo(f"{paper.name}, second sync: nothing to compute, nothing written")
    return code


def _print_paper(study: Study, paper: _Paper) -> "Section":
    """The paper's sentences and figures as computed from what was pulled, the published ones beside them; as a section too."""
    from dm_fhir.demo.figures import compare, comparison
    from dm_fhir.demo.published import published
    from dm_fhir.report.sections import Section

    printed = published(paper.name)
    sentences, tables = said_of(study)
    click.echo(f"\n{paper.title}\n{'computed from what was pulled':<20} / published")
    for sentence in sentences:
        click.echo(f"  {sentence.text}")
        if sentence.missing:
            click.echo(f"    not counted: {sentence.missing}")
        if sentence.id in printed:
            click.echo(f"    published:   {printed[sentence.id]}")
    found = compare(paper.name, {one.id: one.values for one in sentences}, tables)
    _print_comparison(paper, found)
    click.echo()
    return Section("published", "Published and computed", (comparison(paper.name, found),))


def _print_comparison(paper: _Paper, found: "Sequence[Compared]") -> None:
    """Every published figure beside the computed one, and how many are the same."""
    from dm_fhir.demo.figures import NOTE

    click.echo(f"\n{paper.title}\neach figure: published / computed")
    for one in found:
        remark = f" [{one.figure.note}]" if one.figure.note else ""
        click.echo(f"  {one.figure.says}: {one.figure.printed} / {one.computed or '-'}: {one.verdict}{remark}")
    verdicts = Counter(one.verdict for one in found)
    counted = "; ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
    click.echo(f"  {len(found)} figures: {counted}\n  {NOTE}")


def _what_next(folder: Path, papers: Sequence[_Paper]) -> None:
    config = folder / papers[-1].name / "dm-fhir.toml"
    click.echo(
        "The servers are stopped. What is in the stores needs none of them; try\n"
        f"  dm-fhir --config {config} status\n"
        f"  dm-fhir --config {config} export -o case-series.json\n"
        f"  dm-fhir --config {config} push --dry-run\n"
        "and for a study of your own\n"
        "  dm-fhir init"
    )
