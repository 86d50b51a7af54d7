"""A session with Apache Spark: what must be there for it, how it is begun safely and quietly, and how it ends."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dm_fhir.errors import ConfigError, ServerUnavailable
from dm_fhir.sync.scan.spark_failures import explained

if TYPE_CHECKING:
    from pyspark import SparkConf, SparkContext

OLDEST_JAVA = 17
#: So long may a master take to answer, and Java to end.
ANSWER_SECONDS = 10.0
#: How spark-submit tells that it has begun the session's Java already.
_SUBMITTED = "PYSPARK_GATEWAY_PORT"
#: What patients' data on disks need, and a terminal; unless whoever runs it has said otherwise.
_SAFE = {
    "spark.app.name": "dm-fhir",
    "spark.io.encryption.enabled": "true",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
#: What they need on wires, where Spark makes the secret for it by itself.
_SAFE_WIRES = {"spark.authenticate": "true", "spark.network.crypto.enabled": "true"}
_MAKES_SECRET = ("local", "yarn", "k8s://")
_HERE_ALONE = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}


def check_setup(master: str | None) -> None:
    """Raises ConfigError where pyspark, Java or a setting is missing, or there is no such master; asks nobody."""
    try:
        import pyspark  # noqa: F401  # only whether it is there
    except ImportError:
        raise ConfigError("Apache Spark is not installed", hint='pip install "dm-fhir[spark]"') from None
    if _SUBMITTED not in os.environ:
        _need_java()
    if master is not None and not master.startswith("local"):
        _addresses(master)


@contextmanager
def session(master: str | None, log: Path) -> Iterator["SparkContext"]:
    """A session with the master, None for what spark-submit has chosen or else this machine; what Spark says goes to `log`.

    Raises ConfigError where pyspark, Java or a setting is missing, ServerUnavailable if the master does not answer.
    """
    check_setup(master)
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway

    is_submitted = _SUBMITTED in os.environ
    with _private(log) as said, _own_interrupts(), explained(log):
        if is_submitted:
            gateway = launch_gateway()  # type: ignore[no-untyped-call]  # Spark's has no types
            conf = _settle(SparkConf(_jvm=gateway.jvm), master)
        else:
            conf = _settle(SparkConf(loadDefaults=False), master)
            gateway = launch_gateway(conf, {"stdout": said, "stderr": said})  # type: ignore[no-untyped-call]
        context = SparkContext(conf=conf, gateway=gateway)
    try:
        yield context
    except BaseException:
        if gateway.proc is not None:
            gateway.proc.terminate()  # ends it as stopping does, and waits for no answer
        raise
    finally:
        with warnings.catch_warnings(action="ignore"), suppress(Exception):
            context.stop()
        _end(gateway)
        SparkContext._gateway = SparkContext._jvm = None  # another session begins its own


def _settle(conf: "SparkConf", master: str | None) -> "SparkConf":
    """The settings with the master, and with ours where nobody has said anything. Raises ServerUnavailable, ConfigError."""
    chosen = master or conf.get("spark.master", "local[*]")
    conf.setMaster(chosen)
    is_here = chosen.startswith("local")
    if is_here:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    else:
        _need_master(chosen)
    ours = _SAFE | (_SAFE_WIRES if chosen.startswith(_MAKES_SECRET) else {}) | (_HERE_ALONE if is_here else {})
    for name, value in ours.items():
        conf.setIfMissing(name, value)
    return conf


def _need_master(master: str) -> None:
    """Spark itself would try for minutes. Raises ServerUnavailable if nothing listens there, ConfigError for no master."""
    addresses = _addresses(master)
    if addresses and not any(map(_listens, addresses)):
        raise ServerUnavailable(f"no Spark master answers at {master}", hint="is it running, and reachable from here?")


def _addresses(master: str) -> list[str]:
    """Where the master listens; none for YARN, whose configuration says it. Raises ConfigError for no master."""
    if master == "yarn":
        if not {"HADOOP_CONF_DIR", "YARN_CONF_DIR"} & os.environ.keys():
            raise ConfigError(
                "YARN is not configured here", hint="set HADOOP_CONF_DIR to the folder with yarn-site.xml"
            )
        return []
    found = re.fullmatch(r"(?:spark|k8s)://(\S+)", master)
    if found is None:
        wanted = "local[N], spark://HOST:PORT, k8s://https://HOST:PORT or yarn"
        raise ConfigError(f"{master} is no master of Spark", hint=f"give {wanted}")
    return found[1].split(",")


def _listens(address: str) -> bool:
    parts = urlsplit(address if "://" in address else f"https://{address}")
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        socket.create_connection((parts.hostname or "", port), ANSWER_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True


def _need_java() -> None:
    """Raises ConfigError where there is no Java, or one that is too old."""
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else shutil.which("java") or ""
    hint = (
        f"install a Java runtime, {OLDEST_JAVA} or newer (Debian: openjdk-{OLDEST_JAVA}-jre-headless), or set JAVA_HOME"
    )
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        raise ConfigError("Apache Spark needs Java, and there is none here", hint=hint) from None
    version = re.search(r'version "(?:1\.)?(\d+)', told.stderr)
    if version is None or int(version[1]) < OLDEST_JAVA:
        found = f"Java {version[1]}" if version else "no Java that says its version"
        raise ConfigError(f"Apache Spark needs Java {OLDEST_JAVA} or newer, and here is {found}", hint=hint)


@contextmanager
def _private(log: Path) -> Iterator[IO[bytes]]:
    """The log, begun anew, for nobody else to read."""
    log.unlink(missing_ok=True)
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        yield file


@contextmanager
def _own_interrupts() -> Iterator[None]:
    """Spark puts a handler of its own in the place of ours."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is not before:
            signal.signal(signal.SIGINT, before)


def _end(gateway: Any) -> None:
    """End the Java that was begun here, whatever state it is in."""
    gateway.shutdown()
    if gateway.proc is None:
        return
    gateway.proc.stdin.close()  # which is how it hears that nobody needs it any more
    try:
        gateway.proc.wait(ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        gateway.proc.kill()
        gateway.proc.wait()
