"""Addresses that let in whoever has them: signed ones of files, jobs with a token. Nobody sees them, no other host gets them."""

import json
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.fhir import transport

from ..faults.processes import Forks
from ..sync.exporting import Exporting
from .clinic import clinic_in
from .exports import operation_outcome
from .server import Reply
from .test_faults import elsewhere, log_in

SIGNED = "Sgn-zQ8vX1-of-this-test"
#: What tells of a study, besides the pull itself.
TELLING = (
    ("-v", "status", "--json"), ("-v", "status"), ("-v", "failed", "--json"), ("failed",), ("quarantine", "--json"), ("runs",),
    ("audit",), ("-v", "--log-format", "json", "doctor", "--json"), ("support-bundle", "-o", "bundle.zip"),
)  # fmt: skip


@pytest.fixture
def clinic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exporting]:
    """The hospital, whose addresses are all signed; metrics are written, and nothing is waited for."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    with clinic_in(tmp_path / "study") as made:
        monkeypatch.chdir(tmp_path / "study")
        made.server.manners.signed = SIGNED
        made.configure("[[site]]", '[metrics]\nfile = "metrics.prom"\n[[site]]')
        yield made


def stored(clinic: Exporting) -> dict[str, str]:
    """All that is in the store and no record, by table and column."""
    found: dict[str, str] = {}
    with closing(sqlite3.connect(clinic.study.config.with_name("dm-fhir.sqlite"))) as db:
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = db.execute(f"SELECT * FROM {table}")  # noqa: S608  # its own names
            for row in rows.fetchall():
                for column, value in zip(rows.description, row, strict=True):
                    found[f"{table}.{column[0]}"] = found.get(f"{table}.{column[0]}", "") + f" {value}"
    return found


def seen(clinic: Exporting, said: str, *, hidden: str = SIGNED) -> list[str]:
    """Where what nobody may see is seen: in what was said, in a file, in the store."""
    folder = clinic.study.config.parent
    texts = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "secret"}
    texts = {name: text for name, text in texts.items() if not name.startswith("dm-fhir.sqlite")}
    with zipfile.ZipFile(folder / "bundle.zip") as bundle:
        texts |= {name: bundle.read(name) for name in bundle.namelist()}
    texts |= {name: text.encode(errors="replace") for name, text in stored(clinic).items()} | {"said": said.encode()}
    return sorted(name for name, text in texts.items() if hidden.encode() in text)


def told(clinic: Exporting, *words: str) -> tuple[int, str]:
    """The exit code of a pull, and all that is said by it and of it."""
    first = clinic.study.type(*words)
    rest = [clinic.study.type(*each) for each in TELLING]
    assert all(ran.code != 2 for ran in rest), [ran.err for ran in rest]
    return first.code, "".join(ran.out + ran.err for ran in (first, *rest))


def refused(text: str, status: int = 400, code: str = "processing") -> Reply:
    """A refusal that repeats an address in its own words."""
    return Reply(status, json.dumps(operation_outcome(text, code)).encode())


def exported_with_errors(clinic: Exporting) -> None:
    text = f"could not write https://bucket.example/x?X-Amz-Signature={SIGNED}-own&partNumber=1"
    clinic.server.problems.append(operation_outcome(text))


AWAY = f"see https://box.example/y?sv=1&sig={SIGNED}-other"
#: What goes wrong, the exit code that a pull then has, and whether the addresses must be kept to go on.
TROUBLES: dict[str, tuple[Any, int, bool]] = {
    "nothing": (lambda _: None, 0, False),
    "errors": (exported_with_errors, 3, False),
    "kick-off": (lambda clinic: clinic.server.fail("GET fhir/Patient/$export", refused(AWAY), 9), 3, False),
    "given-up": (lambda clinic: clinic.server.fail("GET jobs/1", refused(AWAY, 500), 9), 3, False),
    "gone": (lambda clinic: clinic.server.fail("GET jobs/", Reply(404), 99), 3, False),
    "not-ready": (lambda clinic: clinic.server.fail("GET jobs/1", Reply(202, b"", {"Retry-After": "9999", "X-Progress": AWAY})), 4, True),
    "trouble": (lambda clinic: clinic.server.fail("GET jobs/1", Reply(503), 9999), 3, True),
    "not-let-in": (lambda clinic: clinic.server.fail("GET jobs/1", Reply(401), 99), 5, True),
    "expired": (lambda clinic: clinic.server.fail("GET files/", Reply(403), 999), 3, False),
    "one-refused": (lambda clinic: clinic.server.fail("GET files/1/Observation-1", Reply(406), 9), 3, False),
    "busy": (lambda clinic: clinic.server.fail("GET files/", Reply(503, b"", {"Retry-After": "18000"}), 99), 4, True),
    "circle": (lambda clinic: clinic.server.fail("GET files/1/Observation-1", Reply(302, b"", {"Location": f"/files/1/Observation-1?X-Amz-Signature={SIGNED}"}), 99), 3, False),
    "led-away": (lambda clinic: clinic.server.fail("GET files/1/Observation-1", Reply(302, b"", {"Location": f"https://u:{SIGNED}@box.example/?sig={SIGNED}"}), 99), 3, False),
    "led-nowhere": (lambda clinic: clinic.server.fail("GET files/1/Observation-1", Reply(302, b"", {"Location": f"https://[{SIGNED}"}), 99), 3, False),
    "manifest": (lambda clinic: clinic.server.fail("GET jobs/1", Reply(200, f'{{"output":[{{"type":"Patient","url":"http://[{SIGNED}"}}]}}'.encode())), 3, False),
    "delete": (lambda clinic: clinic.server.fail("DELETE", Reply(400), 9), 0, False),
    "delete-later": (lambda clinic: clinic.server.fail("DELETE", Reply(503, b"", {"Retry-After": "9999"}), 9), 0, True),
}  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_signed_address_is_in_the_store_while_it_is_needed_and_nowhere_else(clinic: Exporting, trouble: str) -> None:
    put, wanted, is_kept = TROUBLES[trouble]
    put(clinic)
    code, said = told(clinic, "-v", "--log-format", "json", "pull", "--json")
    assert code == wanted, said
    where = seen(clinic, said)
    assert set(where) <= {"bulk_job.url", "bulk_file.url"}
    assert bool(where) == is_kept
    assert all(path.name != "bulk" for path in clinic.study.config.parent.iterdir())


def test_signed_addresses_in_words_for_people(clinic: Exporting) -> None:
    exported_with_errors(clinic)
    clinic.server.fail("GET files/1/Observation-1", Reply(406))
    code, said = told(clinic, "-v", "pull")
    assert code == 3
    assert "could not write https://bucket.example/x?X-Amz-Signature=…&partNumber=…" in said
    assert seen(clinic, said) == []


def test_a_crash_tells_no_address(clinic: Exporting, monkeypatch: pytest.MonkeyPatch) -> None:
    really = transport._drained

    def crash(sink: Any, response: Any, *more: Any) -> None:
        really(sink, response, *more)
        raise RuntimeError(f"of {response.url}")

    monkeypatch.setattr(transport, "_drained", crash)
    code, said = told(clinic, "-v", "pull", "--json")
    assert code == 1
    assert set(seen(clinic, said)) == {"bulk_job.url", "bulk_file.url"}


@pytest.mark.parametrize("status", [200, 400, 500])
def test_what_an_address_lets_in_is_blotted_out_wherever_the_server_says_it(clinic: Exporting, status: int) -> None:
    clinic.server.fail("GET jobs/1", refused(f"{SIGNED}-jobs is used up", status), 9)
    code, said = told(clinic, "-v", "pull", "--json")
    assert code == 3
    assert "… is used up" in said
    assert seen(clinic, said) == []


@pytest.mark.parametrize("by_redirect", [True, False])
def test_another_host_gets_its_own_address_and_no_login(clinic: Exporting, by_redirect: bool) -> None:
    elsewhere(clinic)
    log_in(clinic)
    clinic.server.manners.login = clinic.server.manners.requires_access_token = True
    if by_redirect:
        clinic.server.manners.file_urls, clinic.server.manners.redirect_files = "absolute", 302
    code, said = told(clinic, "-v", "pull")
    assert code == 0, said
    there = [asked for asked in clinic.server.log if asked.address == "127.0.0.2"]
    assert there
    assert {value for asked in there for _, value in asked.asked} == {f"{SIGNED}-files"}
    sent = " ".join(f"{name}: {value}" for asked in there for name, value in asked.headers.items())
    tokens = [*clinic.server._tokens, "decaf", f"{SIGNED}-jobs"]
    assert len(tokens) > 2
    assert [one for one in (*tokens, "authorization", "cookie", "referer") if one in sent] == []
    assert [one for one in tokens if one in said] == []


def test_by_plain_http_no_other_machine_is_read(clinic: Exporting) -> None:
    document = {
        "transactionTime": "2026-01-01T00:00:00Z",
        "output": [{"type": "Patient", "url": f"http://box.example/a?sig={SIGNED}"}],
    }
    clinic.configure('name = "leon"\n', 'name = "leon"\nredirect_hosts = ["box.example"]\n')
    clinic.server.fail("GET jobs/1", Reply(200, json.dumps(document).encode()), 9)
    code, said = told(clinic, "pull")
    assert code == 3
    assert "file Patient-1.ndjson is at another host, box.example, by plain http" in said
    assert seen(clinic, said) == []


def test_a_kill_leaves_what_is_needed_and_the_next_run_nothing(forking: Forks, clinic: Exporting) -> None:
    code, _, _ = forking.run(clinic.study, "pull", kill_at=(12, "before"))
    assert code == -9
    assert any(SIGNED in text for text in stored(clinic).values())
    code, said = told(clinic, "pull")
    assert (code, seen(clinic, said), clinic.spool()) == (0, [], [])
