"""Who is told how runs end: when, what, by which way, and that no way of failing changes how the run ends."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from dm_fhir.cli import outside
from dm_fhir.config import NOTIFIED_BY_DEFAULT, Notify, load_config
from dm_fhir.errors import ConfigError, DmFhirError, LoginRefused, ServerUnavailable, StoreError
from dm_fhir.fhir.webhook import post
from dm_fhir.store.pushes import Pushed, put_push
from dm_fhir.sync.lock import locked
from dm_fhir.sync.notification import Told, is_due

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Study

#: A program that keeps each message: its text, and what of its environment matters.
KEEPER = """#!/bin/sh
n=$(ls kept | wc -l)
{ echo "$DM_FHIR_SUBJECT|$DM_FHIR_COMMAND|$DM_FHIR_STATE|$DM_FHIR_EXIT_CODE|$DM_FHIR_RUN|$LEON_TOKEN$CREDENTIALS_DIRECTORY"; cat; } > kept/$n
echo noise; echo noise >&2
"""


class Kept(NamedTuple):
    """What the program kept."""

    folder: Path

    def messages(self) -> list[list[str]]:
        """Each message's lines; the first has the variables."""
        files = sorted((self.folder / "kept").iterdir(), key=lambda path: int(path.name))
        return [path.read_text(encoding="utf-8").splitlines() for path in files]

    def states(self) -> list[str]:
        return [lines[0].split("|")[2] for lines in self.messages()]


def add(study: Study, text: str) -> None:
    study.config.write_text(f"{study.config.read_text(encoding='utf-8')}\n{text}\n", encoding="utf-8")


@pytest.fixture
def kept(study: Study) -> Kept:
    """The study tells a program beside its config."""
    folder = study.config.parent
    (folder / "kept").mkdir()
    (folder / "keeper").write_text(KEEPER, encoding="utf-8")
    (folder / "keeper").chmod(0o700)
    add(study, '[notify]\ncommand = ["./keeper"]')
    return Kept(folder)


def run(study: Study, monkeypatch: pytest.MonkeyPatch, ending: BaseException | None, *options: str) -> Any:
    """A compute that ends like this."""

    def failing(*_: object) -> dict[str, object]:
        if ending is not None:
            raise ending
        return {}

    monkeypatch.setattr("dm_fhir.sync.passes.compute", failing)
    return study.type(*options, "compute")


DOWN, BROKEN = ServerUnavailable("Eulalia Zwetschkenbaum is away"), StoreError("no space")


