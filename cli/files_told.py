"""What a pull of files came to, as lines for people and as keys for machines."""

from typing import TYPE_CHECKING, Any

from dm_fhir.cli.reporter import capped, counted, number_of
from dm_fhir.cli.study import Run

if TYPE_CHECKING:
    from dm_fhir.fhir.listing import PassedOver
    from dm_fhir.sync.files import Taken

#: Why resources that were read are not in the store, in words.
_NOT_KEPT = {
    "not_in_cohort": "of nobody in the cohort",
    "not_mapped": "that the tables do not know",
    "own_outcome": "written by this program",
    "set_aside": "that cannot be used",
}


def file_lines(site: str, taken: "Taken", passed_over: "list[PassedOver]") -> list[str]:
    """What was read, kept and passed over, and what is to be known of it."""
    before = f", {taken.complete} of them complete before and not read again" if taken.complete else ""
    kept, not_kept = taken.kept.total(), [f"{n} {_NOT_KEPT[name]}" for name, n in taken.not_kept.items()]
    lines = [
        f"{site}: {number_of(taken.patients, 'patient')} in the cohort",
        *(f"  line {one.line} of the list: {one.state}" for one in taken.named if one.patient is None),
        f"  files: {taken.files}{before}",
        f"  read {counted(dict(sorted(taken.types.items()))) or 'nothing'}",
        f"  kept {kept}{f': {counted(taken.kept)}' if kept else ''}",
    ]
    if not_kept:
        lines.append(f"  not kept: {', '.join(not_kept)}")
    if taken.without_patient:
        lines.append(f"  in the cohort, but without a Patient resource: {number_of(taken.without_patient, 'patient')}")
    if taken.gone:
        lines.append(f"  in none of the files: {number_of(taken.gone, 'Medication')} that records refer to")
    lines += [
        f"  of another type than its file is named for, read all the same: {place}" for place in taken.other_types
    ]
    over = capped(passed_over, lambda one: f"  passed over, {one.why}: {one.path}", "passed over", "pull --json")
    return lines + over


def file_details(site: str, taken: "Taken", passed_over: "list[PassedOver]") -> dict[str, Any]:
    """The same for machines."""
    return {
        "cohort": {site: taken.patients},
        "without_patient_resource": taken.without_patient,
        **({"listed": {site: [line._asdict() for line in taken.named]}} if taken.named else {}),
        "files": {"found": taken.files, "complete_before": taken.complete},
        "lines_read": taken.lines,
        "read": dict(sorted(taken.types.items())),
        "kept": taken.kept,
        "not_kept": taken.not_kept,
        "other_types": taken.other_types,
        "missing_medications": taken.gone,
        "passed_over": [one._asdict() for one in passed_over],
    }


def warn_of_files(run: Run, site: str, taken: "Taken") -> None:
    """Warn where nobody was found, or somebody new whom earlier files were not searched for."""
    voice, study = run.study.voice, run.study
    by = study.config.site(site).cohort.by
    if taken.complete == taken.files > 0:
        voice.say("all files are complete and were not read again; --full reads them", "files_complete", site)
    if taken.unsearched:
        voice.warn(
            f"somebody has joined the cohort, and {number_of(taken.unsearched, 'file')} of earlier pulls were not searched for "
            "them: name those files too, with --from",
            "files_not_searched", site,
        )  # fmt: skip
    if taken.patients:
        return
    if by == "medication":
        codes = len(run.work.mappers[site].drug_codes())
        shown = taken.shown
        voice.warn(
            f"nobody was given {study.config.drug}, by any of the {codes} codes that the tables know: the files hold "
            f"{number_of(shown['MedicationAdministration'], 'MedicationAdministration')} and "
            f"{number_of(shown['Medication'], 'Medication')}; if somebody was, add the hospital's own code in a table of the "
            f"site (see docs/mapping.md); everybody in the files is the cohort with [site.cohort] by = \"everybody\"",
            "cohort_empty", site,
        )  # fmt: skip
    elif by == "condition":
        codes = len(run.work.mappers[site].disease_codes())
        voice.warn(
            f"nobody has the disease, by any of the {codes} codes that the tables know: the files hold "
            f"{number_of(taken.shown['Condition'], 'Condition')}",
            "cohort_empty", site,
        )  # fmt: skip
    else:
        voice.warn("nobody is in the cohort", "cohort_empty", site)
