"""A real S3 server that nobody here wrote (moto, in a process of its own), and in front of it a way on which things go wrong."""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3

SECRET = "a-secret-that-nobody-may-see"
BUCKET = "bucket"
#: So many objects are listed at once.
PAGE = 50
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>a-secret-that-nobody-may-see</Message></Error>"
_DENIED = b"<Error><Code>AccessDenied</Code><Message>a-secret-that-nobody-may-see</Message></Error>"


class Way(ThreadingHTTPServer):
    """Hands requests on. `fault` may be `slow`, `denied`, `cut` or `dead`, for so many requests that have `where` in their line."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = port
        self.fault, self.left, self.where = "", 0, ""
        self.asked: list[str] = []
        self.lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def goes_wrong(self, fault: str, times: int = 1_000_000, where: str = "") -> None:
        self.fault, self.left, self.where = fault, times, where

    def fault_of(self, line: str, ranged: str) -> str:
        with self.lock:
            self.asked.append(f"{line} {ranged}")
            if not self.fault or self.left == 0 or self.where not in f"{line} {ranged}":
                return ""
            self.left -= 1
            return self.fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Way

    def do_GET(self) -> None:
        fault = self.server.fault_of(self.requestline, self.headers.get("Range", ""))
        if fault == "dead":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault in ("slow", "denied"):
            self._answer(
                503 if fault == "slow" else 403,
                {"Content-Type": "application/xml"},
                _SLOW_DOWN if fault == "slow" else _DENIED,
            )
        else:
            self._hand_on(is_cut=fault == "cut")

    do_HEAD = do_PUT = do_GET

    def _hand_on(self, *, is_cut: bool) -> None:
        asked = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=30)
        with contextlib.closing(asked):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.request(self.command, self.path, body, dict(self.headers))
            answer = asked.getresponse()
            self._answer(answer.status, dict(answer.getheaders()), answer.read(), is_cut=is_cut)

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes, *, is_cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if is_cut else body)
        if is_cut:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        return


@contextlib.contextmanager
def running_s3() -> Iterator[tuple[Way, Any]]:
    """The server behind its way, and a client of it that sees no faults; with an empty bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE)},
    )
    way = Way(port)
    threading.Thread(target=way.serve_forever, args=(0.02,), daemon=True).start()
    try:
        _wait_for(port)
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key=SECRET,
        )
        client.create_bucket(Bucket=BUCKET)
        yield way, client
        client.close()
    finally:
        process.kill()
        process.wait()
        way.shutdown()
        way.server_close()


def _wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError("the S3 server did not start")
