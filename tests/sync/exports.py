"""Folders of FHIR files as hospitals export them, and what a pull of them leaves in the store."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from dm_fhir.config import Cohort, Config, Site, load_config
from dm_fhir.mappings.site import site_mapper
from dm_fhir.store.database import open_store
from dm_fhir.store.ledger import begin_run, units
from dm_fhir.sync.files import Taken, pull_files
from dm_fhir.sync.scan.piece import Piece
from dm_fhir.sync.scan.questions import Question
from dm_fhir.sync.scan.runners import Runner, in_turn
from dm_fhir.sync.scan.scanned import Scanned

from ..servers.records import DRUG, Json, ck, infusion, person, record

STUDY = """
[study]
title = "Files"
drug = "anifrolumab"

[[site]]
name = "leon"
"""
DISEASE = {"coding": [{"system": "http://snomed.info/sct", "code": "396230008"}]}
ASPIRIN = {"coding": [{"system": "http://www.whocc.no/atc", "code": "N02BA01"}]}


def write(path: Path, *resources: Json) -> Path:
    """NDJSON of these resources."""
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in resources))
    return path


def by_reference(name: str, patient: str, medication: str) -> Json:
    """An infusion that only refers to what was given."""
    return infusion(name, patient, medicationReference={"reference": medication})


def medication(name: str, concept: Json = DRUG) -> Json:
    """A Medication."""
    return {"resourceType": "Medication", "id": name, "code": concept}


def condition(name: str, patient: str, concept: Json = DISEASE) -> Json:
    """A diagnosis."""
    return record("Condition", name, patient, code=concept)


def export(folder: Path) -> Path:
    """Six patients of whom `code` was given the drug by its code, `ref` by a Medication; a file for each type."""
    names = ("code", "ref", "other1", "other2", "other3", "other4")
    write(folder / "Patient.ndjson", *map(person, names))
    write(folder / "Medication.000.ndjson", medication("drug"), medication("aspirin", ASPIRIN))
    write(
        folder / "MedicationAdministration.ndjson",
        infusion("i1", "code"),
        by_reference("i2", "ref", "Medication/drug"),
        by_reference("i3", "other1", "Medication/aspirin"),
        infusion("i4", "other2", medicationCodeableConcept=ASPIRIN),
    )
    write(folder / "Observation.ndjson", *(ck(f"ck-{name}", name) for name in names))
    write(folder / "Encounter.ndjson", *(record("Encounter", f"e-{name}", name) for name in names))
    return folder


class Pulls:
    """Pulls of files into the store of a study with one site, and which sources each pass of the last one has read."""

    def __init__(self, folder: Path, cohort: Cohort, scope: str = "mapped", tables: str = "") -> None:
        config = folder / "dm-fhir.toml"
        config.write_text(STUDY + tables)
        self.config: Config = load_config(config)
        site = self.config.site("leon")
        self.site: Site = replace(site, cohort=cohort, pull=replace(site.pull, scope=scope))
        self.mapper = site_mapper(self.config, self.site)
        self.db: sqlite3.Connection = open_store(folder / "study.sqlite", "anifrolumab")
        self.asked: list[tuple[str, list[str]]] = []

    def __call__(self, *paths: Path | str, runner: Runner = in_turn, full: bool = False) -> Taken:
        """Pull these files."""
        self.asked = []
        return pull_files(
            self.db, self.site, [str(path) for path in paths], self.mapper, begin_run(self.db, "pull"), lambda *_: None,
            self._noting(runner) if runner is not in_turn else self._in_turn, full=full,
        )[0]  # fmt: skip

    def _in_turn(self, pieces: Sequence[Piece], question: Question) -> Iterator[Scanned]:
        return self._noting(in_turn)(pieces, question)

    def _noting(self, runner: Runner) -> Runner:
        def noting(pieces: Sequence[Piece], question: Question) -> Iterator[Scanned]:
            names = dict.fromkeys(Path(piece.source.path).name for piece in pieces)
            by = " by Medication" if getattr(question, "medications", None) else ""
            self.asked.append((f"{type(question).__name__}{by}", list(names)))
            return runner(pieces, question)

        return noting

    def stored(self) -> set[str]:
        """What is in the store, by reference."""
        return {f"{kind}/{id_}" for kind, id_ in self.db.execute("SELECT type, id FROM resource")}

    def states(self) -> dict[str, str]:
        """The ledger's rows: state and reason by query, with file names for paths."""
        return {
            _short(unit.query): unit.state + (f" ({unit.reason})" if unit.reason else "")
            for unit in units(self.db, "leon")
        }

    def notes(self, name: str) -> dict[str, int]:
        """The notes of the row with this short name."""
        return next(unit.notes for unit in units(self.db, "leon") if _short(unit.query) == name)

    def members(self) -> list[str]:
        """The cohort."""
        return [row[0] for row in self.db.execute("SELECT patient FROM cohort_member WHERE gone IS NULL ORDER BY 1")]


def _short(query: str) -> str:
    head, file, path = query.partition("file: ")
    return f"{head}{file}{Path(path).name}" if file else query


Pulling = Callable[..., Pulls]