def test_people_are_told_once_of_the_same_and_when_all_is_well_again(
    study: Study, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ending in (None, DOWN, DOWN, DOWN, BROKEN, BROKEN, DOWN, None, None, DOWN):
        run(study, monkeypatch, ending)
    assert kept.states() == ["unavailable", "failed", "unavailable", "recovered", "unavailable"]


def test_each_command_counts_by_itself(study: Study, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    run(study, monkeypatch, DOWN)
    study.type("push")  # no site may be written to: exit 2
    study.type("push")
    run(study, monkeypatch, DOWN)
    run(study, monkeypatch, None)
    assert kept.states() == ["unavailable", "configuration", "recovered"]


def test_what_was_told_is_kept_beside_the_store_for_its_owner_alone(
    study: Study, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = study.config.with_name("dm-fhir.sqlite.told")
    run(study, monkeypatch, None)
    assert not memory.exists()
    run(study, monkeypatch, DOWN)
    assert json.loads(memory.read_bytes()).keys() == {"compute"}
    assert stat.S_IMODE(memory.stat().st_mode) == 0o600
    memory.write_bytes(b"broken")
    run(study, monkeypatch, DOWN)
    assert kept.states() == ["unavailable"] * 2


@pytest.mark.parametrize(
    ("word", "before", "hours", "due"),
    [
        ("partial", None, 0, True),
        ("partial", "partial", 23.9, False),
        ("partial", "partial", 24, True),
        ("partial", "failed", 0, True),
        ("recovered", None, 0, False),
        ("recovered", "partial", 0, True),
        ("locked", None, 0, False),
        ("interrupted", None, 0, False),
        ("partial", "partial", -1, False),
        ("partial", "partial", -48, True),
    ],
)
def test_when_a_message_is_due(word: str, before: str | None, hours: float, due: bool) -> None:
    told = Told(before, "2026-03-03T10:00:00Z") if before else None
    day, hour = divmod(10 + hours, 24)
    moment = f"2026-03-{3 + int(day):02}T{int(hour):02}:{round(hour % 1 * 60):02}:00Z"
    assert is_due(word, told, moment, Notify()) is due


def test_only_what_was_asked_for_is_told(study: Study, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    add(study, 'on = ["failed", "locked"]\nrepeat_hours = 0.000001')
    run(study, monkeypatch, DOWN)
    run(study, monkeypatch, BROKEN)
    time.sleep(1.1)  # times are whole seconds
    run(study, monkeypatch, BROKEN)
    with locked(study.config.with_name("dm-fhir.sqlite"), "sync"):
        run(study, monkeypatch, None)
    run(study, monkeypatch, None)
    run(study, monkeypatch, None)
    assert kept.states() == ["failed", "failed", "locked"]


def test_the_text_has_counts_and_commands_and_nothing_of_a_patient(
    study: Study, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.unit("Observation?patient", watermark="2025-06-01T10:00:00Z")
    study.unit(
        "file: Zwetschkenbaum.json", "partial", "", message="Eulalia Zwetschkenbaum", watermark="2025-05-01T10:00:00Z"
    )
    study.aside(b"Zwetschkenbaum")
    put_push(
        study.db, "leon", Pushed("k", "Patient/zwetschke", "ck", "", "conflict", None, None, "h", "Eulalia", b"{}"), 1
    )
    monkeypatch.setenv("LEON_TOKEN", "5ecret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/5ecret")
    study.config.write_text(
        study.config.read_text().replace("[[site]]\nname = \"madrid\"", '[site.auth]\nmethod = "bearer"\ntoken = "env:LEON_TOKEN"\n\n[[site]]\nname = "madrid"'),
        encoding="utf-8",
    )  # fmt: skip
    run(study, monkeypatch, LoginRefused("Eulalia Zwetschkenbaum"))
    (lines,) = kept.messages()
    program = f"dm-fhir --config {study.config}"
    assert lines[0] == "dm-fhir compute: login refused (exit 5)|compute|refused|5|2|"
    assert lines[1] == "dm-fhir compute: login refused (exit 5)"
    assert lines[2].startswith("run 2, 20")
    assert lines[3:] == [
        f"config: {study.config}",
        "",
        "leon: queries: 1 complete, 1 partial; 1 set aside; outcomes: 1 conflict; all read until 2025-05-01T10:00:00Z",
        f"  {program} failed --site leon",
        f"  {program} quarantine --site leon",
        f"  {program} push --dry-run --site leon",
        "madrid: queries: none yet; not everything was ever read",
        "",
        f"Mend the login; this says what is wrong with it: {program} doctor",
    ]


def test_a_run_that_cannot_begin_is_told_too(study: Study, kept: Kept) -> None:
    study.config.write_text(study.config.read_text().replace("anifrolumab", "rituximab"), encoding="utf-8")
    assert study.type("compute").code == 1
    (lines,) = kept.messages()
    assert lines[0] == "dm-fhir compute: failed (exit 1)|compute|failed|1||"
    assert lines[2].startswith("no run was begun, ")
    assert study.type("status").code == 1
    assert len(kept.messages()) == 1, "nobody waits for a command that only looks"


def test_nobody_is_told_of_a_run_that_somebody_watches(
    study: Study, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside.sys.stderr.__class__, "isatty", lambda _: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(
        outside, "sys", type("sys", (), {"stderr": type("tty", (), {"isatty": staticmethod(lambda: True)})})
    )
    run(study, monkeypatch, DOWN)
    assert kept.messages() == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ('["./no-such-program"]', "./no-such-program cannot be run: No such file or directory"),
        ('["false"]', "it ended with 1"),
        ('["sh", "-c", "sleep 60 & sleep 60"]', "it had not ended after 1 s"),
    ],
)
def test_a_command_that_fails_is_a_warning_and_the_next_run_tries_again(
    study: Study, monkeypatch: pytest.MonkeyPatch, command: str, said: str
) -> None:
    monkeypatch.setattr(outside, "_COMMAND_SECONDS", 1)
    add(study, f"[notify]\ncommand = {command}")
    started = time.monotonic()
    for _ in range(2):
        ran = run(study, monkeypatch, DOWN, "--quiet", "--log-format", "json")
        warned = [json.loads(line) for line in ran.err.splitlines()]
        assert ran.code == 4
        assert (warned[0]["event"], warned[0]["run"]) in (("notification_failed", 2), ("notification_failed", 3))
        assert warned[0]["message"].endswith(said)
    assert time.monotonic() - started < 20
    assert not study.config.with_name("dm-fhir.sqlite.told").exists()


def test_who_stopped_a_run_does_not_wait_for_a_command_that_hangs(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(study, '[notify]\ncommand = ["sleep", "60"]\non = ["interrupted"]')
    started = time.monotonic()
    ran = run(study, monkeypatch, KeyboardInterrupt())
    assert (ran.code, "it had not ended after 2 s" in ran.err) == (130, True)
    assert time.monotonic() - started < 10


def test_what_a_slow_command_has_started_ends_with_it(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "_COMMAND_SECONDS", 1)
    add(study, """[notify]\ncommand = ["sh", "-c", "sleep 60 & echo $! > child; wait"]""")
    run(study, monkeypatch, DOWN)
    child = Path("/proc", study.config.with_name("child").read_text(encoding="utf-8").strip(), "stat")
    ended = time.monotonic() + 5
    while child.exists() and child.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < ended, "it goes on"
        time.sleep(0.05)


def test_a_program_that_reads_nothing_is_no_failure(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    add(study, '[notify]\ncommand = ["true"]')
    assert "nobody was told" not in run(study, monkeypatch, DOWN).err


class Hook(NamedTuple):
    """A webhook on loopback: what it got."""

    address: str
    got: list[tuple[str, dict[str, str], bytes]]


@contextmanager
def hook(status: int = 200, location: str = "", seconds: float = 0) -> Iterator[Hook]:
    got: list[tuple[str, dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            got.append((self.path, dict(self.headers), body))
            time.sleep(seconds)
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Set-Cookie", "a=b")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield Hook(f"http://127.0.0.1:{server.server_port}/hooks/5ecret", got)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_webhook_gets_the_text_as_json_with_the_token(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HOOK_TOKEN", "t0ken")
    with hook() as there:
        study.config.with_name("hook.url").write_text(f"{there.address}\n", encoding="utf-8")
        add(study, '[notify]\nwebhook = "file:hook.url"\nwebhook_token = "env:HOOK_TOKEN"')
        ran = run(study, monkeypatch, DOWN, "-v")
        again = run(study, monkeypatch, DOWN, "-v")
    ((path, headers, body),) = there.got
    told = json.loads(body)
    assert (path, headers["Authorization"], headers["Content-Type"]) == (
        "/hooks/5ecret",
        "Bearer t0ken",
        "application/json",
    )
    assert told["text"].startswith("dm-fhir compute: server unavailable, try later (exit 4)\n")
    assert {name: told[name] for name in ("command", "state", "exit_code", "run")} == {
        "command": "compute", "state": "unavailable", "exit_code": 4, "run": 2,
    }  # fmt: skip
    assert [site["site"] for site in told["sites"]] == ["leon", "madrid"]
    assert "run 2: told by webhook: unavailable" in ran.err
    assert not any(secret in ran.err + again.err for secret in ("5ecret", "t0ken"))


def test_a_webhook_that_redirects_or_refuses_was_not_told(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    with hook() as elsewhere, hook(307, elsewhere.address) as redirecting, hook(500) as refusing:
        for there, said in ((redirecting, "the webhook answered 307"), (refusing, "the webhook answered 500")):
            with pytest.raises(DmFhirError, match=said):
                post(there.address, b"{}", "t0ken")
        assert (elsewhere.got, len(redirecting.got), len(refusing.got)) == ([], 1, 1)


def test_a_webhook_that_is_not_there_is_a_warning(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    add(study, '[notify]\nwebhook = "http://127.0.0.1:9/hooks/5ecret"')
    ran = run(study, monkeypatch, DOWN)
    assert ran.code == 4
    assert "warning: nobody was told by webhook: cannot connect to 127.0.0.1:9: connection refused" in ran.err
    assert "5ecret" not in ran.err


def test_a_webhook_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from dm_fhir.fhir import webhook

    limits = webhook._LIMITS.__class__(connect_timeout_seconds=1, read_timeout_seconds=0.2, total_timeout_seconds=1)
    monkeypatch.setattr(webhook, "_LIMITS", limits)
    with hook(seconds=1) as there, pytest.raises(DmFhirError, match="was not answered in time"):
        post(there.address, b"{}")


@pytest.mark.parametrize(
    "address", ["ftp://h/x", "h/x", "https://", "http://chat.example.org/x", "https://h/a b", "https://[::1"]
)
def test_an_address_that_was_kept_as_a_secret_is_looked_at_before_it_is_used(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        post(address, b"{}")
    assert address not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("on = []", "notify: 'command' or 'webhook' is missing"),
        ('command = ["true"]\nwebhook_token = "env:A"', "notify: 'webhook' is missing, webhook_token needs it"),
        ('webhook = "http://chat.example.org/x"', "notify.webhook: plain http can be read and changed on its way; use https"),
        ('webhook = "https://h:99999/x"', "notify.webhook: has no usable host and port"),
        ('webhook = "5ecret"', "notify.webhook: must be an http(s) address, or env:NAME or file:PATH where the address is a secret"),
        ("command = []", "notify.command: needs at least 1 entry"),
        ('command = ["true"]\non = ["always"]', "notify.on[0]: must be one of failed, configuration, partial, unavailable, refused, conflict, locked, interrupted, recovered"),
    ],
)  # fmt: skip
def test_faults_of_the_config(study: Study, lines: str, fault: str) -> None:
    add(study, f"[notify]\n{lines}")
    with pytest.raises(ConfigError) as caught:
        load_config(study.config)
    assert caught.value.faults == (fault,)


def test_the_defaults(study: Study) -> None:
    add(study, '[notify]\ncommand = ["true"]')
    notify = load_config(study.config).notify
    assert notify == Notify(command=("true",))
    assert notify.on == NOTIFIED_BY_DEFAULT == ("failed", "configuration", "partial", "unavailable", "refused", "conflict", "recovered")  # fmt: skip


def test_trying_it_tells_how_the_last_run_ended_and_counts_for_nothing(
    study: Study, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = study.type("notify", "--json")
    assert (ran.code, ran.json["told"]) == (0, {"command keeper": None})
    assert ran.json["message"]["test"] is True
    (lines,) = kept.messages()
    assert lines[1] == "Test: dm-fhir pull: finished, but something is partial; the ledger names it (exit 3)"
    run(study, monkeypatch, None)
    assert len(kept.messages()) == 1
    dry = study.type("notify", "--dry-run")
    assert dry.lines[0] == "Test: dm-fhir compute: complete (exit 0)"
    assert dry.lines[-2:] == ["dry run: nobody was told", "notify: exit 0 (complete)"]
    assert len(kept.messages()) == 1


def test_trying_it_says_what_is_wrong(study: Study) -> None:
    assert study.type("notify").code == 2
    add(study, '[notify]\ncommand = ["false"]')
    ran = study.type("notify")
    assert (ran.code, ran.lines) == (1, ["not told by command false: it ended with 1", "notify: exit 1 (failed)"])


def test_a_study_without_runs_can_try_it(study: Study, kept: Kept) -> None:
    study.config.write_text(f'{study.config.read_text()}\n[store]\npath = "fresh.sqlite"\n', encoding="utf-8")
    assert study.type("notify").lines == ["told by command keeper", "notify: exit 0 (complete)"]
    assert os.listdir(kept.folder / "kept") == ["0"]
