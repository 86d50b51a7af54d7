"""A file comes onto the disk whole or not at all, whatever happens on its way."""

import errno
import gzip
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dm_fhir.errors import AnswerUnusable, FileExpired, LoginRefused, RequestFailed, ServerUnavailable, StoreError
from dm_fhir.fhir import download as module
from dm_fhir.fhir.bulk_kick_off import Export, kick_off
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.download import Downloaded, download

from .conftest import HELD, Connect, resource
from .server import BulkServer, Reply

FILE = "GET files/1/Observation-1"
MANY = [*HELD, *(resource("Observation", f"o{number}", "1", valueString="x" * 50) for number in range(200))]


@pytest.fixture
def server() -> Iterator[BulkServer]:
    with BulkServer(MANY) as server:
        server.manners.polls = 0
        yield server
        assert server.errors == []


def file_of(server: BulkServer, connection: Connection) -> tuple[str, bytes]:
    """The address of the export's one file, and what is in it as it is sent."""
    kick_off(connection, Export("", ("Observation",)))
    (file,) = server.jobs[-1].files
    return f"{server.root}/{file.path}", file.content


def names(folder: Path) -> list[str]:
    """What lies there."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("how", ["plain", "encoded", "gz"])
def test_it_is_kept_as_it_was_sent(server: BulkServer, connect: Connect, tmp_path: Path, how: str) -> None:
    server.manners.files = how
    connection = connect()
    url, content = file_of(server, connection)
    found = download(connection, url, tmp_path / "a.ndjson")
    plain = content if how == "plain" else gzip.decompress(content)
    assert found == Downloaded(tmp_path / "a.ndjson", len(content), len(plain), 202)
    assert (tmp_path / "a.ndjson").read_bytes() == content
    assert stat.S_IMODE((tmp_path / "a.ndjson").stat().st_mode) == 0o600
    assert names(tmp_path) == ["a.ndjson"]
    encodings = [asked.headers["accept-encoding"] for asked in server.log if asked.line.startswith(FILE)]
    assert encodings == (["identity"] if how == "gz" else ["gzip"])


def test_a_part_is_only_the_owners(server: BulkServer, connect: Connect, tmp_path: Path) -> None:
    connection = connect(tries=1)
    url, _ = file_of(server, connection)
    server.cut(FILE, 100)
    with pytest.raises(AnswerUnusable):
        download(connection, url, tmp_path / "a.ndjson")
    assert names(tmp_path) == ["a.ndjson.part", "a.ndjson.tag"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("how", ["plain", "encoded", "gz"])
@pytest.mark.parametrize("ranges", [True, False])
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.integers(0, 10**6), again=st.integers(0, 10**6))
def test_cut_anywhere_twice_it_goes_on(
    server: BulkServer, connect: Connect, tmp_path: Path, how: str, ranges: bool, at: int, again: int
) -> None:
    server.manners.files, server.manners.ranges = how, ranges
    connection = connect(tries=1)
    url, content = file_of(server, connection)
    path, target = url.removeprefix(server.root), tmp_path / f"{len(server.jobs)}.ndjson"
    for cut in (at % len(content), again % len(content)):
        part = target.with_name(f"{target.name}.part")
        there = part.stat().st_size if ranges and part.exists() else 0
        server.cut(f"GET {path[1:]}", min(cut, len(content) - there - 1))
        with pytest.raises(RequestFailed):
            download(connection, url, target)
    there = part.stat().st_size if part.exists() else 0
    found = download(connection, url, target)
    assert (target.read_bytes(), found.lines, found.size_bytes) == (content, 202, len(content))
    last = next(asked for asked in reversed(server.log) if asked.path == path[1:])
    assert last.headers.get("range") == (f"bytes={there}-" if ranges and there else None)


def test_only_the_rest_is_asked_for(server: BulkServer, connect: Connect, tmp_path: Path) -> None:
    connection = connect()
    url, content = file_of(server, connection)
    server.cut(FILE, 1000)
    notes: Counter[str] = Counter()
    download(connection, url, tmp_path / "a.ndjson", notes=notes)
    first, second = (asked for asked in server.log if asked.line.startswith(FILE))
    assert "range" not in first.headers
    assert (second.status, second.headers["range"]) == (206, "bytes=1000-")
    assert second.headers["if-range"] == server.jobs[0].files[0].etag
    assert (tmp_path / "a.ndjson").read_bytes() == content
    assert notes["retries"] == 1


def test_another_content_by_now_begins_again(server: BulkServer, connect: Connect, tmp_path: Path) -> None:
    connection = connect(tries=1)
    url, content = file_of(server, connection)
    server.cut(FILE, 1000)
    with pytest.raises(AnswerUnusable):
        download(connection, url, tmp_path / "a.ndjson")
    server.jobs[0].files[0].content = changed = content.replace(b"xxx", b"yyy") + b"{}\n"
    assert download(connection, url, tmp_path / "a.ndjson").lines == 203
    assert (tmp_path / "a.ndjson").read_bytes() == changed


@pytest.mark.parametrize("reply", [
    Reply(206, b"rest", {"Content-Range": "bytes 5-8/9"}),
    Reply(206, b"rest"),
    Reply(416),
])  # fmt: skip
def test_a_part_that_does_not_fit_begins_again(
    server: BulkServer, connect: Connect, tmp_path: Path, reply: Reply
) -> None:
    connection = connect()
    url, content = file_of(server, connection)
    server.cut(FILE, 1000)
    server.fail(FILE, reply)
    server._faults[-1].times = 0
    connection_once = connect(tries=1)
    with pytest.raises(AnswerUnusable):
        download(connection_once, url, tmp_path / "a.ndjson")
    server._faults[-1].times = 1
    download(connection, url, tmp_path / "a.ndjson")
    assert (tmp_path / "a.ndjson").read_bytes() == content


def test_a_part_goes_on_under_a_new_signature_and_at_no_other_address(
    server: BulkServer, connect: Connect, tmp_path: Path
) -> None:
    connection = connect(tries=1)
    url, content = file_of(server, connection)
    for number, (first, then) in enumerate(
        [
            ("?id=1&sig=first", "?id=1&sig=other"),
            ("?id=1", "?id=2"),
            ("?X-Amz-Date=1&X-Amz-Signature=a", ""),
            ("", "?x"),
        ]
    ):
        server.cut(FILE, 1000)
        with pytest.raises(AnswerUnusable):
            download(connection, url + first, tmp_path / f"{number}.ndjson")
        assert "sig" not in (tmp_path / f"{number}.ndjson.tag").read_text(encoding="utf-8").partition(" ")[0]
        download(connection, url + then, tmp_path / f"{number}.ndjson")
        assert (tmp_path / f"{number}.ndjson").read_bytes() == content
    assert ["range" in asked.headers for asked in server.log if asked.line == f"{FILE}.ndjson"][1::2] == [
        True,
        False,
        True,
        False,
    ]


def test_a_part_of_another_content_is_not_put_behind_the_first(
    server: BulkServer, connect: Connect, tmp_path: Path
) -> None:
    connection = connect(tries=1)
    url, content = file_of(server, connection)
    server.cut(FILE, 1000)
    with pytest.raises(AnswerUnusable):
        download(connection, url, tmp_path / "a.ndjson")
    span = {"Content-Range": f"bytes 1000-{len(content) - 1}/{len(content)}", "ETag": '"another"'}
    server.fail(FILE, Reply(206, content[1000:].replace(b"x", b"y"), span))  # If-Range means nothing to some
    with pytest.raises(AnswerUnusable, match="another place"):
        download(connection, url, tmp_path / "a.ndjson")
    download(connection, url, tmp_path / "a.ndjson")
    assert (tmp_path / "a.ndjson").read_bytes() == content


@pytest.mark.parametrize("location", ["http://[1", "//[", "http://x:y/", "ftp://127.0.0.1/x"])
def test_a_redirect_to_what_is_no_address(server: BulkServer, connect: Connect, tmp_path: Path, location: str) -> None:
    connection = connect(tries=1)
    url, _ = file_of(server, connection)
    server.fail(FILE, Reply(302, b"", {"Location": location}))
    server.fail("GET fhir/Patient/1", Reply(302, b"", {"Location": location}))
    with pytest.raises(RequestFailed) as raised:
        download(connection, url, tmp_path / "a.ndjson")
    with pytest.raises(RequestFailed) as again:
        connection.get("Patient/1")
    assert (raised.value.reason, again.value.reason) == ("foreign-redirect", "foreign-redirect")


def test_a_weak_tag_is_no_reason_to_go_on(server: BulkServer, connect: Connect, tmp_path: Path) -> None:
    connection = connect()
    url, content = file_of(server, connection)
    server.spoil(FILE, lambda reply: replace(reply, cut=1000, headers={**reply.headers, "ETag": 'W/"7"'}))
    download(connection, url, tmp_path / "a.ndjson")
    assert all("range" not in asked.headers for asked in server.log)
    assert (tmp_path / "a.ndjson").read_bytes() == content


def test_a_large_file_may_break_off_often(
    server: BulkServer, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORTH_BYTES", 1000)
    connection = connect(tries=2)
    url, content = file_of(server, connection)
    server.cut(FILE, 1000, times=len(content) // 1000)
    download(connection, url, tmp_path / "a.ndjson")
    assert (tmp_path / "a.ndjson").read_bytes() == content


def test_one_that_never_gets_on_is_given_up(server: BulkServer, connect: Connect, tmp_path: Path) -> None:
    connection = connect(tries=3)
    url, _ = file_of(server, connection)
    server.cut(FILE, 10, times=99)
    with pytest.raises(AnswerUnusable, match="cut off") as raised:
        download(connection, url, tmp_path / "a.ndjson")
    assert (raised.value.reason, len(server.lines(FILE))) == ("body-incomplete", 3)


@pytest.mark.parametrize(("change", "reason"), [
    (lambda reply: replace(reply, body=gzip.compress(reply.body)[:-20]), "body-incomplete"),
    (lambda reply: replace(reply, body=gzip.compress(reply.body)[:-8]), "body-incomplete"),  # each of its lines is there
    (lambda reply: replace(reply, body=reply.body[:-5], length=-1), "body-incomplete"),
    (lambda reply: replace(reply, body=bytes(byte ^ (at in range(200, 240)) for at, byte in enumerate(gzip.compress(reply.body)))), "body-corrupt"),
    (lambda reply: replace(reply, body=b"<html>maintenance</html>"), "not-fhir"),
    (lambda reply: replace(reply, headers={"Content-Encoding": "br"}), "body-corrupt"),
    (lambda reply: replace(reply, headers={"Transfer-Encoding": "chunked"}, body=b"5\r\n{}\n{}\r\n9", length=-1), "body-incomplete"),
])  # fmt: skip
def test_damage_is_seen_and_mended_by_another_try(
    server: BulkServer, connect: Connect, tmp_path: Path, change: Any, reason: str
) -> None:
    connection = connect(tries=2)
    url, content = file_of(server, connection)
    server.spoil(FILE, change)
    download(connection, url, tmp_path / "a.ndjson")
    assert (tmp_path / "a.ndjson").read_bytes() == content
    server.spoil(FILE, change, times=2)
    with pytest.raises(AnswerUnusable) as raised:
        download(connection, url, tmp_path / "b.ndjson")
    assert raised.value.reason == reason
    assert "b.ndjson" not in names(tmp_path)


@pytest.mark.parametrize("reply", [Reply(503), Reply(429, b"", {"Retry-After": "2"}), Reply(500), Reply(drop=True)])
def test_what_may_pass(server: BulkServer, connect: Connect, tmp_path: Path, reply: Reply) -> None:
    connection = connect()
    url, _ = file_of(server, connection)
    server.fail(FILE, reply, times=2)
    assert download(connection, url, tmp_path / "a.ndjson").lines == 202
    assert connection.pace.allowed == (1 if reply.status in (429, 503) else 5)


def test_hours_are_no_reason_but_silence_is(server: BulkServer, connect: Connect, tmp_path: Path) -> None:
    connection = connect(tries=1, read_timeout_seconds=0.2, total_timeout_seconds=0.3)
    url, content = file_of(server, connection)
    server.jobs[0].files[0].content = small = content[:60].ljust(79) + b"\n"
    server.spoil(FILE, lambda reply: replace(reply, pause=0.01))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dm_fhir.fhir.transport.FEWEST_STREAMED_BYTES", 10)
        assert download(connection, url, tmp_path / "a.ndjson").size_bytes == len(small)  # 0.8 s
    server.spoil(FILE, lambda reply: replace(reply, pause=0.01))
    with pytest.raises(AnswerUnusable) as slow:
        download(connection, url, tmp_path / "b.ndjson")
    assert slow.value.reason == "too-slow"
    server.jobs[0].files[0].content = content
    server.spoil(FILE, lambda reply: replace(reply, pause=0.01, pause_from=len(content) - 80))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dm_fhir.fhir.transport.FEWEST_STREAMED_BYTES", 60)
        with pytest.raises(AnswerUnusable) as slower:  # much came at first: each stretch counts by itself
            download(connection, url, tmp_path / "d.ndjson")
    assert slower.value.reason == "too-slow"
    server.spoil(FILE, lambda reply: replace(reply, pause=0.5))
    with pytest.raises(RequestFailed) as silent:
        download(connection, url, tmp_path / "c.ndjson")
    assert silent.value.reason == "read-timeout"


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_expired_file(server: BulkServer, connect: Connect, tmp_path: Path, status: int) -> None:
    server.manners.file_lives, server.manners.expired_status = 0, status
    connection = connect()
    url, _ = file_of(server, connection)
    with pytest.raises(FileExpired) as raised:
        download(connection, url, tmp_path / "a.ndjson")
    assert (raised.value.reason, raised.value.status, raised.value.exit_code) == ("file-expired", status, 3)


def test_a_range_that_nobody_asked_for_is_a_refusal(server: BulkServer, connect: Connect, tmp_path: Path) -> None:
    connection = connect()
    url, _ = file_of(server, connection)
    server.fail(FILE, Reply(416), times=3)
    with pytest.raises(RequestFailed) as raised:
        download(connection, url, tmp_path / "a.ndjson")
    assert (raised.value.reason, len(server.lines(FILE))) == ("http-416", 1)


def test_chunks_have_an_end_of_their_own(server: BulkServer, connect: Connect, tmp_path: Path) -> None:
    connection = connect()
    url, _ = file_of(server, connection)
    body = b'{"resourceType":"Observation"}'
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    server.fail(FILE, Reply(200, chunked, {"Transfer-Encoding": "chunked"}, length=-1))
    assert download(connection, url, tmp_path / "a.ndjson").lines == 1
    assert (tmp_path / "a.ndjson").read_bytes() == body


def test_any_other_refusal(server: BulkServer, connect: Connect, tmp_path: Path) -> None:
    connection = connect()
    url, _ = file_of(server, connection)
    server.fail(FILE, Reply(406, b"no"))
    with pytest.raises(RequestFailed) as raised:
        download(connection, url, tmp_path / "a.ndjson")
    assert raised.value.reason == "http-406"
    server.die()
    with pytest.raises(ServerUnavailable):
        download(connection, url, tmp_path / "a.ndjson")


class Tokens:
    """Asks the server for a token as it needs one."""

    clock_offset_seconds: float | None = None
    granted_scope: str | None = None
    renewals = retries = 0

    def __init__(self, server: BulkServer) -> None:
        self.server, self.token = server, ""

    def headers(self) -> dict[str, str]:
        if not self.token:
            self.token = f"bulk-token-{len(self.server._tokens) + 1}-secret"
            self.server._tokens[self.token] = 0
        return {"Authorization": f"Bearer {self.token}"}

    def renew(self, failed: dict[str, str]) -> bool:
        self.token, self.renewals = "", self.renewals + 1
        return True


def test_a_token_that_ends_between_the_files(server: BulkServer, connect: Connect, tmp_path: Path) -> None:
    server.manners.login, server.manners.token_requests = True, 2
    tokens = Tokens(server)
    connection = connect(tokens)
    url, _ = file_of(server, connection)
    for number in range(5):
        download(connection, url, tmp_path / f"{number}.ndjson", needs_login=True)
    assert tokens.renewals == 2
    assert len(names(tmp_path)) == 5


def test_who_is_not_let_in(server: BulkServer, connect: Connect, tmp_path: Path) -> None:
    connection = connect()
    url, _ = file_of(server, connection)
    server.manners.login = True
    with pytest.raises(LoginRefused):
        download(connection, url, tmp_path / "a.ndjson")


def test_whether_the_login_is_lost_is_not_tried_with_a_whole_file(
    server: BulkServer, connect: Connect, tmp_path: Path
) -> None:
    server.manners.login = True
    connection = connect(Tokens(server))
    job = f"{server.root}/jobs/1"
    url, _ = file_of(server, connect(Tokens(server)))
    download(connection, url, tmp_path / "a.ndjson", needs_login=True)
    server.fail("GET jobs", Reply(401), times=9)
    with pytest.raises(LoginRefused):
        connection.get(job)
    assert len(server.lines(FILE)) == 1


def test_it_is_on_disk_before_it_has_its_name(
    server: BulkServer, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, int, bool]] = []
    really = os.fsync

    def noted(number: int) -> None:
        about = os.fstat(number)
        synced.append((stat.S_ISREG(about.st_mode), about.st_size, (tmp_path / "a.ndjson").exists()))
        really(number)

    monkeypatch.setattr(module.os, "fsync", noted)
    connection = connect()
    url, content = file_of(server, connection)
    download(connection, url, tmp_path / "a.ndjson")
    assert synced[0] == (True, len(content), False)
    assert [(is_file, is_there) for is_file, _, is_there in synced] == [(True, False), (False, True)]


def carried(server: BulkServer, line: str = FILE) -> set[tuple[str, bool, bool]]:
    """Who was asked for files: the address, with credential, with our own header."""
    asks = (asked for asked in server.log if asked.line.startswith(line))
    return {(ask.address, "authorization" in ask.headers, "epic-client-id" in ask.headers) for ask in asks}


@pytest.mark.parametrize(("said", "with_credential"), [(True, True), (None, True), (False, False)])
def test_the_credential_goes_where_it_is_needed(
    server: BulkServer, connect: Connect, tmp_path: Path, said: bool | None, with_credential: bool
) -> None:
    server.manners.login, server.manners.requires_access_token = True, said
    connection = connect(Tokens(server))
    url, _ = file_of(server, connection)
    download(connection, url, tmp_path / "a.ndjson", needs_login=said)
    assert carried(server) == {("127.0.0.1", with_credential, True)}


def test_a_login_is_needed_after_all(server: BulkServer, connect: Connect, tmp_path: Path) -> None:
    server.manners.login = True
    connection = connect(Tokens(server))
    url, _ = file_of(server, connection)
    notes: Counter[str] = Counter()
    download(connection, url, tmp_path / "a.ndjson", needs_login=False, notes=notes)
    assert notes["login_after_all"] == 1


@pytest.mark.parametrize("needs_login", [True, False, None])
def test_another_host_gets_no_credential_and_must_be_allowed(
    server: BulkServer, connect: Connect, tmp_path: Path, needs_login: bool | None
) -> None:
    connection = connect(Tokens(server))
    url, _ = file_of(server, connection)
    url = url.replace(server.root, server.store_root)
    with pytest.raises(RequestFailed, match="at another host") as raised:
        download(connection, url, tmp_path / "a.ndjson", needs_login=needs_login)
    assert raised.value.reason == "foreign-address"
    assert server.store_host in (raised.value.hint or "")
    assert carried(server) == set()
    allowed = connect(Tokens(server), site={"redirect_hosts": (server.store_host,)})
    assert download(allowed, url, tmp_path / "a.ndjson", needs_login=needs_login).lines == 202
    assert carried(server) == {("127.0.0.2", False, False)}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_the_file_store(server: BulkServer, connect: Connect, tmp_path: Path, status: int) -> None:
    server.manners.redirect_files = status
    url, _ = file_of(server, connect(Tokens(server)))
    with pytest.raises(RequestFailed) as raised:
        download(connect(Tokens(server)), url, tmp_path / "a.ndjson")
    assert raised.value.reason == "foreign-redirect"
    allowed = connect(Tokens(server), site={"redirect_hosts": (server.store_host,)})
    server.cut(FILE, 10**9)  # the redirect; what follows is cut
    server.cut(FILE, 1000)
    download(allowed, url, tmp_path / "a.ndjson", needs_login=True)
    assert carried(server) == {("127.0.0.1", True, True), ("127.0.0.2", False, False)}


@pytest.mark.parametrize(
    ("status", "redirected"),
    [(400, False), *((status, redirected) for status in (401, 403, 404, 410) for redirected in (True, False))],
)
def test_an_address_of_a_file_store_that_has_run_out(
    server: BulkServer, connect: Connect, tmp_path: Path, status: int, redirected: bool
) -> None:
    server.manners.file_lives, server.manners.expired_status = 0, status
    server.manners.redirect_files = 307 if redirected else None
    tokens = Tokens(server)
    connection = connect(tokens, site={"redirect_hosts": (server.store_host,)})
    url, _ = file_of(server, connection)
    url = url if redirected else url.replace(server.root, server.store_root)
    with pytest.raises(FileExpired):
        download(connection, url, tmp_path / "a.ndjson")
    assert tokens.renewals == 0
    assert len(server.lines(FILE)) == (2 if redirected else 1), "no login would help there"


def test_a_disk_that_is_full(
    server: BulkServer, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connect()
    url, _ = file_of(server, connection)
    with monkeypatch.context() as patch:
        patch.setattr(
            module.shutil, "disk_usage", lambda _: os.statvfs_result([0] * 10) and type("U", (), {"free": 100})
        )
        with pytest.raises(StoreError, match=r"no space left in .*; at least 10 MB needed"):
            download(connection, url, tmp_path / "a.ndjson")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", full)
        with pytest.raises(StoreError, match="no space left in"):
            download(connection, url, tmp_path / "a.ndjson")
    assert len(server.lines(FILE)) == 2, "a full disk is not tried again"
    assert download(connection, url, tmp_path / "a.ndjson").lines == 202


def test_a_folder_that_is_not_there(server: BulkServer, connect: Connect, tmp_path: Path) -> None:
    connection = connect()
    url, _ = file_of(server, connection)
    with pytest.raises(StoreError, match="cannot be written"):
        download(connection, url, tmp_path / "none" / "a.ndjson")


def test_a_file_larger_than_the_memory_is_read_in_pieces(server: BulkServer, connect: Connect, tmp_path: Path) -> None:
    import tracemalloc

    connection = connect(read_timeout_seconds=5)
    url, _ = file_of(server, connection)
    server.jobs[0].files[0].content = b'{"resourceType":"Observation"}\n' * 200_000
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    assert download(connection, url, tmp_path / "a.ndjson").lines == 200_000
    assert tracemalloc.get_traced_memory()[1] - before < 3_000_000
    tracemalloc.stop()
