"""A real FHIR server on loopback for each site: sekmet-fhir, an independent project from PyPI, as processes of its own.

https://pypi.org/project/sekmet-fhir/ (Apache-2.0). Validation strict, login by SMART Backend Services.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dm_fhir.errors import ConfigError, DmFhirError

HOST = "127.0.0.1"
CLIENT_ID = "dm-fhir"
_STARTS_WITHIN_SECONDS = 30
_ENDS_WITHIN_SECONDS = 5


#: The server ends when its standard input does: however we die, no server is left.
_PROGRAM = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from sekmet.cli import app
app()
"""


class Server(NamedTuple):
    """A running server of one site."""

    site: str
    endpoint: str
    process: subprocess.Popen[bytes]
    log: Path


def check_installed() -> None:
    """Raises ConfigError if the server is not installed, naming the line that installs it."""
    if importlib.util.find_spec("sekmet") is None:
        raise ConfigError(
            "the demo needs the FHIR server sekmet-fhir", hint="install it with: pip install 'dm-fhir[demo]'"
        )


def choose_ports(count: int, first: int | None) -> list[int]:
    """Free loopback ports: any, or `count` in a row from `first`. Raises ConfigError naming one that is in use."""
    if first is None:
        return _any_ports(count)
    ports = list(range(first, first + count))
    for port in ports:
        if not _is_free(port):
            raise ConfigError(
                f"port {port} on {HOST} is in use", hint="choose another with --port, or leave it out for free ones"
            )
    return ports


@contextmanager
def running(sites: Sequence[str], ports: Sequence[int], folder: Path, public_key: Path) -> Iterator[list[Server]]:
    """A server per site, up and answering; all of them are stopped at the end, however it comes.

    Raises DmFhirError with the end of a server's log if it does not come up.
    """
    servers: list[Server] = []
    try:
        for site, port in zip(sites, ports, strict=True):
            servers.append(_start(site, port, folder / site, public_key))
        for server in servers:
            _wait_until_up(server)
        yield servers
    finally:
        _stop(servers)


def _any_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different because they are held until the last is found."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, port))
        except (OSError, OverflowError):
            return False
        return True


def _start(site: str, port: int, folder: Path, public_key: Path) -> Server:
    folder = (
        folder.resolve()
    )  # the server runs in it; a settings file it cannot find it replaces by defaults of its own
    folder.mkdir(parents=True)
    endpoint, log = f"http://{HOST}:{port}/fhir", folder / "server.log"
    settings = folder / "settings.yaml"
    settings.write_text(
        json.dumps(_settings(endpoint, port, folder, public_key.resolve())), encoding="utf-8"
    )  # JSON is YAML
    command = [sys.executable, "-c", _PROGRAM, "serve", "-c", str(settings)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEKMET_")}
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches only us, and we stop it in order.
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.PIPE,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
    return Server(site, endpoint, process, log)


def _settings(endpoint: str, port: int, folder: Path, public_key: Path) -> dict[str, object]:
    client = {"client_id": CLIENT_ID, "public_key_path": str(public_key), "scopes": "system/*.read system/*.write"}
    return {
        "base_url": endpoint,
        "host": HOST,  # its default is every interface
        "port": port,
        "data_dir": str(folder / "data"),
        "server_auth": {"types": ["smart"], "smart_clients": [client]},
        "validation": {"inbound": "strict"},
        "simulator": {"enabled": False},
        "log_inbound": False,
    }


def _wait_until_up(server: Server) -> None:
    port = int(server.endpoint.rsplit(":", 1)[1].split("/")[0])
    deadline = time.monotonic() + _STARTS_WITHIN_SECONDS
    while time.monotonic() < deadline:
        if _has_ended(server.process):
            raise DmFhirError(f"the server of {server.site} ended while starting:\n{_tail(server.log)}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise DmFhirError(
        f"the server of {server.site} did not answer within {_STARTS_WITHIN_SECONDS} s:\n{_tail(server.log)}"
    )


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Not by poll(): interrupted at the wrong moment it keeps a lock for ever, and whoever then waits never returns."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])


def _stop(servers: Sequence[Server]) -> None:
    for server in servers:
        server.process.terminate()
    for server in servers:
        try:
            server.process.wait(_ENDS_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
        if server.process.stdin is not None:
            server.process.stdin.close()
