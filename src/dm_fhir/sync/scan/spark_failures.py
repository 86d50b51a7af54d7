"""What a failure of Spark means, said without its text: that may hold anything that a task had at hand."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from dm_fhir.errors import ConfigError, DmFhirError

HOW = "docs/spark.md says how an executor gets it"


class TaskFailed(Exception):  # its name stands in what Spark makes of it
    """Why a task cannot go on, as JSON: Spark hands on nothing of it but its text."""

    def __init__(self, message: str, hint: str | None, *, is_setup: bool = False) -> None:
        super().__init__(msgspec.json.encode(_Said(message, hint, is_setup)).decode())


class _Said(msgspec.Struct):
    message: str
    hint: str | None
    is_setup: bool  # a matter of how the cluster is set up


_SAID = re.compile(r"TaskFailed: (\{.*\})\s*$", re.MULTILINE)
#: What Spark says where memory was too small: the driver's, an executor's, or that of the container around it.
_MEMORY = re.compile(
    r"OutOfMemoryError|maxResultSize|memory limits|OOMKilled|exit(?:ed with exit)? code:? 137|Exit status: 137"
)
_LOST = re.compile(r"ExecutorLostFailure|Python worker exited unexpectedly|Answer from Java side is empty")


@contextmanager
def explained(log: Path) -> Iterator[None]:
    """Raises ConfigError or DmFhirError in place of what Spark raises inside the block; `log` is named as where Spark's words are."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JError, PySparkException, ConnectionError, EOFError) as error:
        raise _meaning(str(error), f"Spark's own words are in {log}") from None


def _meaning(text: str, elsewhere: str) -> DmFhirError:
    said = _SAID.search(text)
    if said:
        told = msgspec.json.decode(said[1], type=_Said)
        return (ConfigError if told.is_setup else DmFhirError)(told.message, hint=told.hint or elsewhere)
    if "ModuleNotFoundError" in text or "No module named" in text:
        return ConfigError("an executor has no dm-fhir, or lacks a package that it needs", hint=HOW)
    if "PYTHON_VERSION_MISMATCH" in text:
        version = ".".join(map(str, sys.version_info[:2]))
        return ConfigError(
            "an executor has another Python than this machine",
            hint=f"let PYSPARK_PYTHON name a Python {version} there; {HOW}",
        )
    if _MEMORY.search(text):
        return DmFhirError(
            "Spark ran out of memory",
            hint="give more with spark.driver.memory, spark.driver.maxResultSize, spark.executor.memory or "
            f"spark.executor.memoryOverhead; {elsewhere}",
        )
    if _LOST.search(text):
        return DmFhirError("Spark lost a process that was at work, maybe for want of memory", hint=elsewhere)
    return DmFhirError("Spark failed", hint=elsewhere)
