"""Pulls of hostile folders come to what a slow and obvious reading of the same lines comes to."""

import gzip
import io
import json
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from dm_fhir.config import Cohort
from dm_fhir.store.quarantine import quarantined
from dm_fhir.store.resources import stored_resource
from dm_fhir.sync.scan import lines, piece, scanned
from dm_fhir.sync.scan.runners import on_this_machine

from ..servers.records import DRUG
from .exports import ASPIRIN, Pulls
from .oracle import Json, expected

_PATIENTS = [f"p{number}" for number in range(12)]
_FILES = (
    "Observation.ndjson",
    "MedicationAdministration.1.ndjson",
    "a.ndjson",
    "Patient.ndjson",
    "Medication.ndjson",
    "z.jsonl",
)
#: Lines that are no resource, whatever stands around them.
_BAD: tuple[bytes, ...] = (
    b"{", b"null", b"7", b"[]", b'{"resourceType":"Patient"}', b'{"id":"x1"}', b'{"resourceType":"Patient","id":7}',
    b'{"resourceType":"","id":"x"}', b'{"resourceType":"Observation","id":"nan","valueQuantity":{"value":NaN}}',
    b'{"resourceType":"Observation","id":"utf","note":"\xff"}', b'{"resourceType":"Patient","id":"a"}{"resourceType":"Patient","id":"b"}',
    b'{"resourceType":"Patient","id":"a"},{"resourceType":"Patient","id":"b"}', b'{"resourceType":["Patient"],"id":"x"}',
    b'{"resourceType":"Observation","id":"half","subj',
)  # fmt: skip


class Hostile:
    """A folder that a seed has made up: whatever a hospital could write, in whichever file."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311  # the same folder for the same seed
        self.files: dict[str, bytes] = {}
        every = [self._written(one) for one in self._resources()]
        every += self.dice.choices(_BAD, k=self.dice.randrange(6))
        every += self.dice.choices((b"", b"   ", b"\r"), k=self.dice.randrange(5))
        self.dice.shuffle(every)
        parts: dict[str, list[bytes]] = {name: [] for name in _FILES}
        for line in every:
            parts[self.dice.choice(_FILES)].append(line)
        for name, some in parts.items():
            end = self.dice.choice((b"\n", b"\n", b"\r\n"))
            content = end.join(some) + (end if self.dice.random() < 0.7 else b"")
            whole = not some or some[-1].strip() not in _BAD
            content = content if whole else content.removesuffix(end) + end  # half a last line is another matter
            self.files[name] = (b"\xef\xbb\xbf" if self.dice.random() < 0.2 else b"") + content

    def _resources(self) -> list[Json]:
        dice = self.dice
        found: list[Json] = [{"resourceType": "Patient", "id": name} for name in _PATIENTS if dice.random() < 0.9]
        for one in found:
            if dice.random() < 0.2:
                other = self._said(f"Patient/{dice.choice(_PATIENTS)}")
                one["link"] = [{"type": dice.choice(("replaced-by", "replaces")), "other": {"reference": other}}]
        for number, concept in enumerate((DRUG, DRUG, ASPIRIN)):
            found.append({"resourceType": "Medication", "id": f"m{number}", "code": concept})
        for number in range(dice.randrange(8)):
            odd = dice.choice(
                ({}, {}, {"dosage": {"dose": {"value": "300"}}}, {"status": 7}, {"meta": {"versionId": 1}})
            )
            whose = {"subject": {"reference": f"Patient/{dice.choice(_PATIENTS)}"}} if "meta" in odd else self._whose()
            one = {"resourceType": "MedicationAdministration", "id": f"i{number}", **whose, **self._drug(), **odd}
            found.append(one)
        for number in range(30):
            kind = dice.choice(("Observation", "Condition", "AllergyIntolerance", "MedicationRequest", "Encounter"))
            one = {"resourceType": kind, "id": f"r{dice.randrange(20)}-{number}", **self._whose()}
            if kind == "MedicationRequest":
                one |= self._drug()
            if dice.random() < 0.05:
                one["text"] = "x" * dice.randrange(2000)
            found.append(one)
        again = [{**one, "status": f"v{n}", "meta": {"versionId": str(n), "lastUpdated": f"2026-01-0{n}T00:00:00Z"}}
                 for one in found if dice.random() < 0.2 for n in dice.sample((1, 2, 3), 2)]  # fmt: skip
        known = {(one["resourceType"], one["id"]) for one in again}
        found = [one for one in found if (one["resourceType"], one["id"]) not in known] + again
        return [*found, *(self._bundle(number) for number in range(dice.randrange(3)))]

    def _bundle(self, number: int) -> Json:
        name = f"b{number}"
        entries = [
            {"fullUrl": f"urn:uuid:{name}", "resource": {"resourceType": "Patient", "id": name}},
            {"resource": {"resourceType": "Observation", "id": f"o-{name}", "subject": {"reference": f"urn:uuid:{name}"}}},
            {"resource": {"resourceType": "MedicationAdministration", "id": f"i-{name}",
                          "subject": {"reference": f"urn:uuid:{name}"}, **self._drug()}},
            {"resource": self.dice.choice((None, {"resourceType": "Patient"}, {"resourceType": "Encounter", "id": f"e-{name}"}))},
        ]  # fmt: skip
        self.dice.shuffle(entries)
        return {"resourceType": "Bundle", "type": "collection", "entry": entries}

    def _whose(self) -> Json:
        """A subject, a patient, both, neither; written in whatever way."""
        dice = self.dice
        right = {"reference": self._said(f"Patient/{dice.choice(_PATIENTS)}")}
        odd = dice.choice(({"display": "somebody"}, {"reference": 7}, {"reference": None}, {"reference": ""}, "Patient/p1", [], None,
                           {"identifier": {"value": "p1"}}, {"reference": "#p1"}, {"reference": "Group/p1"}))  # fmt: skip
        return dice.choice(
            [{"subject": right}] * 6
            + [
                {"patient": right},
                {"subject": odd},
                {"subject": odd, "patient": right},
                {"subject": right, "patient": odd},
                {},
            ]
        )

    def _drug(self) -> Json:
        dice = self.dice
        name = f"Medication/m{dice.randrange(4)}"
        contained = {"resourceType": "Medication", "id": "c", "code": dice.choice((DRUG, ASPIRIN))}
        return dice.choice(
            (
                {"medicationCodeableConcept": DRUG}, {"medicationCodeableConcept": ASPIRIN}, {}, {"medicationReference": {}},
                {"medicationReference": {"reference": self._said(name)}},
                {"medicationReference": {"reference": f"urn:uuid:m{dice.randrange(4)}"}},
                {"medicationReference": {"reference": "#c"}, "contained": [contained]},
            )
        )  # fmt: skip

    def _said(self, reference: str) -> str:
        return self.dice.choice(
            (reference, reference, reference, f"https://fhir.test/r4/{reference}", f"{reference}/_history/3",
             f"http://other/x/{reference}/_history/1")
        )  # fmt: skip

    def _written(self, one: Json) -> bytes:
        """The same content in one of the ways that JSON has for it."""
        how: Any = self.dice.choice(({}, {}, {"separators": (",", ":")}, {"sort_keys": True}))
        text = json.dumps(one, **how)
        if one["resourceType"] == "Bundle":  # whose entries are compared byte by byte
            return json.dumps(one).encode()
        odd = self.dice.random()
        if odd < 0.1:
            text = text.replace("/", "\\/")
        elif odd < 0.2:
            text = text.replace("Patient", "\\u0050atient")
        elif odd < 0.25:
            text = text.replace("subject", "\\u0073ubject")
        elif odd < 0.3:
            text = '{"id":"not-this","status":[],' + text[1:]  # the last of two keys is the one that counts
        return self.dice.choice((b"", b"", b" ", b"\t")) + text.encode() + self.dice.choice((b"", b"", b"  "))


def plain(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def gzipped(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        half = len(content) // 2
        (folder / f"{name}.gz").write_bytes(gzip.compress(content[:half]) + gzip.compress(content[half:]))


def zstandard(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / f"{name}.zst").write_bytes(zstd.compress(content))


def zipped(folder: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(folder / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def tarred(folder: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(folder / "all.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Borders everywhere: of pieces, of batches, of parcels."""
    monkeypatch.setattr(piece, "PIECE_BYTES", 400)
    monkeypatch.setattr(lines, "BATCH_BYTES", 150)
    monkeypatch.setattr(scanned, "PARCEL_RESOURCES", 3)


