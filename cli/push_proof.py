"""What the servers really hold of what was written to them: read back, compared, and looked through for copies."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dm_fhir.cli.push_plan import trouble_lines
from dm_fhir.cli.reporter import capped, counted, number_of, report
from dm_fhir.cli.study import Study, running

if TYPE_CHECKING:
    from dm_fhir.sync.push.repair import Copies
    from dm_fhir.sync.push.verify import Verified

#: What is there, but not as it was written, somebody has changed; what could not be read is to be read again.
_CODES = {"differs": 7, "gone": 7, "twice": 7, "unknown": 3}


def verified(study: Study, sample: int | None, *, as_json: bool) -> int:
    """Read back what was written and compare. It is a run, since it reads patients' records, and it writes nothing."""
    from dm_fhir.sync import passes

    with running(study, "push --verify", ()) as run:
        sites = [site for site in study.sites if site.endpoint]
        found = passes.verify(run.work, sites, sample)
        run.found.extend(_CODES.get(kind, 0) for one in found.values() for kind, count in one.counts.items() if count)
        summaries = run.summaries()
        code = run.exit_code(summaries)
        details = {site: one._asdict() for site, one in found.items()}
        return report("push", summaries, code, as_json=as_json, lines=_verified_lines(found), verified=details)


def to_repair(study: Study, *, as_json: bool) -> int:
    """The results that a server holds several times, and which copy would stay. It reads, and writes nothing."""
    from dm_fhir.sync import passes

    with running(study, "push --repair --dry-run", ()) as run:
        found = passes.copies(run.work, [site for site in study.sites if site.endpoint])
        summaries = run.summaries()
        code = run.exit_code(summaries)
        lines = [line for site, several in found.items() for line in _copies_lines(site, several)]
        details = {site: list(map(_copies_details, several)) for site, several in found.items()}
        lines.append("dry run: nothing was sent")
        return report("push", summaries, code, as_json=as_json, lines=lines, copies=details, dry_run=True)


def _verified_lines(found: "Mapping[str, Verified]") -> list[str]:
    lines = []
    for site, one in found.items():
        lines.append(f"{site}: read back: {counted(one.counts) or 'nothing was written'}")
        lines += trouble_lines(one.troubles, "with --json")
    return lines


def _copies_lines(site: str, several: "Sequence[Copies]") -> list[str]:
    lines = [f"{site}: {number_of(len(several), 'result')} with copies"]
    return lines + capped(several, _copies_line, "results with copies", "with --json")


def _copies_line(one: "Copies") -> str:
    others = ", ".join(copy.reference for copy in one.others)
    return f"  {one.variable} of {one.patient}: {one.kept.reference} stays; entered-in-error: {others}"


def _copies_details(one: "Copies") -> dict[str, Any]:
    return {
        "identifier": one.name.partition("|")[2], "patient": one.patient, "variable": one.variable,
        "stays": one.kept.reference, "others": [copy.reference for copy in one.others],
    }  # fmt: skip
