"""Secrets stay where they are kept: not in what is said, logged, stored or raised, even where a server sends them back."""

import base64
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import pytest
import requests

from dm_fhir.cli import main
from dm_fhir.fhir import transport
from dm_fhir.fhir.keys import create_key_pair

SENTINEL = "S3ntinel-zQ8vX1-of-this-test"
METHODS = {
    "basic": 'username = "anna"\npassword = "{place}"',
    "bearer": 'token = "{place}"',
    "client-secret": 'client_id = "us"\nclient_secret = "{place}"\ntoken_url = "{url}/token"',
    "smart-backend": 'client_id = "us"\nprivate_key = "{place}"\ntoken_url = "{url}/token"',
}
COMMANDS = (
    ("-v", "doctor"), ("-v", "pull"), ("-v", "--log-format", "json", "pull", "--json"), ("-v", "sync"), ("-v", "push", "--dry-run"),
    ("status", "--json"), ("failed", "--json"), ("runs",), ("audit", "--csv", "audit.csv"), ("validate", "dm-fhir.toml"),
)  # fmt: skip


class Echo(NamedTuple):
    """A server that sends back whatever it was sent, and what that was. `answer` makes status and body of it."""

    url: str
    credentials: set[str]


@contextmanager
def echo(status: int, *, tokens: bool) -> Iterator[Echo]:
    """Answers everything with `status` and an OperationOutcome that repeats the request; gives out tokens if told to."""
    heard: set[str] = set()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            credential = self.headers.get("Authorization", "")
            heard.update(word for word in credential.split()[1:])
            heard.update(parse_qs(body).get("client_assertion", []))
            said = f"{credential} {body}"
            told: dict[str, Any] = {
                "resourceType": "OperationOutcome",
                "error": "invalid_client",
                "error_description": said,
                "issue": [{"severity": "error", "code": "security", "diagnostics": said, "details": {"text": said}}],
            }
            is_token = tokens and self.path.endswith("/token")
            if is_token:
                told = {"access_token": f"token-{SENTINEL}", "token_type": "Bearer", "expires_in": 300}
            if self.path.endswith("/metadata"):
                told = {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "software": {"name": said}}
            content = json.dumps(told).encode()
            self.send_response(200 if is_token or self.path.endswith("/metadata") else status)
            self.send_header("Content-Type", "application/fhir+json")
            self.send_header("WWW-Authenticate", f"Bearer realm={json.dumps(credential)}")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = answer  # the names that the library calls

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Echo(f"http://127.0.0.1:{server.server_port}/fhir", heard)
        server.shutdown()


class Study(NamedTuple):
    """A study with a secret, what must not be seen of it, and where it may be."""

    folder: Path
    hidden: tuple[str, ...]
    kept_in: tuple[str, ...]

    def seen(self, said: str, heard: set[str]) -> list[str]:
        """What is seen of the secret, or of what was sent with it, in what was said or in any file."""
        texts = {"said": said.encode()} | {
            path.name: path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and path.name not in self.kept_in and not path.name.startswith("dm-fhir.sqlite")
        }
        texts["the store"] = self._store()
        secrets = {*self.hidden, *heard, *(base64.b64encode(one.encode()).decode() for one in self.hidden)}
        return [
            f"{one[:12]}… in {where}" for one in secrets if one for where, text in texts.items() if one.encode() in text
        ]

    def _store(self) -> bytes:
        """All that the program itself writes into the store; records are kept as they were sent, whatever is in them."""
        if not (self.folder / "dm-fhir.sqlite").exists():
            return b""
        with closing(sqlite3.connect(self.folder / "dm-fhir.sqlite")) as db:
            tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            rows = [row for table in tables for row in db.execute(f"SELECT * FROM {table}")]  # noqa: S608  # its own names
        return repr([value for row in rows for value in row if not isinstance(value, bytes)]).encode()


