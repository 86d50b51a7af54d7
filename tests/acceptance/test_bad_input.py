"""Wrong configs, wrong servers, wrong files: what is said, the exit code, and that nothing is lost."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from dm_fhir.fhir.keys import create_key_pair

if TYPE_CHECKING:
    from tests.acceptance.conftest import Json, Loop, Ran, StudyMaker

Typed = Callable[..., "Ran"]
STUDY = '[study]\ntitle = "T"\ndrug = "anifrolumab"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A place for a config."""
    return tmp_path / "dm-fhir.toml"


@pytest.fixture
def tell() -> Iterator[Callable[[bytes], str]]:
    """Starts a server on loopback that gives every request the same answer, and says its address."""
    servers = []

    def start(body: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/fhir"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def files_only(config: Path, dm_fhir: Typed) -> Callable[..., Ran]:
    """Types commands in a study whose only site sends files."""
    site = '[[site]]\nname = "leon"\n[site.cohort]\nby = "everybody"\n[site.pull]\nscope = "all"\n'
    config.write_text(f"{STUDY}{site}", encoding="utf-8")
    return lambda *arguments: dm_fhir("--config", str(config), *arguments)


def written(path: Path, resources: list[Json]) -> str:
    path.write_bytes(msgspec.json.Encoder(decimal_format="number").encode_lines(resources))
    return str(path)


def test_no_config_names_init(dm_fhir: Typed, config: Path) -> None:
    ran = dm_fhir("--config", str(config), "status")

    assert ran.code == 2
    assert re.fullmatch(r"status: \d\.\d s; exit 2 \(mend the configuration, then run again\)\n", ran.out)
    assert ran.err == f"dm-fhir: there is no config at {config}\n  write one with: dm-fhir init\n"


def test_all_faults_of_a_config_are_listed(dm_fhir: Typed, config: Path) -> None:
    config.write_text(
        f'{STUDY}titel = "x"\n[[site]]\nname = "leon"\n[site.auth]\nmethod = "none"\nuser = "u"\n', encoding="utf-8"
    )

    ran = dm_fhir("--config", str(config), "sync")

    assert ran.code == 2
    assert "has 2 faults" in ran.err
    assert "unknown key 'titel', did you mean 'title'?" in ran.err
    assert "unknown key 'user'" in ran.err


@pytest.mark.parametrize(
    ("place", "hint"),
    [("env:DM_NO_TOKEN", "set the environment variable DM_NO_TOKEN"), ("file:no.token", "no.token, mode 0600")],
)
def test_a_missing_secret_is_named(dm_fhir: Typed, config: Path, place: str, hint: str) -> None:
    config.write_text(
        f'{STUDY}[[site]]\nname = "leon"\nendpoint = "https://127.0.0.1:1/r4"\n[site.auth]\nmethod = "bearer"\ntoken = "{place}"\n',
        encoding="utf-8",
    )

    ran = dm_fhir("--config", str(config), "pull")

    assert ran.code == 2
    assert f"stopped: the secret {place} is missing or empty; " in ran.out
    assert hint in ran.out
    assert ran.last_line == "pull: units: none; exit 2 (mend the configuration, then run again)"


def test_an_unreachable_server(dm_fhir: Typed, config: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{closed.getsockname()[1]}"
        config.write_text(
            f'{STUDY}[[site]]\nname = "leon"\nendpoint = "http://{host}/fhir"\n[site.pull]\ntries = 2\n',
            encoding="utf-8",
        )
        started = time.monotonic()

        ran = dm_fhir("--config", str(config), "pull")

    assert ran.code == 4
    assert time.monotonic() - started < 60
    message = (
        f"cannot connect to {host}: connection refused; nothing was pulled; check the endpoint, or run again later"
    )
    assert f"stopped: {message}" in ran.out
    assert ran.last_line == "pull: units: none; exit 4 (server unavailable: run again later)"


def test_a_key_that_the_server_does_not_know(loop: Loop, new_study: StudyMaker, tmp_path: Path) -> None:
    study = new_study(loop.hospital)
    wrong, _ = create_key_pair(tmp_path)
    text = study.config.read_text(encoding="utf-8").replace(str(loop.hospital.key), str(wrong))
    study.config.write_text(text, encoding="utf-8")

    ran, doctor = study.type("pull"), study.type("doctor")

    assert (ran.code, doctor.code) == (5, 5)
    assert re.search(r"stopped: the login is refused: the token endpoint of 127\.0\.0\.1:\d+ answered 40\d", ran.out)
    assert ran.last_line.endswith("exit 5 (login refused: check the credentials)")
    assert re.search(r"^  fails +login: the login is refused: the token endpoint of ", doctor.out, re.M), doctor.out
    assert str(loop.hospital.key) not in ran.out + ran.err


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html><body>Welcome</body></html>", "is not a FHIR server: its /metadata is not a FHIR resource"),
        (b'{"hello": "world"}', "is not a FHIR server: its /metadata is not a CapabilityStatement"),
        (b'{"resourceType": "CapabilityStatement", "fhirVersion": "5.0.0"}', "speaks FHIR 5.0.0, dm-fhir reads R4 (4.0.1)"),
        (b'{"resourceType": "CapabilityStatement", "fhirVersion": "3.0.2"}', "speaks FHIR 3.0.2, dm-fhir reads R4 (4.0.1)"),
    ],
)  # fmt: skip
def test_an_endpoint_that_is_not_fhir_r4(
    dm_fhir: Typed, config: Path, tell: Callable[[bytes], str], body: bytes, words: str
) -> None:
    endpoint = tell(body)
    config.write_text(f'{STUDY}[[site]]\nname = "leon"\nendpoint = "{endpoint}"\n', encoding="utf-8")

    for command in ("pull", "doctor", "sync"):
        ran = dm_fhir("--config", str(config), command)
        assert ran.code == 2, command
        assert f"{endpoint} {words}" in ran.out, command


