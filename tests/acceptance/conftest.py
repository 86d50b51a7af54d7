"""A user at work: commands typed against real FHIR servers, sekmet-fhir as processes of their own on loopback."""

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import msgspec
import pytest

from dm_fhir.cli import main
from dm_fhir.config import Auth, Pull, Secret, Site
from dm_fhir.demo.cohorts import SampleSite, four_patients
from dm_fhir.demo.loading import load
from dm_fhir.demo.server import CLIENT_ID, Server, choose_ports, running
from dm_fhir.fhir.connection import Connection
from dm_fhir.fhir.keys import create_key_pair
from dm_fhir.fhir.login import connect
from dm_fhir.fhir.resource import digest
from dm_fhir.store.blocks import kept

from ..ran import Ran

Json = dict[str, Any]
_ENCODER = msgspec.json.Encoder(decimal_format="number")
OUTCOME_SYSTEM = "https://w3id.org/dm-fhir/outcome"
SCOPE = "system/*.read system/*.write"
#: Runs the command line and, at the n-th call of a function, before or after it, sends a signal to a process.
_DISTURBED = """
import importlib, itertools, os, sys
from datetime import timedelta
from dm_fhir.cli.main import run
from dm_fhir.sync import tally
tally.OVERLAP = timedelta(0)  # it would hide what a killed run forgot
place, number, when, signal, pid, *arguments = sys.argv[1:]
module, _, path = place.partition(":")
*holders, name = path.split(".")
holder = importlib.import_module(module)
for one in holders:
    holder = getattr(holder, one)
original, calls = getattr(holder, name), itertools.count(1)
def send():
    os.kill(int(pid) or os.getpid(), int(signal))
def disturbed(*args, **kwargs):
    call = next(calls)  # several threads may call it
    if call == int(number) and when == "before":
        send()
    result = original(*args, **kwargs)
    if call == int(number) and when == "after":
        send()
    return result
setattr(holder, name, disturbed)
sys.argv = ["dm-fhir", *arguments]
run()
"""


def typed(*arguments: str) -> Ran:
    """Type `dm-fhir` with these arguments, in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        code = main.call(list(arguments))
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    return Ran(code, *texts)


class Hospital(NamedTuple):
    """A running server of one site, and the key that opens it."""

    server: Server
    key: Path

    @property
    def site(self) -> str:
        return self.server.site

    def connection(self) -> Connection:
        secret = Secret(f"file:{self.key}", self.key.parent)
        auth = Auth(method="smart-backend", client_id=CLIENT_ID, private_key=secret, scope=SCOPE)
        return connect(Site(self.site, self.server.endpoint, "UTC", (), {}, auth, Pull(), True))

    def load(self, resources: Sequence[Json]) -> None:
        with self.connection() as connection:
            load(connection, resources)

    def get(self, path: str) -> Any:
        return self.get_all([path])[0]

    def get_all(self, paths: Sequence[str]) -> list[Any]:
        with self.connection() as connection:
            return [json.loads(connection.get(path).body) for path in paths]

    def put(self, resource: Json) -> None:
        with self.connection() as connection:
            path = f"{resource['resourceType']}/{resource['id']}"
            connection.request("PUT", path, body=_ENCODER.encode(resource))

    def post(self, resource: Json) -> None:
        with self.connection() as connection:
            connection.request("POST", resource["resourceType"], body=_ENCODER.encode(resource))

    def delete(self, path: str) -> None:
        with self.connection() as connection:
            connection.request("DELETE", path)

    def search(self, query: str) -> list[Json]:
        """Every resource found, page by page."""
        found: list[Json] = []
        with self.connection() as connection:
            url: str | None = query
            while url:
                bundle = json.loads(connection.get(url).body)
                found += [entry["resource"] for entry in bundle.get("entry", [])]
                url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
        return found

    def outcomes(self) -> list[Json]:
        """Every Observation of ours on the server."""
        found = self.search("Observation?_count=200")
        return [one for one in found if any(i["system"] == OUTCOME_SYSTEM for i in one.get("identifier", []))]

    def outcome(self, identifier: str) -> list[Json]:
        return self.search(f"Observation?identifier={quote(f'{OUTCOME_SYSTEM}|{identifier}', safe='')}")

    def requests(self) -> list[str]:
        """`GET /fhir/…` of every request the server answered, by its own log."""
        lines = self.server.log.read_text(encoding="utf-8").splitlines()
        return [unquote(line.split('"')[1].rpartition(" ")[0]) for line in lines if " HTTP/1.1" in line]

    def writes(self) -> list[str]:
        """The requests that could change something. Asking for a token is none."""
        return [one for one in self.requests() if not one.startswith("GET ") and "/auth/" not in one]


class Study(NamedTuple):
    """A study's folder with its config."""

    config: Path

    @property
    def store(self) -> Path:
        return self.config.with_name("dm-fhir.sqlite")

    def type(self, *arguments: str) -> Ran:
        return typed("--config", str(self.config), *arguments)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The same as a process of its own."""
        return _process("-c", "from dm_fhir.cli.main import run; run()", "--config", str(self.config), *arguments)

    def start_disturbed(
        self, place: str, number: int, when: str, *arguments: str, sending: int = signal.SIGKILL, to: int = 0
    ) -> subprocess.Popen[str]:
        """The same, but the `number`th call of the function at `place` sends a signal: to itself, or to process `to`."""
        disturbance = (place, str(number), when, str(int(sending)), str(to))
        return _process("-c", _DISTURBED, *disturbance, "--config", str(self.config), *arguments)

    def ask(self, sql: str, *values: object) -> list[Any]:
        """Rows of the store."""
        with closing(self._reading()) as db:
            return db.execute(sql, values).fetchall()

    def _reading(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)

    def body(self, type_name: str, name: str) -> bytes:
        """The current bytes of a resource, deleted or not."""
        with closing(self._reading()) as db:
            columns = "SELECT block, start, length FROM resource WHERE type = ? AND id = ?"
            [body] = kept(db, [db.execute(columns, (type_name, name)).fetchone()])
        return body

    def content(self) -> dict[str, list[Any]]:
        """What must be the same however often a run was killed. Every resource's bytes are those of its hash."""
        with closing(self._reading()) as db:
            rows = db.execute("SELECT hash, block, start, length FROM resource").fetchall()
            bodies = kept(db, (row[1:] for row in rows))
            assert all(digest(body) == row[0] for row, body in zip(rows, bodies, strict=True))
        return {
            "resources": sorted(self.ask("SELECT site, type, id, hash FROM resource")),
            "units": sorted(self.ask("SELECT site, patient, query, state FROM unit")),
            "outcomes": sorted(self.ask("SELECT site, patient, variable, about, body FROM outcome")),
            "pushes": sorted(self.ask("SELECT site, identifier, state, hash, body FROM push")),
        }


