"""dm-fhir explain: the way of one number, from outcome back to resource and table row."""

from typing import TYPE_CHECKING, Any, NamedTuple

import click

from dm_fhir.cli.explain_lines import case_lines, left_out_lines, outcome_lines, record_lines
from dm_fhir.cli.push_ledger import details, where
from dm_fhir.cli.reporter import document
from dm_fhir.cli.study import Study, json_option, note_look, opened, site_option
from dm_fhir.errors import ConfigError

if TYPE_CHECKING:
    from dm_fhir.mappings.conversion import HowRead
    from dm_fhir.mappings.medication import Medications
    from dm_fhir.mappings.site import SiteMapper
    from dm_fhir.model.case import Case, Outcome
    from dm_fhir.report.places import Part
    from dm_fhir.report.walk import Walker
    from dm_fhir.store.pushes import Written


@click.command("explain")
@click.argument("case")
@click.argument("value", required=False)
@site_option
@json_option
@click.pass_context
def command(ctx: click.Context, case: str, value: str | None, sites: tuple[str, ...], as_json: bool) -> int:
    """The way of one value: rule, inputs, what was recorded, table row, conversion, version of the record, run and query.

    CASE is `Patient/7`, `leon:Patient/7`, or the pseudonym in an exported document. VALUE is an outcome (`ck_baseline`,
    `ck_improvement@Observation/9`) or a record (`Observation/9`); without it the case's values are listed. It shows one
    patient's values, but neither name nor date of birth. Reads the store only.

    \b
    Examples:
      dm-fhir explain leon:Patient/7
      dm-fhir explain leon:Patient/7 ck_baseline
      dm-fhir explain leon:Patient/7 tis@week_12
      dm-fhir explain Patient/7 ck_improvement@Observation/9 --json
      dm-fhir explain Patient/7 Observation/9
    """
    with opened(ctx, sites) as study:
        found, lines = _explained(study, case, value)
    if as_json:
        click.echo(document("explain", [found], 0))
    else:
        click.echo("\n".join(lines))
    return 0


class _Means(NamedTuple):
    """What the case is read with."""

    mapper: "SiteMapper"
    medications: "Medications"
    walker: "Walker"


def _explained(study: Study, name: str, value: str | None) -> tuple[dict[str, Any], list[str]]:
    """The explanation for machines, and for people."""
    from dm_fhir.report.naming import find_case, find_outcome
    from dm_fhir.report.walk import explain_outcome

    site, case = find_case(study.db, study.config, [site.name for site in study.sites], name)
    note_look(study, "explain", [site], patient=case.id, reference=value or "")
    means = _means(study, site, case)
    stale = _stale(study, means.mapper, site, case)
    head: dict[str, Any] = {"site": site, "case": case.id, "stale": stale}
    title = f"{site}: {case.id}"
    warning = [f"  not up to date: {stale} since this was computed; dm-fhir compute"] if stale else []
    if value is None:
        return {**head, **_listed(case)}, [title, *warning, *case_lines(case)]
    called = _called(study, site, case, value)
    if "/" in value.partition("@")[0]:
        found, lines = _record(study, means, called.get(value, value))
        return {**head, **found}, [title, *warning, *lines]
    chosen = find_outcome(case, value, called)
    outcome, written = explain_outcome(means.walker, chosen), _written(study, means.mapper, site, case, chosen)
    on_server = [f"    on server  {where(written)} ({written.state})"] if written else []
    lines = outcome_lines(outcome)
    return (
        {**head, "outcome": outcome, "written": details(written) if written else None},
        [title, *warning, lines[0], *on_server, *lines[1:]],
    )


def _written(study: Study, mapper: "SiteMapper", site: str, case: "Case", outcome: "Outcome") -> "Written | None":
    """Where the outcome is on the server; None if it was never pushed."""
    from dm_fhir.store.pushes import written_of

    about = outcome.about or outcome.visit or ""
    return written_of(study.db, site, mapper.identifier(case.id, outcome.variable, about))