def test_a_file_that_is_not_json_is_set_aside_and_named(files_only: Typed, tmp_path: Path) -> None:
    file = tmp_path / "broken.json"
    file.write_text('{"resourceType": "Patient", ', encoding="utf-8")

    ran = files_only("pull", "--from", str(file))

    assert ran.code == 3
    assert f"  set aside: {file} (not-json)" in ran.out
    assert ran.last_line.endswith("exit 3 (partial: what is named above; the next pull asks again for what is open)")
    assert files_only("status", "--json").json["sites"][0]["set_aside"] == {str(file): "not-json"}


def test_a_resource_of_another_type_is_kept_and_counted(files_only: Typed, tmp_path: Path) -> None:
    encounter = {"resourceType": "Encounter", "id": "e1", "status": "finished", "subject": {"reference": "Patient/p1"}}

    ran = files_only("pull", "--from", written(tmp_path / "more.ndjson", [encounter]))
    told = files_only("status", "--json").json

    assert ran.code == 0
    assert "  read 1 Encounter\n  kept 1: 1 new\n" in ran.out
    assert told["sites"][0]["resources"] == {"Encounter": 1}


@pytest.mark.parametrize("fault", [{"status": 5}, {"valueQuantity": {"value": "abc"}}])
def test_an_unreadable_record_among_good_ones_is_kept_and_named(
    files_only: Typed, tmp_path: Path, sample_of_two: list[Json], fault: Json
) -> None:
    bad = [one | fault if one["id"] == "bal-1-cdasi-1" else one for one in sample_of_two]
    files_only("pull", "--from", written(tmp_path / "records.ndjson", bad))

    ran = files_only("compute")
    told = files_only("status", "--json").json["sites"][0]

    assert ran.code == 3
    assert "  unreadable: Observation/bal-1-cdasi-1" in ran.out
    assert told["patients"] == {"case": 2}
    assert sum(told["resources"].values()) == len(sample_of_two)
    assert json.loads(files_only("export", "--identified").out)["cases"][1]["outcomes"], "the other patient is computed"


@pytest.fixture
def sample_of_two(sample: Any) -> list[Json]:
    """The sample's first two patients."""
    return [one for one in sample.resources if one["id"].startswith(("bal-1", "bal-2"))]


def test_an_empty_cohort_is_complete_with_a_warning(new_hospital: Any, new_study: StudyMaker) -> None:
    study = new_study(new_hospital([{"resourceType": "Patient", "id": "somebody"}]))

    ran = study.type("sync")

    assert ran.code == 0
    assert "warning: baltimore: nobody was given anifrolumab, by any of the " in ran.err
    assert "baltimore: 0 patients in the cohort\n" in ran.out
    assert study.ask("SELECT count(*) FROM resource") == [(0,)]


def test_pull_without_endpoint(files_only: Typed) -> None:
    ran = files_only("pull")

    assert ran.code == 2
    assert "stopped: site leon has no endpoint; add endpoint = " in ran.out
    assert "dm-fhir pull --from PATH" in ran.out


def test_sync_computes_what_came_as_files(files_only: Typed, tmp_path: Path, one_patient: list[Json]) -> None:
    files_only("pull", "--from", written(tmp_path / "records.ndjson", one_patient))

    ran = files_only("sync")

    assert (ran.code, ran.out.splitlines()[0]) == (0, "leon: 1 patients computed, 0 unchanged")


