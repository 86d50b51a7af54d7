"""What leaves the house as files: export, report, init."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dm_fhir.config import load_config
from dm_fhir.model.case import CaseSeries
from dm_fhir.model.document import decode
from dm_fhir.model.schema import case_series_schema
from dm_fhir.validation import faults, schema_text

if TYPE_CHECKING:
    from tests.acceptance.conftest import Loop, Ran, StudyMaker

    from dm_fhir.demo.cohorts import SampleSite


@pytest.fixture(scope="module")
def exported(loop: Loop) -> str:
    """The pseudonymised document."""
    return loop.study.type("export").out


def strings(part: Any) -> Iterator[str]:
    """Every text inside."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict | list):
        for inner in part.values() if isinstance(part, dict) else part:
            yield from strings(inner)


def mode(path: Path) -> str:
    return oct(path.stat().st_mode & 0o777)


def test_the_published_schema_is_the_models() -> None:
    assert json.loads(schema_text("case-series")) == case_series_schema()


def test_the_document_satisfies_the_published_schema(loop: Loop, exported: str) -> None:
    texts = (exported, loop.study.type("export", "--identified").out)
    series = [decode(text.encode(), CaseSeries) for text in texts]

    assert [faults(json.loads(text), "case-series") for text in texts] == [[], []]
    assert [one.pseudonymised for one in series] == [True, False]
    assert [len(one.cases) for one in series] == [4, 4]
    assert faults(json.loads(exported) | {"surprise": 1}, "case-series")


def test_nothing_in_it_names_a_patient(exported: str, sample: SampleSite) -> None:
    ids = {one["id"] for one in sample.resources}
    references = {f"{one['resourceType']}/{one['id']}" for one in sample.resources}
    births = {one["birthDate"] for one in sample.resources if one["resourceType"] == "Patient"}
    names = {"Sample", *(one["name"][0]["given"][0] for one in sample.resources if one["resourceType"] == "Patient")}
    said = set(strings(json.loads(exported)))

    assert said & (ids | references | births | names) == set()
    assert not any(reference in exported for reference in references)
    years = {case["subject"]["birth_date"] for case in json.loads(exported)["cases"]}
    assert years == {birth[:4] for birth in births}


def test_without_a_key_nothing_leaves_and_the_error_says_how_to_make_one(loop: Loop, new_study: StudyMaker) -> None:
    study = new_study(loop.hospital, push=False)
    text = study.config.read_text(encoding="utf-8")
    study.config.write_text(text.replace('pseudonym_key = "file:pseudonym.key"\n', ""), encoding="utf-8")

    refused, identified = study.type("export"), study.type("export", "--identified")

    assert (refused.code, refused.out, identified.code) == (2, "", 0)
    assert "no pseudonym key is configured, so no case may leave" in refused.err
    assert "dm-fhir keys pseudonym" in refused.err
    made = study.type("keys", "pseudonym")
    study.config.write_text(text.replace("file:pseudonym.key", "file:keys/pseudonym.key"), encoding="utf-8")
    assert (made.code, study.type("export").code, study.type("keys", "pseudonym").code) == (0, 0, 2)
    assert 'pseudonym_key = "file:keys/pseudonym.key"' in made.out
    assert mode(study.config.parent / "keys" / "pseudonym.key") == "0o600"


def test_the_same_key_gives_the_same_pseudonyms(loop: Loop, exported: str, new_study: StudyMaker) -> None:
    def cases(key: str) -> list[str]:
        study = new_study(loop.hospital, push=False)
        (study.config.parent / "pseudonym.key").write_text(key, encoding="utf-8")
        study.type("sync")
        return [case["id"] for case in json.loads(study.type("export").out)["cases"]]

    first, second, other = cases("one key"), cases("one key"), cases("another key")

    assert first == second
    assert set(first) & set(other) == set()
    assert loop.study.type("export").out == exported


def test_a_file_is_written_privately_and_said_on_stderr(loop: Loop, tmp_path: Path, exported: str) -> None:
    ran = loop.study.type("export", "-o", str(tmp_path / "series.json"))

    assert (ran.code, ran.out, ran.err) == (0, "", f"exported 4 cases to {tmp_path / 'series.json'}\n")
    assert (tmp_path / "series.json").read_text(encoding="utf-8") == exported
    assert [(path.name, mode(path)) for path in tmp_path.iterdir()] == [("series.json", "0o600")]


def test_a_folder_that_is_not_there_is_named(loop: Loop, tmp_path: Path) -> None:
    ran = loop.study.type("export", "-o", str(tmp_path / "nowhere" / "series.json"))

    assert ran.code == 2
    assert "series.json cannot be written: No such file or directory" in ran.err


def test_the_report_is_private_and_names_nobody(loop: Loop, tmp_path: Path, sample: SampleSite) -> None:
    ran = loop.study.type("report", "-o", str(tmp_path / "out"))
    page = tmp_path / "out" / "report.html"

    assert (ran.code, ran.out) == (0, f"{page}\n")
    assert mode(page) == "0o600"
    text = page.read_text(encoding="utf-8")
    assert "12 points or 49.4 %" in text
    patients = [one for one in sample.resources if one["resourceType"] == "Patient"]
    unsaid = [
        word for one in patients for word in (one["birthDate"], one["name"][0]["given"][0], f"Patient/{one['id']}")
    ]
    assert [word for word in unsaid if word in text] == []


def test_init_writes_a_config_that_works_once_its_secrets_are_there(
    dm_fhir: Callable[..., Ran], tmp_path: Path
) -> None:
    ran = dm_fhir("init", str(tmp_path / "study"))
    config = tmp_path / "study" / "dm-fhir.toml"

    assert ran.code == 0
    assert str(config) in ran.out
    assert mode(config) == "0o600"
    key = tmp_path / "study" / "keys" / "pseudonym.key"
    assert (mode(key), mode(key.parent), len(load_config(config).pseudonym_key.read())) == ("0o600", "0o700", 64)  # type: ignore[union-attr]
    (tmp_path / "study" / "keys" / "leon.pem").write_text("a key", encoding="utf-8")
    site = load_config(config).sites[0]
    assert site.auth.private_key is not None
    assert (site.name, site.auth.private_key.read(), site.push.enabled) == ("leon", "a key", False)
    assert dm_fhir("--config", str(config), "compute").code == 0, "its drug and tables are known"


def test_init_never_replaces_a_config(dm_fhir: Callable[..., Ran], tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("# mine", encoding="utf-8")

    ran = dm_fhir("init", str(config))

    assert (ran.code, ran.err) == (2, f"dm-fhir: {config} exists already; it is left as it is\n")
    assert config.read_text(encoding="utf-8") == "# mine"
