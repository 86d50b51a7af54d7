"""A site that is stopped: the others go on, the store says why until a run gets through, and only what is open is asked again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dm_fhir.errors import StoreError
from dm_fhir.sync import passes

from .many import Hospitals, Manner, hospitals
from .mocked import Study


@pytest.fixture
def four() -> Iterator[Hospitals]:
    manners: dict[str, Manner] = {"a": "well", "b": "knows nobody", "c": "refuses", "d": "well"}
    with hospitals(manners, patients=1) as here:
        yield here


def stopped(study: Study) -> list[tuple[str, str, int]]:
    return study.ask("SELECT site, step, exit_code FROM stop ORDER BY 1, 2")


def asked_since(here: Hospitals, before: int) -> set[str]:
    return {name for name, _ in here.asked[before:]}


def test_what_stopped_a_site_is_kept_until_a_run_gets_through_there(four: Hospitals, tmp_path: Path) -> None:
    study = four.study(tmp_path / "study")
    assert study.type("sync").code == 5
    assert stopped(study) == [("b", "pull", 5), ("c", "pull", 4)]
    first = study.ask("SELECT since FROM stop WHERE site = 'b'")
    four.manners["a"] = "breaks"
    assert study.type("sync").code == 5
    assert stopped(study) == [("a", "pull", 3), ("b", "pull", 5), ("c", "pull", 4)]
    assert study.ask("SELECT since FROM stop WHERE site = 'b'") == first
    assert study.ask("SELECT run FROM stop WHERE site = 'b'") == [(2,)]
    four.manners.update(a="well", b="well")
    assert study.type("compute").code == 0, "a compute answers for no pull"
    assert len(stopped(study)) == 3
    assert study.type("sync").code == 4
    assert stopped(study) == [("c", "pull", 4)]


def test_a_push_that_waits_for_a_yes_or_fails_is_kept_as_a_push(four: Hospitals, tmp_path: Path) -> None:
    study = four.study(tmp_path / "study")
    text = study.config.read_text()
    study.config.write_text(text.replace("unattended = true\n", ""))
    assert study.type("sync", "--site", "a").code == 2
    assert stopped(study) == [("a", "push", 2)]
    assert study.type("status", "--site", "a").code == 2
    assert study.type("pull", "--site", "a").code == 0, "a pull answers for no push"
    assert study.type("push", "--site", "a", "--yes").code == 0
    assert stopped(study) == []
    assert study.type("status", "--site", "a").code == 0


def test_only_what_is_open_is_asked_again_site_by_site(four: Hospitals, tmp_path: Path) -> None:
    study = four.study(tmp_path / "study")
    assert study.type("pull").code == 5
    four.manners["b"] = "well"
    before = len(four.asked)
    again = study.type("pull", "--retry-failed", "--site", "[abd]")
    assert (again.code, again.lines[1]) == (0, "at 2 sites nothing is open that a server could answer: not asked")
    assert asked_since(four, before) == {"b"}
    assert study.ask("SELECT state FROM unit WHERE site = 'b' AND query = 'whole plan'") == [("complete",)]
    four.manners["d"] = "breaks"
    assert study.type("pull", "--site", "d").code == 3
    four.manners["d"] = "well"
    study.type("pull", "--retry-failed")
    assert stopped(study) == [("c", "pull", 4)]


def test_of_a_site_that_was_never_tried_all_is_open(four: Hospitals, tmp_path: Path) -> None:
    study = four.study(tmp_path / "study")
    assert study.type("pull", "--retry-failed", "--site", "a").code == 0
    assert study.ask("SELECT state FROM unit WHERE query = 'whole plan'") == [("complete",)]


def test_a_run_that_asks_no_server_answers_for_no_login(four: Hospitals, tmp_path: Path) -> None:
    study = four.study(tmp_path / "study")
    assert study.type("pull", "--site", "b").code == 5
    records = tmp_path / "records.ndjson"
    records.write_text('{"resourceType": "Patient", "id": "1"}\n')
    assert study.type("pull", "--site", "b", "--from", str(records)).code == 0
    assert study.type("status", "--site", "b").code == 5


def test_a_site_of_files_has_nothing_to_ask_again(four: Hospitals, tmp_path: Path) -> None:
    study = four.study(tmp_path / "study")
    study.config.write_text(study.config.read_text() + '[[site]]\nname = "files"\n')
    ran = study.type("pull", "--retry-failed", "--site", "a", "--site", "files")
    assert (ran.code, ran.lines[1]) == (3, "at 1 site nothing is open that a server could answer: not asked")
    assert stopped(study) == []


def test_a_pull_that_broke_off_is_asked_again_from_where_it_was(four: Hospitals, tmp_path: Path) -> None:
    study = four.study(tmp_path / "study")
    assert study.type("pull", "--site", "a").code == 0
    four.servers["a"].fail("GET Observation", "connection", times=50)
    study.type("pull", "--site", "a", "--full")
    four.servers["a"].heal()
    assert study.type("pull", "--site", "a", "--retry-failed").code == 0
    assert study.ask("SELECT DISTINCT state FROM unit") == [("complete",)]


def test_a_fault_of_one_sites_tables_is_that_sites_alone(four: Hospitals, tmp_path: Path) -> None:
    study = four.study(tmp_path / "study")
    (tmp_path / "study" / "own.toml").write_text("[[measurement]]\nvariable = 7\n")
    text = study.config.read_text()
    study.config.write_text(text.replace('name = "a"\n', 'name = "a"\ntables = ["own.toml"]\n'))
    ran = study.type("sync", "--site", "[ad]")
    assert ran.code == 2
    assert ran.out.count("  stopped: ") == 1
    assert "d: complete until " in ran.out
    assert stopped(study) == [("a", "pull", 2)]
    assert {name for name, _ in four.asked} == {"d"}
    alone = study.type("sync", "--site", "a")
    assert (alone.code, "own.toml" in alone.err) == (2, True)
    (tmp_path / "study" / "own.toml").write_text("")
    assert study.type("sync", "--site", "[ad]").code == 0
    assert stopped(study) == []


def test_a_mistake_of_ours_in_compute_is_kept_as_such(
    four: Hospitals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = four.study(tmp_path / "study")

    def mistaken(*_: object) -> None:
        raise KeyError("Zwetschke")

    with monkeypatch.context() as patched:
        patched.setattr(passes, "compute_site", mistaken)
        assert study.type("sync", "--site", "a").code == 1
    ((site, step, code, message),) = study.ask("SELECT site, step, exit_code, message FROM stop")
    assert (site, step, code) == ("a", "compute", 1)
    assert message.startswith("internal error: KeyError at dm_fhir/")
    assert study.type("status", "--site", "a").code == 1
    assert study.type("sync", "--site", "a").code == 0
    assert stopped(study) == []


def test_where_two_steps_fail_the_run_ends_as_the_first_and_both_are_kept(
    four: Hospitals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = four.study(tmp_path / "study")

    def mistaken(*_: object) -> None:
        raise KeyError("Zwetschke")

    monkeypatch.setattr(passes, "compute_site", mistaken)
    ran = study.type("sync", "--site", "b")
    assert ran.code == 5
    assert stopped(study) == [("b", "compute", 1), ("b", "pull", 5)]
    assert ran.out.count("  stopped: ") == 2


def test_what_befell_the_store_is_no_fault_of_a_site(
    four: Hospitals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = four.study(tmp_path / "study")

    def full(*_: object) -> None:
        raise StoreError("no space left")

    monkeypatch.setattr(passes, "compute_site", full)
    ran = study.type("sync", "--site", "a")
    assert (ran.code, stopped(study)) == (1, [])
    assert "  stopped: no space left" in ran.out