def _process(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def site_text(name: str, endpoint: str | None, key: Path, *, push: bool = True, more: str = "") -> str:
    """One [[site]] of a config."""
    where = f'endpoint = "{endpoint}"\n' if endpoint else ""
    return f"""
[[site]]
name = "{name}"
{where}[site.auth]
method = "smart-backend"
client_id = "{CLIENT_ID}"
private_key = "file:{key}"
scope = "{SCOPE}"
[site.pull]
whole_types = ["AdverseEvent"]
{more}
[site.push]
enabled = {str(push).lower()}
unattended = true
"""


HEAD = '[study]\ntitle = "Four patients"\ndrug = "anifrolumab"\ntimezone = "America/New_York"\n'
HEAD += 'pseudonym_key = "file:pseudonym.key"\n'
HospitalMaker = Callable[..., Hospital]
StudyMaker = Callable[..., Study]


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """The user's DM_FHIR_* settings are none of ours."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("DM_FHIR")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def private_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The private key that every server here lets in; its public half lies beside it."""
    private, _ = create_key_pair(tmp_path_factory.mktemp("keys"))
    return private


@pytest.fixture(scope="session")
def sample() -> SampleSite:
    """The sample cohort of four patients."""
    return four_patients()[0]


@pytest.fixture(scope="session")
def one_patient(sample: SampleSite) -> list[Json]:
    """The records of the sample's first patient."""
    return [one for one in sample.resources if one["id"].startswith("bal-1")]


def _opened(stack: ExitStack, folder: Path, key: Path, resources: Sequence[Json], name: str) -> Hospital:
    public = key.with_name("public.pem")
    server = stack.enter_context(running([name], choose_ports(1, None), folder, public))[0]
    hospital = Hospital(server, key)
    hospital.load(resources)
    return hospital


@pytest.fixture
def new_hospital(
    tmp_path_factory: pytest.TempPathFactory, private_key: Path, one_patient: list[Json]
) -> Iterator[HospitalMaker]:
    """Makes fresh servers, with the given resources or the sample's first patient."""
    with ExitStack() as stack:

        def make(resources: Sequence[Json] | None = None, name: str = "baltimore") -> Hospital:
            folder = tmp_path_factory.mktemp("server")
            return _opened(stack, folder, private_key, one_patient if resources is None else resources, name)

        yield make


@pytest.fixture(scope="session")
def new_study(tmp_path_factory: pytest.TempPathFactory, private_key: Path) -> StudyMaker:
    """Makes studies of the given hospitals, each in a folder of its own."""

    def make(*hospitals: Hospital, more: str = "", extra: str = "", push: bool = True) -> Study:
        """`more` goes into every [site.pull], `extra` to the end."""
        sites = [site_text(one.site, one.server.endpoint, private_key, push=push, more=more) for one in hospitals]
        config = tmp_path_factory.mktemp("study") / "dm-fhir.toml"
        config.write_text("".join([HEAD, *sites, extra]), encoding="utf-8")
        config.with_name("pseudonym.key").touch(mode=0o600)
        config.with_name("pseudonym.key").write_text("the key of every study here", encoding="utf-8")
        return Study(config)

    return make


@pytest.fixture(scope="session")
def dm_fhir() -> Callable[..., Ran]:
    """Types `dm-fhir` with the given arguments."""
    return typed


@pytest.fixture(scope="session")
def site_of() -> Callable[..., str]:
    """One [[site]] as text."""
    return site_text


class Loop(NamedTuple):
    """The whole loop on the sample cohort, what each step of it said, and what the second sync asked. Only to be read."""

    hospital: Hospital
    study: Study
    pull: Ran
    compute: Ran
    push: Ran
    status: Ran
    again: Ran
    asked_again: list[str]


@pytest.fixture(scope="session")
def loop(
    tmp_path_factory: pytest.TempPathFactory, private_key: Path, sample: SampleSite, new_study: StudyMaker
) -> Iterator[Loop]:
    """pull, compute, push, status, and a second sync."""
    with ExitStack() as stack:
        hospital = _opened(stack, tmp_path_factory.mktemp("server"), private_key, sample.resources, "baltimore")
        study = new_study(hospital)
        first = [study.type(*words) for words in (["pull"], ["compute"], ["push"], ["status", "--json"])]
        before = len(hospital.requests())
        again = study.type("-v", "sync", "--json")
        yield Loop(hospital, study, *first, again, hospital.requests()[before:])
