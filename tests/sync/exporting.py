"""A hospital that exports, and a study of it that is pulled by exports."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..bulk.server import BulkServer
from ..ran import Ran
from .mocked import Study, cdasi, new_study, person, treated

Json = dict[str, Any]
#: Somebody who was never given the drug.
STRANGER = [person("stranger"), cdasi("stranger-1", "stranger", "2026-01-04", 21)]


class Exporting(NamedTuple):
    """The server, and the study."""

    server: BulkServer
    study: Study

    def pull(self, *options: str, command: str = "pull") -> Ran:
        """Type `dm-fhir pull`; what the server was asked before is forgotten."""
        self.server.log.clear()
        return self.study.type(command, *options)

    def units(self, *, all_of_them: bool = False) -> dict[str, tuple[str, str | None]]:
        """State and reason of each unit that is not complete, by its query."""
        rows = self.study.ask("SELECT query, state, reason FROM unit ORDER BY query")
        return {query: (state, reason) for query, state, reason in rows if all_of_them or state != "complete"}

    def held(self) -> set[str]:
        """What the store holds and the hospital has not deleted, as references."""
        return {f"{kind}/{id_}" for kind, id_ in self.study.ask("SELECT type, id FROM resource WHERE deleted IS NULL")}

    def members(self) -> list[str]:
        rows = self.study.ask("SELECT patient FROM cohort_member WHERE gone IS NULL ORDER BY patient")
        return [patient.removeprefix("Patient/") for (patient,) in rows]

    def since(self) -> list[str]:
        """The `_since` of every job so far, "" where there was none."""
        return [dict(job.asked).get("_since", "") for job in self.server.jobs]

    def watermarks(self) -> dict[str, str | None]:
        return dict(self.study.ask("SELECT query, watermark FROM unit WHERE query LIKE 'bulk: %'"))

    def spool(self) -> list[Path]:
        """What lies beside the store of its exports."""
        return sorted(self.study.config.parent.glob("dm-fhir.sqlite.bulk/**/*"))

    def configure(self, before: str, after: str) -> None:
        """Change the config."""
        text = self.study.config.read_text(encoding="utf-8")
        assert before in text
        self.study.config.write_text(text.replace(before, after), encoding="utf-8")


@contextmanager
def exporting(folder: Path, resources: list[Json], *, pull: str = "", more: str = "") -> Iterator[Exporting]:
    """`pull` goes into [site.pull], `more` behind the site's last table."""
    with BulkServer(resources) as server:
        study = new_study(
            folder, {"leon": server.endpoint}, push=f"enabled = false\n{more}", more=f'mode = "bulk"\n{pull}'
        )
        yield Exporting(server, study)
        assert server.errors == []


def two_and_a_stranger() -> list[Json]:
    return [*treated("a", "b"), *STRANGER]


def case_series(study: Study) -> Json:
    """What the study exports, without what says when and from where it was read."""
    found = study.type("export", "--format", "json", "-o", "-")
    assert found.code == 0, found.err
    document: Json = json.loads(found.out)
    return document