@pytest.mark.parametrize("seed", range(10, 20))
def test_in_turn(seed: int, tmp_path: Path, tiny: None) -> None:
    check(seed, tmp_path, plain)


@pytest.mark.parametrize("seed", [15, 32])
@pytest.mark.parametrize("packed", [gzipped, zstandard, zipped, tarred])
def test_packed(packed: Callable[..., None], seed: int, tmp_path: Path, tiny: None) -> None:
    check(seed, tmp_path, packed)


@pytest.mark.parametrize("seed", range(45, 50))
def test_in_batches_as_they_are(seed: int, tmp_path: Path) -> None:
    check(seed, tmp_path, plain)


@pytest.mark.parametrize("seed", [60])
def test_in_processes(seed: int, tmp_path: Path) -> None:
    check(seed, tmp_path, plain, processes=2)


def check(seed: int, tmp_path: Path, packed: Callable[..., None], processes: int = 1) -> None:
    """A pull of the folder that this seed makes up leaves what the oracle says."""
    made = Hostile(seed)
    folder = tmp_path / "in"
    folder.mkdir()
    packed(folder, made.files)
    pulls = Pulls(tmp_path, Cohort("medication"), scope="all")
    taken = pulls(folder, runner=on_this_machine(processes))
    wanted = expected(made.files)

    assert set(pulls.members()) == wanted.members
    assert {name: stored_resource(pulls.db, "leon", name) for name in pulls.stored()} == wanted.current
    assert {(_short(one.place), one.reason) for one in quarantined(pulls.db, "leon")} == wanted.aside
    assert taken.lines == wanted.lines
    assert taken.types.total() == wanted.resources
    assert taken.kept.total() + taken.not_kept.total() == wanted.resources + len(wanted.aside)
    assert all(state.startswith("complete") for state in pulls.states().values()), pulls.states()


def _short(place: str) -> str:
    name = Path(place.rpartition("!/")[2] or place).name
    return name.replace(".gz", "").replace(".zst", "")