def _means(study: Study, site: str, case: "Case") -> _Means:
    from dm_fhir.mappings.site import site_mapper
    from dm_fhir.report.walk import Walker
    from dm_fhir.store.resources import resources_of_type

    mapper = site_mapper(study.config, study.config.site(site))
    medications = mapper.medications(resources_of_type(study.db, site, "Medication"))
    walker = Walker(study.db, site, case, lambda part: _how(part, mapper), study.config.definitions)
    return _Means(mapper, medications, walker)


def _how(part: "Part", mapper: "SiteMapper") -> "tuple[HowRead, ...]":
    from dm_fhir.mappings.conversion import how_coded, how_given, how_judged, how_measured, how_taken
    from dm_fhir.model.case import Administration, AdverseEvent, Measured, Therapy
    from dm_fhir.report.places import Taken

    match part:
        case Measured():
            return how_measured(part, mapper.tables)
        case Administration():
            return how_given(part, mapper.tables)
        case Therapy():
            return how_coded("medication", part.medication, mapper.tables)
        case Taken():
            return how_taken(part.therapy, part.dosing, mapper.tables)
        case AdverseEvent():
            return how_judged(part, mapper.tables)
    return how_coded("condition", part.concept, mapper.tables)


def _stale(study: Study, mapper: "SiteMapper", site: str, case: "Case") -> str | None:
    """What has changed since the case was computed; None if nothing has."""
    from dm_fhir.store.cases import fingerprints
    from dm_fhir.sync.persons import Persons, cohort, why_changed

    before = fingerprints(study.db, site).get(case.id)
    now = Persons(study.db, site, mapper, cohort(study.db, site)).fingerprint(case.id)
    return why_changed(before, now) if before != now else None


def _called(study: Study, site: str, case: "Case", value: str) -> dict[str, str]:
    """The case's references by their pseudonyms, where `value` may be or hold one."""
    from dm_fhir.report.naming import by_pseudonym, may_be_pseudonym
    from dm_fhir.report.series import pseudonym_key
    from dm_fhir.report.walk import places_of

    if not may_be_pseudonym(value.partition("@")[2] or value):
        return {}
    return by_pseudonym(pseudonym_key(study.db, study.config), site, places_of(case))


def _listed(case: "Case") -> dict[str, Any]:
    from dm_fhir.report.walk import listed_outcomes, listed_values

    return {"outcomes": listed_outcomes(case), "values": listed_values(case)}


def _record(study: Study, means: _Means, reference: str) -> tuple[dict[str, Any], list[str]]:
    """A record: what the case has of it; or why it has nothing."""
    from dm_fhir.mappings.left_out import left_out
    from dm_fhir.model.case import Source
    from dm_fhir.report.walk import explain_record, findings_of, outcomes_of, resource_of
    from dm_fhir.store.history import subject_of
    from dm_fhir.store.resources import Stored, stored_resource

    walker, case = means.walker, means.walker.case
    records = explain_record(walker, reference)
    if records:
        uses, findings = outcomes_of(case, reference), findings_of(case, reference)
        uses_by_name = [{"outcome": name, "role": role} for name, role in uses]
        return (
            {"records": records, "used_by": uses_by_name, "findings": findings},
            record_lines(records, uses, findings),
        )
    whole = reference.partition("#")[0]
    resource = resource_of(walker, Source(walker.site, whole))
    if resource is None:
        raise ConfigError(
            f"the store holds no {whole} of {walker.site}",
            hint=f"what there is: dm-fhir explain {walker.site}:{case.id}",
        )
    type_name, _, id_ = whole.partition("/")
    body = stored_resource(study.db, walker.site, whole)
    record = Stored(type_name, id_, resource.version, resource.last_updated, body) if body is not None else None
    why = left_out(means.mapper, case.id, record, means.medications) if record else None
    subject = subject_of(study.db, walker.site, whole)
    found = {"reference": whole, "subject": subject, "left_out": why, "resource": resource}
    return found, left_out_lines(whole, case.id, subject, why, resource)