def study(folder: Path, url: str, method: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study that logs in like this; `kind` says where the secret is."""
    secret = SENTINEL
    if method == "smart-backend":
        private, _ = create_key_pair(folder)
        secret = private.read_text(encoding="ascii")
        private.unlink()
    (folder / "secret.txt").write_text(secret, encoding="utf-8")
    (folder / "secret.txt").chmod(0o600)
    monkeypatch.setenv("THE_SECRET", secret)
    place = "env:THE_SECRET" if kind == "env" else "file:secret.txt"
    auth = METHODS[method].format(place=place, url=url)
    (folder / "patients.txt").write_text("p1\n", encoding="utf-8")
    (folder / "dm-fhir.toml").write_text(
        f'[study]\ntitle = "T"\ndrug = "anifrolumab"\n[[site]]\nname = "leon"\nendpoint = "{url}"\n[site.auth]\nmethod = "{method}"\n'
        f'{auth}\n[site.pull]\ntries = 1\n[site.push]\nenabled = true\n[site.cohort]\nby = "patients"\npatients = "patients.txt"\n',
        encoding="utf-8",
    )
    monkeypatch.chdir(folder)
    lines = tuple(line for line in secret.splitlines() if "-----" not in line)
    return Study(folder, lines, ("secret.txt",))


@pytest.mark.parametrize(("status", "kind"), [(200, "env"), (400, "file"), (401, "env"), (500, "file")])
@pytest.mark.parametrize("method", METHODS)
def test_no_command_says_or_keeps_a_secret_that_the_server_sends_back(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    method: str,
    status: int,
    kind: str,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with echo(status, tokens=status in (200, 400)) as server:
        ours = study(tmp_path, server.url, method, kind, monkeypatch)
        codes = [main.call(list(words)) for words in COMMANDS]
    assert server.credentials, "nothing was sent, so nothing was tried"
    out, err = capsys.readouterr()
    assert ours.seen(out + err, server.credentials | {f"token-{SENTINEL}"}) == []
    assert "internal error" not in out + err
    assert any(codes)


@pytest.mark.parametrize("method", METHODS)
def test_a_crash_says_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    read = transport._read

    def crash(response: requests.Response, *more: Any) -> bytes:
        if "Authorization" in response.request.headers:
            raise RuntimeError(f"{response.request.headers} {SENTINEL}")
        return read(response, *more)

    monkeypatch.setattr(transport, "_read", crash)
    with echo(200, tokens=True) as server:
        ours = study(tmp_path, server.url, method, "file", monkeypatch)
        assert main.call(["-v", "pull"]) == 1
    out, err = capsys.readouterr()
    assert "stopped" in out + err
    assert server.credentials
    assert ours.seen(out + err, server.credentials) == []


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe" + SENTINEL.encode(), f"{SENTINEL}\nwith a line".encode(), f"{SENTINEL}\0".encode()]
)
@pytest.mark.parametrize("method", METHODS)
def test_a_secret_that_cannot_be_used_is_named_by_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], method: str, content: bytes
) -> None:
    ours = study(tmp_path, "http://127.0.0.1:9/fhir", method, "file", monkeypatch)
    (tmp_path / "secret.txt").write_bytes(content)
    codes = [main.call(list(words)) for words in COMMANDS]
    out, err = capsys.readouterr()
    assert set(codes) & {2, 4, 5}
    assert Study(tmp_path, (SENTINEL,), ours.kept_in).seen(out + err, set()) == []
    assert "internal error" not in err


def test_a_secret_in_place_of_its_place_is_refused_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study(tmp_path, "http://127.0.0.1:9/fhir", "bearer", "file", monkeypatch)
    config = tmp_path / "dm-fhir.toml"
    config.write_text(config.read_text(encoding="utf-8").replace("file:secret.txt", SENTINEL), encoding="utf-8")
    codes = [main.call(list(words)) for words in COMMANDS]
    out, err = capsys.readouterr()
    assert set(codes) <= {1, 2}
    assert SENTINEL not in out + err


def test_a_secret_that_others_can_read_is_told_at_each_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with echo(401, tokens=False) as server:
        study(tmp_path, server.url, "bearer", "file", monkeypatch)
        assert main.call(["pull"]) == 5
        assert "can be read by others" not in capsys.readouterr().err
        (tmp_path / "secret.txt").chmod(0o644)
        assert main.call(["--quiet", "pull"]) == 5
    err = capsys.readouterr().err
    assert "leon: auth.token: " in err
    assert "can be read by others (mode 0644); chmod 600 " in err
