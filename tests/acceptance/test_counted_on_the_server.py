"""After a sync of the four patients: what a hospital's server has that it did not have, counted on the server itself."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.acceptance.conftest import HospitalMaker, StudyMaker


def test_each_current_version_is_the_target_of_one_provenance(
    new_hospital: HospitalMaker, new_study: StudyMaker
) -> None:
    hospital = new_hospital()
    before = {f"Observation/{one['id']}" for one in hospital.search("Observation?_count=1000")}
    study = new_study(hospital)
    assert study.type("sync").code == 0
    ours = hospital.outcomes()
    after = {f"Observation/{one['id']}" for one in hospital.search("Observation?_count=1000")}
    assert after - before == {f"Observation/{one['id']}" for one in ours}
    assert set(Counter(one["identifier"][0]["value"] for one in ours).values()) == {1}
    provenances = hospital.search("Provenance?_count=1000")
    targets = Counter(part["reference"] for one in provenances for part in one["target"])
    assert targets == {f"Observation/{one['id']}/_history/{one['meta']['versionId']}": 1 for one in ours}
