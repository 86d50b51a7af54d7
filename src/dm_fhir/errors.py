"""Every error of dm-fhir, sorted by what the person in front of it should do next.

    DmFhirError                    exit 1   something failed; the message says what
    ├── ConfigError                exit 2   mend the config, a table, a path or the command line
    │   └── NotConfirmed           exit 2   a person is to say yes to what would be written
    ├── Locked                     exit 11  another run is at work: wait for it
    ├── LoginRefused               exit 5   mend the credentials, or ask the hospital
    ├── ServerUnavailable          exit 4   try later
    ├── RequestFailed              exit 3   one request was refused or broke: its unit stays partial
    │   ├── AnswerUnusable         exit 3   an answer came but is not usable FHIR
    │   ├── FileExpired            exit 3   a file of an export is no longer handed out: ask for its manifest again
    │   └── WriteUnsettled         exit 3   a write went out, and whether it was carried out is not known
    ├── NotWritable                exit 3   an outcome that FHIR has no room for: it alone is not written
    ├── StoreError                 exit 1   the store is another study's, newer than this program, or damaged
    └── InternalError              exit 1   a mistake of this program: report it

Exit 7, a conflict on push, comes from the ledger and not from an error: the other outcomes go on.
Messages name references (`Observation/123`), never names, dates of birth, identifiers, values or secrets.
"""

from collections.abc import Iterable
from traceback import walk_tb

#: Exit codes, an interface for schedulers. The first that applies wins.
EXIT_PRECEDENCE = (130, 2, 11, 5, 4, 1, 7, 3, 0)
EXIT_CODES = {
    0: "complete",
    1: "failed",
    2: "usage or configuration",
    3: "finished, but something is partial; the ledger names it",
    4: "server unavailable, try later",
    5: "login refused",
    7: "conflict on push",
    11: "another run holds the lock",
    130: "interrupted",
}


def worst_exit_code(codes: Iterable[int]) -> int:
    """The exit code to report when several apply; 0 when there is none."""
    return min(codes, key=EXIT_PRECEDENCE.index, default=0)


def in_a_line(told: object) -> str:
    """What an error or text says over several lines, in one; the parts of a list follow its heading."""
    lines = (line.strip().removeprefix("- ") for line in str(told).splitlines())
    return "; ".join(lines).replace(":; ", ": ")


class DmFhirError(Exception):
    """What went wrong, for a person; `hint` says how to mend it and is None where nobody can tell."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class ConfigError(DmFhirError):
    """Config, mapping table, path or option is wrong. `faults` lists all of them, one line each."""

    exit_code = 2

    def __init__(self, message: str, *, faults: Iterable[str] = (), hint: str | None = None) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join((message, *(f"  - {fault}" for fault in self.faults))), hint=hint)


class NotConfirmed(ConfigError):
    """Something would be written, taken back or repaired, and nobody has said yes to it."""

    reason = "not-confirmed"


class Locked(DmFhirError):
    """Another run holds the lock of this store."""

    exit_code = 11


class LoginRefused(DmFhirError):
    """The server, or its token endpoint, does not accept the credentials."""

    exit_code = 5


class ServerUnavailable(DmFhirError):
    """The server cannot be reached, or asks to come back later than this run can wait.

    `reason` is the ledger's word for it; `not_before` is when the server wants to be asked again, None if it did not say.
    """

    exit_code = 4

    def __init__(
        self, message: str, *, reason: str = "unreachable", not_before: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.not_before = not_before


class RequestFailed(DmFhirError):
    """One request was refused or kept failing. `reason` is the ledger's word for it, `status` the HTTP status if any."""

    exit_code = 3

    def __init__(self, message: str, *, reason: str, status: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.status = status


class AnswerUnusable(RequestFailed):
    """An answer arrived but is cut off, damaged, too large, or not FHIR."""


class FileExpired(RequestFailed):
    """A file of an export is not handed out, or no longer: its manifest, asked for again, may name another address for it."""


class WriteUnsettled(RequestFailed):
    """A write went out, and nothing tells whether it was carried out: that must be looked up before anything is sent again.

    `wait_seconds` is how long the server wants to be left alone, None if it did not say.
    """

    def __init__(
        self, message: str, *, reason: str, status: int | None = None, wait_seconds: float | None = None
    ) -> None:
        super().__init__(message, reason=reason, status=status)
        self.wait_seconds = wait_seconds


class NotWritable(DmFhirError):
    """What was computed cannot be said in FHIR, such as a reference to an id that FHIR does not allow. The message says what."""

    exit_code = 3


class StoreError(DmFhirError):
    """The store cannot be used by this study or this version of dm-fhir."""


class InternalError(DmFhirError):
    """A mistake of this program. `frames` are the places in it, without a value: `dm_fhir/sync/compute.py:61: compute_site`."""

    def __init__(self, message: str, frames: Iterable[str]) -> None:
        super().__init__(message)
        self.frames = tuple(frames)


def unexpected(error: Exception) -> InternalError:
    """What may be said of an error that nobody thought of: its text and values may be a patient's, its place is not."""
    frames = [
        (str(frame.f_globals.get("__name__")).replace(".", "/"), line, frame.f_code.co_name)
        for frame, line in walk_tb(error.__traceback__)
    ]
    ours = [frame for frame in frames if frame[0].startswith("dm_fhir/")]
    file, line, _ = (ours or frames)[-1]
    text = f"internal error: {type(error).__name__} at {file}.py:{line}; please report it"
    return InternalError(text, (f"{file}.py:{line}: {function}" for file, line, function in frames))
