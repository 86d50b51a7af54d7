"""Two things go wrong at a time in a pull by export, and pass: it ends as if nothing had been."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ..faults.processes import Forks
from ..sync.exporting import Exporting
from .clinic import Undisturbed, clinic_in, content
from .server import BulkServer, Reply

FILE, OTHER_FILE, JOB, KICK_OFF = (
    "GET files/1/Observation-1",
    "GET files/1/Patient-2",
    "GET jobs/1",
    "GET fhir/Patient/$export",
)
Fault = Callable[[Exporting], None]


def manners(**more: Any) -> Fault:
    """The server is so by nature."""

    def put(clinic: Exporting) -> None:
        for name, one in more.items():
            assert hasattr(clinic.server.manners, name)
            setattr(clinic.server.manners, name, one)

    return put


def once(request: str, reply: Reply, times: int = 1) -> Fault:
    """The next such requests get this instead."""
    return lambda clinic: clinic.server.fail(request, reply, times)


def spoilt(request: str, **more: Any) -> Fault:
    """The answer to the next such request is carried out, and comes so."""
    return lambda clinic: clinic.server.spoil(request, lambda reply: replace(reply, **more))


def short_tokens(clinic: Exporting) -> None:
    """Every request needs a token, and each is good for two of them: one at a time, or another takes what was just got anew."""
    clinic.configure("concurrency = 2", "concurrency = 1")
    clinic.server.manners.login, clinic.server.manners.token_requests = True, 2
    log_in(clinic)


def log_in(clinic: Exporting) -> None:
    """Set the site's login up."""
    clinic.study.config.with_name("secret").write_text("decaf", encoding="utf-8")
    clinic.study.config.with_name("secret").chmod(0o600)
    clinic.configure(
        'method = "none"',
        f'method = "client-secret"\nclient_id = "us"\nclient_secret = "file:secret"\ntoken_url = "{clinic.server.root}/token"',
    )


def restarted(clinic: Exporting) -> None:
    """The server forgets the job when its first file is asked for."""
    before, is_over = clinic.server.on_request, [False]

    def forget(line: str) -> None:
        before(line)
        if line.startswith("GET files/1/") and not is_over[0]:
            is_over[0] = True
            clinic.server.restart()

    clinic.server.on_request = forget


def elsewhere(clinic: Exporting) -> None:
    """Files are at another host, which gets no credential."""
    clinic.server.manners.file_urls = "foreign"
    clinic.configure('name = "leon"\n', f'name = "leon"\nredirect_hosts = ["{clinic.server.store_host}"]\n')


TROUBLE = json.dumps(
    {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "transient"}]}
).encode()
FAULTS: dict[str, Fault] = {
    "kick-off-503": once(KICK_OFF, Reply(503), 2),
    "file-cut": spoilt(FILE, cut=300),
    "poll-503": once(JOB, Reply(503, TROUBLE, {"Retry-After": "5 minutes"}), 3),
    "expired": once(FILE, Reply(404)),
    "tokens": short_tokens,
    "encoded": manners(files="encoded"),
    "manifest-cut": lambda clinic: clinic.server.spoil(
        JOB, lambda reply: replace(reply, cut=90 if reply.body else None), 4
    ),
    "restart": restarted,
    "html": once(OTHER_FILE, Reply(200, b"<html>maintenance</html>")),
    "pages": manners(pages=3, counts=False),
    "drop": spoilt(FILE, drop=True),
    "elsewhere": elsewhere,
    "throttled": once("GET files/1/", Reply(429, b"", {"Retry-After": "1"}), 3),
    "epoch": manners(retry_after="1600000000000", progress=None, location="relative", file_urls="relative"),
    "no-ranges": manners(ranges=False),
    "late": manners(polls=40),
    "public": manners(requires_access_token=False),
    "delete-503": once("DELETE", Reply(503), 2),
}
NAMES = list(FAULTS)
#: Each with two others.
PAIRS = [(one, NAMES[(at + step) % len(NAMES)]) for at, one in enumerate(NAMES) for step in (1, 5)]


def left(server: BulkServer) -> list[int]:
    """The jobs that are still there."""
    return [job.number for job in server.alive]


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=[f"{one}+{other}" for one, other in PAIRS])
def test_two_at_a_time(forking: Forks, undisturbed: Undisturbed, tmp_path: Path, one: str, other: str) -> None:
    with clinic_in(tmp_path / "study") as clinic:
        clinic.configure("tries = 1", "tries = 4")
        FAULTS[one](clinic)
        FAULTS[other](clinic)
        code, _, said = forking.run(clinic.study, "pull")
        assert code == 0, said
        assert content(clinic) == undisturbed.content, said
        assert left(clinic.server) == []
        assert len(clinic.server.jobs) == (2 if "restart" in (one, other) else 1)
        assert clinic.server.pending == [] or "restart" in (one, other), "what was to go wrong did"
        assert "secret" not in said


def test_a_token_that_lives_shorter_than_the_job(forking: Forks, undisturbed: Undisturbed, tmp_path: Path) -> None:
    with clinic_in(tmp_path / "study") as clinic:
        clinic.configure("tries = 1", "tries = 4")
        short_tokens(clinic)
        clinic.server.manners.polls = 30
        code, _, said = forking.run(clinic.study, "pull")
        assert code == 0, said
        assert content(clinic) == undisturbed.content
        assert len(clinic.server.lines("POST token")) >= 15
        assert (len(clinic.server.jobs), left(clinic.server)) == (1, [])


def test_a_login_that_is_lost_for_good_leaves_the_job_for_the_next_run(
    forking: Forks, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    with clinic_in(tmp_path / "study") as clinic:
        short_tokens(clinic)
        clinic.server.fail("POST token", Reply(401), times=0)
        begun: list[str] = []

        def lock_out(line: str) -> None:
            begun.append(line)
            if line.startswith("GET jobs/1"):
                clinic.server._faults[-1].times = 99

        clinic.server.on_request = lock_out
        code, _, said = forking.run(clinic.study, "pull")
        assert (code, left(clinic.server)) == (5, [1]), said
        clinic.server.on_request = lambda _: None
        clinic.server._faults[-1].times = 0
        code, _, said = forking.run(clinic.study, "pull")
        assert (code, len(clinic.server.jobs), left(clinic.server)) == (0, 1, []), said
        assert content(clinic) == undisturbed.content


@pytest.mark.parametrize(
    ("reply", "code", "reason"),
    [(Reply(503, b"", {"Retry-After": "18000"}), 4, "retry-after-too-long"), (Reply(401), 5, "auth")],
)
def test_what_ends_the_download_is_what_the_run_says(
    forking: Forks, undisturbed: Undisturbed, tmp_path: Path, reply: Reply, code: int, reason: str
) -> None:
    with clinic_in(tmp_path / "study") as clinic:
        clinic.server.fail("GET files/", reply, times=99)
        ended, _, said = forking.run(clinic.study, "pull")
        assert (ended, "internal error" in said) == (code, False), said
        assert {why for _, why in clinic.units().values()} >= {reason}
        clinic.server._faults[-1].times = 0
        assert forking.run(clinic.study, "pull")[0] == 0
        assert content(clinic) == undisturbed.content
        assert len(clinic.server.jobs) == 1