def test_a_site_that_was_never_pulled_is_not_complete(files_only: Typed) -> None:
    ran = files_only("status")

    assert ran.code == 3
    assert ran.out.splitlines()[:2] == ["no run yet", "leon: never pulled; 0 resources"]


@pytest.mark.parametrize("command", ["pull", "compute", "push", "sync", "status", "report", "export", "doctor"])
def test_an_unknown_site(files_only: Typed, command: str) -> None:
    ran = files_only(command, "--site", "lyon")

    assert (ran.code, ran.err) == (2, "dm-fhir: no site is called 'lyon'\n  known: leon\n")


def test_an_unknown_study_drug(dm_fhir: Typed, config: Path) -> None:
    text = STUDY.replace("anifrolumab", "anifrolumap")
    config.write_text(f'{text}[[site]]\nname = "leon"\n', encoding="utf-8")

    ran = dm_fhir("--config", str(config), "compute")

    assert ran.code == 2
    assert "no mapping table of site leon knows the study drug 'anifrolumap'" in ran.err
    assert '[[medication]] variable = "anifrolumap"' in ran.err


def test_push_where_no_site_may_be_written_to(files_only: Typed) -> None:
    ran = files_only("push")

    assert ran.code == 2
    assert "dm-fhir: no site may be written to\n  set enabled = true under [site.push]" in ran.err


def test_files_of_no_site(dm_fhir: Typed, config: Path, tmp_path: Path) -> None:
    config.write_text(f'{STUDY}[[site]]\nname = "leon"\n[[site]]\nname = "madrid"\n', encoding="utf-8")

    ran = dm_fhir("--config", str(config), "pull", "--from", str(tmp_path))

    assert (ran.code, ran.err) == (
        2,
        "dm-fhir: patients and files belong to one site\n  name it with --site: leon, madrid\n",
    )


@pytest.mark.parametrize("words", [["bogus"], ["pull", "--bogus"], ["--bogus"], ["export", "--format", "odt"]])
def test_what_is_typed_wrong(dm_fhir: Typed, words: list[str]) -> None:
    ran = dm_fhir(*words)

    assert ran.code == 2
    assert re.fullmatch(r"(pull: \d\.\d s; exit 2 \(.*\)\n)?", ran.out)
    assert bool(ran.out) == (words[0] == "pull")
    assert "Usage: dm-fhir" in ran.err


@pytest.mark.parametrize("command", ["doctor", "pull", "compute", "push", "sync", "status"])
def test_json_is_one_object_in_good_times(loop: Loop, command: str) -> None:
    ran = loop.study.type(command, "--json")

    assert ran.json == ran.json | {"command": command, "state": "complete", "exit_code": ran.code}
    assert [site["site"] for site in ran.json["sites"]] == ["baltimore"]


@pytest.mark.parametrize("command", ["doctor", "pull", "compute", "push", "sync", "status"])
def test_json_is_one_object_in_bad_times(dm_fhir: Typed, config: Path, command: str) -> None:
    ran = dm_fhir("--config", str(config), command, "--json")
    typo = dm_fhir("--config", str(config), command, "--json", "--bogus")

    assert ran.json == ran.json | {"command": command, "state": "failed", "exit_code": 2, "sites": []}
    assert typo.json == typo.json | {"command": command, "state": "failed", "exit_code": 2, "sites": []}
    assert "there is no config at" in ran.json["error"]


def test_one_dead_site_does_not_stop_the_others(loop: Loop, new_study: StudyMaker, site_of: Callable[..., str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}/fhir"
        dead = site_of("dead", endpoint, loop.hospital.key, more="tries = 1")
        study = new_study(
            loop.hospital, extra=site_of("aaa", endpoint, loop.hospital.key, more="tries = 1") + dead, push=False
        )

        ran = study.type("sync")
        told = study.type("sync", "--json").json

    assert ran.code == told["exit_code"] == 4
    assert ran.out.count("  stopped: cannot connect to 127.0.0.1") == 2
    assert told["cohort"] == {"baltimore": 4}
    good = told["sites"][0]
    assert (good["site"], good["patients"], good["error"]) == ("baltimore", {"case": 4}, None)
    assert good["complete_until"] is not None
    assert all("connection refused" in site["error"] for site in told["sites"][1:])
    assert study.type("status", "--site", "baltimore").code == 0


def test_a_store_that_is_none_is_named(files_only: Typed, config: Path) -> None:
    config.with_name("dm-fhir.sqlite").write_bytes(b"this is a letter, no database" * 100)

    ran = files_only("status")

    assert ran.code == 1
    assert "dm-fhir.sqlite cannot be used as a store" in ran.err
