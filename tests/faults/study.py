"""A study of one site at the fault server: its config, commands typed in it, and what its store then holds."""

import io
import json
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dm_fhir.cli import main
from dm_fhir.store.ledger import Unit, units
from dm_fhir.store.resources import resources_of

from .hospital import Json
from .server import BEARER, CUSTOM_HEADER
from .writing import Clock

SITE = "clinic"
PATIENT = "Patient/p1"
CLIENT_SECRET = "client-secret-decaf"
CLIENT_ID = "dm-fhir-client"
_PULL = {"scope": '"all"', "observations_by": '"whole"', "concurrency": "1"}


class Ran(NamedTuple):
    """What a command came to, how long it wanted to wait, and which hosts' names it looked up."""

    code: int
    out: str
    err: str
    waits: tuple[float, ...]
    looked_up: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"{self.out}\n{self.err}"

    @property
    def last_line(self) -> str:
        return (self.out.splitlines() or [""])[-1]


class Study(NamedTuple):
    """A study's folder with its config."""

    config: Path

    @property
    def store(self) -> Path:
        return self.config.parent / "dm-fhir.sqlite"

    def type(self, *arguments: str) -> Ran:
        """Type `dm-fhir` with these arguments, in this process; nobody waits, and only loopback has a name."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with redirect_stdout(out), redirect_stderr(err), _not_waiting() as waits, _loopback_only() as looked_up:
            code = main.call(["--config", str(self.config), *arguments])
        texts = []
        for stream in (out, err):
            stream.flush()
            texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
        return Ran(code, *texts, tuple(waits), tuple(looked_up))

    def observations(self) -> dict[str, bytes]:
        """The Observations of the patient that the mapping would see, by id."""
        return self._bodies("Observation")

    def conditions(self) -> dict[str, bytes]:
        return self._bodies("Condition")

    def units(self) -> dict[str, Unit]:
        """The ledger by query. There is one patient."""
        with self._db() as db:
            return {unit.query: unit for unit in units(db, SITE)} if db else {}

    def set_aside(self) -> list[tuple[str, bytes]]:
        """Why each thing was set aside, and its bytes."""
        with self._db() as db:
            return db.execute("SELECT reason, body FROM quarantine ORDER BY 1").fetchall() if db else []

    def status(self) -> Any:
        """`status --json`."""
        return json.loads(self.type("status", "--json").out)

    def _bodies(self, type_name: str) -> dict[str, bytes]:
        with self._db() as db:
            stored = list(resources_of(db, SITE, PATIENT)) if db else []
        of_type = [one for one in stored if one.type == type_name]
        assert len({one.id for one in of_type}) == len(of_type), "a resource is there twice"
        return {one.id: one.body for one in of_type}

    @contextmanager
    def _db(self) -> Iterator[sqlite3.Connection | None]:
        if not self.store.exists():
            yield None
            return
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as db:
            yield db


def new_study(
    folder: Path,
    endpoint: str,
    *,
    login: str = "bearer",
    pull: Mapping[str, str | None] | None = None,
    site: str = "",
    push: str = "",
) -> Study:
    """Write the config of a study whose cohort is the patient `p1`. `pull` None takes a setting away, `push` are lines."""
    settings = {name: value for name, value in {**_PULL, **(pull or {})}.items() if value is not None}
    (folder / "patients.txt").write_text("p1\n", encoding="utf-8")
    config = folder / "dm-fhir.toml"
    lines = [
        '[study]\ntitle = "Faults"\ndrug = "anifrolumab"\ntimezone = "UTC"\n',
        f'[[site]]\nname = "{SITE}"\nendpoint = "{endpoint}"\nheaders = {{ "{CUSTOM_HEADER}" = "app-4711" }}\n{site}\n',
        f"[site.auth]\n{_LOGINS[login](folder)}",
        '[site.cohort]\nby = "patients"\npatients = "patients.txt"\n',
        "[site.pull]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()),
        f"[site.push]\n{push}\n" if push else "",
    ]
    config.write_text("".join(lines), encoding="utf-8")
    return Study(config)


def _bearer(folder: Path) -> str:
    return f'method = "bearer"\ntoken = "{_secret(folder, "token", BEARER)}"\n'


def _client_secret(folder: Path) -> str:
    secret = _secret(folder, "client-secret", CLIENT_SECRET)
    return f'method = "client-secret"\nclient_id = "{CLIENT_ID}"\nclient_secret = "{secret}"\n'


def _smart(folder: Path) -> str:
    key = ec.generate_private_key(ec.SECP384R1())
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return f'method = "smart-backend"\nclient_id = "{CLIENT_ID}"\nprivate_key = "{_secret(folder, "key.pem", text)}"\n'


def _secret(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return f"file:{path}"


_LOGINS: dict[str, Callable[[Path], str]] = {
    "bearer": _bearer,
    "client-secret": _client_secret,
    "smart-backend": _smart,
}


@contextmanager
def _not_waiting() -> Iterator[list[float]]:
    """Nobody waits, but for the server the time has passed."""
    waits: list[float] = []

    def pass_(seconds: float) -> None:
        waits.append(seconds)
        Clock.waited_seconds += seconds

    with mock.patch.object(time, "sleep", pass_):
        yield waits


@contextmanager
def _loopback_only() -> Iterator[list[str]]:
    """Names are looked up nowhere. What was tried is kept."""
    original, tried = socket.getaddrinfo, []

    def lookup(host: str, *args: Any, **more: Any) -> Any:
        if not host.startswith("127."):
            tried.append(host)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return original(host, *args, **more)

    with mock.patch.object(socket, "getaddrinfo", lookup):
        yield tried


def values(bodies: Mapping[str, bytes]) -> dict[str, Any]:
    """The value of each Observation."""
    found: dict[str, Json] = {id_: json.loads(body) for id_, body in bodies.items()}
    return {id_: one["valueQuantity"]["value"] for id_, one in found.items()}
