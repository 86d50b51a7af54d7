"""The same records by searches, by a bulk export and from files are the same case series, byte for byte."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

from ..bulk.exports import ndjson
from ..bulk.server import BulkServer
from .conftest import HEAD, Study

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.acceptance.conftest import Json

    from dm_fhir.demo.cohorts import SampleSite

SITE = '[[site]]\nname = "baltimore"\nendpoint = "{endpoint}"\n[site.pull]\nscope = "{scope}"\n{mode}\n'
MODES = {
    "search": "",
    "patient": 'mode = "bulk"',
    "system": 'mode = "bulk"\n[site.bulk]\nlevel = "system"',
    "files": "",
}
#: Until when a site is complete is all that differs: a search reaches back ten minutes behind the server's clock, an export is as of
#: a time of its own.
UNTIL = re.compile(rb'(?<="complete_until": )\{[^}]*\}|(?<="complete_until":)\{[^}]*\}')


class Ways(NamedTuple):
    """One hospital, and a study of it for each way in which its records come."""

    server: BulkServer
    studies: dict[str, Study]
    files: Path

    def pull(self, *options: str) -> None:
        """Pull every study in its way."""
        write_files(self.files, list(self.server.held.resources.values()))
        for way, study in self.studies.items():
            source = ["--from", str(self.files)] if way == "files" else list(options)
            ran = study.type("pull", *source)
            assert ran.code == 0, (way, ran.out, ran.err)

    def case_series(self) -> dict[str, bytes]:
        """What each exports."""
        found = {}
        for way, study in self.studies.items():
            assert study.type("compute").code == 0
            path = study.config.with_name("series.json")
            path.unlink(missing_ok=True)
            ran = study.type("export", "--format", "json", "-o", str(path))
            assert ran.code == 0, ran.err
            found[way] = UNTIL.sub(b"{}", path.read_bytes())
        return found


def write_files(folder: Path, resources: Sequence[Json]) -> None:
    """As an export would write them: a file for each type."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for type_name in {one["resourceType"] for one in resources}:
        content, _ = ndjson(one for one in resources if one["resourceType"] == type_name)
        (folder / f"{type_name}.ndjson").write_bytes(content)


@pytest.fixture
def ways(tmp_path: Path, sample: SampleSite, request: pytest.FixtureRequest) -> Iterator[Ways]:
    scope = request.param
    with BulkServer(sample.resources) as server:
        studies = {}
        for way, mode in MODES.items():
            config = tmp_path / way / "dm-fhir.toml"
            config.parent.mkdir()
            site = SITE.format(endpoint=server.endpoint, scope=scope, mode=mode)
            config.write_text(HEAD + site, encoding="utf-8")
            config.with_name("pseudonym.key").touch(mode=0o600)
            config.with_name("pseudonym.key").write_text("the key of every study here", encoding="utf-8")
            studies[way] = Study(config)
        yield Ways(server, studies, tmp_path / "ndjson")
        assert server.errors == []


@pytest.mark.parametrize("ways", ["mapped", "all"], indirect=True)
def test_every_way_gives_the_same_case_series(ways: Ways) -> None:
    ways.pull()
    first = ways.case_series()
    assert len(json.loads(first["search"])["cases"]) == 4
    assert {way for way, series in first.items() if series != first["search"]} == set()

    # What changes later: a value, a record that is deleted, a new record, a patient who comes into the cohort.
    held = ways.server.held
    observations = [one for one in held.resources.values() if one["resourceType"] == "Observation"]
    scores = [one for one in observations if "valueQuantity" in one]
    ways.server.delete(f"Observation/{scores[0]['id']}")
    changed = scores[1] | {"valueQuantity": scores[1]["valueQuantity"] | {"value": 17}}
    held.put(changed)
    held.put(scores[2] | {"id": "one-more", "effectiveDateTime": "2024-06-01"})
    infusion = next(one for one in held.resources.values() if one["resourceType"] == "MedicationAdministration")
    held.put({"resourceType": "Patient", "id": "newcomer", "gender": "female", "birthDate": "1970"})
    held.put(infusion | {"id": "newcomer-inf-1", "subject": {"reference": "Patient/newcomer"}})
    ways.pull()
    for way in ("search", "files"):  # these see what was deleted only when they are asked for everything
        options = ["--full"] if way == "search" else ["--from", str(ways.files), "--full"]
        ways.studies[way].type("pull", *options)
    second = ways.case_series()
    assert len(json.loads(second["search"])["cases"]) == 5
    without_files = {way: series for way, series in second.items() if way != "files"}
    assert {way for way, series in without_files.items() if series != second["search"]} == set()
    assert second["search"] != first["search"]
