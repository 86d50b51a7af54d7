"""Object storage: s3://, gs://, abfs://, hdfs://, through fsspec, which is imported only where such an address is given.

Credentials are found by the store's own library where it always looks for them. Whatever such a library says in an error is
never repeated: it may hold a key.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from io import BufferedReader
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlsplit

import tenacity

from dm_fhir.errors import ConfigError, DmFhirError, LoginRefused, ServerUnavailable
from dm_fhir.fhir.addresses import LETS_IN
from dm_fhir.fhir.packed import CHANGED, UNREADABLE, Unreadable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: By scheme, the package that speaks with such a store.
PACKAGES = {
    "s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs", "hdfs": "pyarrow", "memory": "fsspec",
}  # fmt: skip
_ALSO = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
#: So much is asked for at a time: a piece of a file streams, and little is fetched that nobody wants.
_BLOCK_BYTES = 4 * 2**20
#: A few tries, of the library and of ours: a store that is gone is given up within minutes.
_TRIES = 3
_OPTIONS = {
    "s3": {
        "config_kwargs": {"connect_timeout": 10, "read_timeout": 60, "retries": {"mode": "standard", "max_attempts": 3}}
    }
}
_LONGEST_WAIT_SECONDS = 10
#: What changes with an object's content, as the stores call it, the best first.
_MARKS = ("ETag", "etag", "generation", "mtime", "LastModified", "last_modified", "updated", "created")
#: A parameter that lets in whoever has it.
_SECRET = re.compile(rf"[?&]{LETS_IN}=", re.IGNORECASE)
#: What may stand behind a colon there: a port, the rest of an access point's name. A key may hold a slash, so that the @ comes later.
_NO_LOGIN = re.compile(r"[^:@]*(?::\d{1,5})?|arn:[^@]*")
_LOGIN = ("Credential", "Token", "SSO", "RefreshError", "ClientAuthentication", "Unauthorized")
_REGION = ("AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraint", "301", "NoRegion")
_BUSY = ("SlowDown", "ServiceUnavailable", "Throttl", "TooManyRequests", "503", "429")


class Object(NamedTuple):
    """An object of a store; `version` changes whenever its content does."""

    address: str
    size_bytes: int
    version: str


def is_address(path: str) -> bool:
    """Whether the path names something in a store, not on this machine."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path) is not None


def address_of(path: str) -> str:
    """The address as the store's library says it. Raises ConfigError for one that nobody here can read, or that holds a secret."""
    scheme, _, rest = path.partition("://")
    scheme = _ALSO.get(scheme.lower(), scheme.lower())
    if scheme not in PACKAGES:
        known = ", ".join(f"{name}://" for name in PACKAGES if name != "memory")
        hint = f"{known} can be read"
        if scheme in ("http", "https"):
            hint += (
                '; what a server exports is pulled with mode = "bulk" under [site.pull], one file is downloaded first'
            )
        raise ConfigError(f"nothing is read from {scheme}://", hint=hint)
    host = rest.partition("/")[0]
    box, _, account = host.rpartition("@") if scheme.startswith("abfs") else ("", "", host)  # container@account
    if ":" in box or not _NO_LOGIN.fullmatch(account) or _SECRET.search(rest):
        raise ConfigError(
            f"the {scheme}:// address holds a login, which others could read there",
            hint="leave it out: credentials are found in the environment or in the machine's own (see docs/storage.md)",
        )
    return f"{scheme}://{rest}"


def objects(address: str) -> list[Object]:
    """What lies at the address: one object, all below a folder, or all that match a pattern with * ? [ ], in order of name.

    Raises ConfigError if there is nothing, LoginRefused, ServerUnavailable.
    """
    with _told(address):
        store, path = _store(address)
        found = _found(store, path)
        if not found and any(sign in path for sign in "*?["):
            found = _matching(store, path)
        if not found:
            raise FileNotFoundError
    files = ((name, info) for name, info in found.items() if info["type"] == "file" and not name.endswith("/"))
    named = ((_address(address, name), info) for name, info in files)
    return sorted(Object(name, int(info["size"]), _version(info)) for name, info in named)


def open_object(address: str, version: str) -> BufferedReader:
    """The object's bytes. Raises Unreadable where it is gone, or no longer in this version; LoginRefused, ServerUnavailable."""
    with _told(address, gone=Unreadable(UNREADABLE)):
        store, path = _store(address)
        file = store.open(path, "rb", block_size=_BLOCK_BYTES, cache_type="readahead")
        if version and _is_other(version, getattr(file, "details", None) or store.info(path)):
            raise Unreadable(CHANGED)
    return BufferedReader(cast(io.RawIOBase, _Reading(file, address)), 2**18)


class _Reading(io.RawIOBase):
    """An object as it is read; a read that breaks off is taken up again where it stood, a few times."""

    def __init__(self, file: Any, address: str) -> None:
        self._file, self._address = file, address
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, int(self._file.size))[whence])
        return self._at

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # a buffer of any kind
        with _told(self._address, gone=Unreadable(UNREADABLE)):
            read: bytes = _again(self._read, len(buffer))
        buffer[: len(read)] = read
        self._at += len(read)
        return len(read)

    def _read(self, most: int) -> bytes:
        self._file.seek(self._at)
        return cast(bytes, self._file.read(most))

    def close(self) -> None:
        self._file.close()
        super().close()


def _store(address: str) -> tuple["AbstractFileSystem", str]:
    """What speaks with the store, and the address without its scheme."""
    scheme = address.partition("://")[0]
    try:
        from fsspec.core import url_to_fs

        store, path = url_to_fs(address, use_listings_cache=False, **_OPTIONS.get(scheme, {}))
    except ImportError:
        package = PACKAGES[scheme]
        wanted = "'dm-fhir[storage]'" if package in ("s3fs", "fsspec") else f"'dm-fhir[storage]' {package}"
        raise ConfigError(
            f"{scheme}:// needs the package {package}, which is not installed", hint=f"pip install {wanted}"
        ) from None
    except OSError:
        if scheme != "hdfs":
            raise
        raise ConfigError(
            "hdfs:// needs Hadoop's client libraries (libhdfs)", hint="set HADOOP_HOME and CLASSPATH"
        ) from None
    return store, str(path)


def _found(store: "AbstractFileSystem", path: str) -> dict[str, dict[str, Any]]:
    """The object, or all that lies below; nothing where there is neither."""
    try:
        return dict(store.find(path, detail=True))
    except FileNotFoundError:
        return {}


def _matching(store: "AbstractFileSystem", pattern: str) -> dict[str, dict[str, Any]]:
    try:
        return dict(store.glob(pattern, detail=True))
    except ValueError:
        raise ConfigError(f"{pattern} is no pattern", hint="** stands for whole folders: bucket/**/*.ndjson") from None


def _address(given: str, name: str) -> str:
    """The full address of what the store calls by this name."""
    parts = urlsplit(given)
    first = parts.netloc.partition("@")[0]
    return f"{parts.scheme}://{parts.netloc}/{name.lstrip('/').removeprefix(f'{first}/')}"


def _version(info: dict[str, Any]) -> str:
    """The object's size, and its ETag, or its time where it has none, with what it is called in this store."""
    name = next((name for name in _MARKS if info.get(name)), "")
    return f"{info['size']} {name}:{_mark(info, name)}"


def _is_other(version: str, info: dict[str, Any]) -> bool:
    """Whether an object is not of this version. Some stores say less of an object that they list than of one that is opened."""
    size, _, rest = version.partition(" ")
    name, _, mark = rest.partition(":")
    return size != str(info["size"]) or (bool(info.get(name)) and mark != _mark(info, name))


def _mark(info: dict[str, Any], name: str) -> str:
    value = info.get(name, "")
    return str(value.timestamp() if isinstance(value, datetime) else value).strip('"')


def _again(read: Any, most: int) -> bytes:
    waits = tenacity.wait_random_exponential(multiplier=0.5, max=_LONGEST_WAIT_SECONDS)
    tries = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(_TRIES), wait=waits, retry=tenacity.retry_if_exception(_may_pass), reraise=True
    )
    return cast(bytes, tries(read, most))


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, FileNotFoundError | PermissionError | DmFhirError | Unreadable):
        return False
    return isinstance(error, Exception) and not _is_changed(error)


def _is_changed(error: BaseException) -> bool:
    return type(error).__name__ == "FileExpired" or "PreconditionFailed" in _code(error)


@contextmanager
def _told(address: str, gone: Exception | None = None) -> Iterator[None]:
    """What the store's library raises, as one of our errors. `gone` is raised where an object is not there any more."""
    try:
        yield
    except (DmFhirError, Unreadable):
        raise
    except Exception as error:  # noqa: BLE001  # each library has its own, and their texts may hold a key
        raise _failure(error, address, gone) from None


def _failure(error: Exception, address: str, gone: Exception | None) -> Exception:
    scheme, _, rest = address.partition("://")
    place, code = f"{scheme}://{rest.partition('/')[0]}", _code(error)
    if _is_changed(error):
        return Unreadable(CHANGED)
    if isinstance(error, FileNotFoundError):
        return gone or ConfigError(
            f"{address} does not exist: no such bucket, or nothing in it by that name",
            hint="check the name; for a store of your own also its endpoint (see docs/storage.md)",
        )
    if any(word in code for word in _REGION):
        return ConfigError(
            f"{place} lies in another region", hint="name it in AWS_DEFAULT_REGION (see docs/storage.md)"
        )
    if isinstance(error, PermissionError) and gone is None:
        hint = "ask whoever owns the store to let this login list and read it"
        return LoginRefused(f"{place} refuses the login, or does not let it read this", hint=hint)
    if any(word in type(error).__name__ for word in _LOGIN):
        hint = "see docs/storage.md for where a login is looked for"
        return LoginRefused(f"no login was found for {place}, or it has expired", hint=hint)
    if any(word in code for word in _BUSY):
        return ServerUnavailable(f"{place} asks to be asked less", hint="run again later")
    if isinstance(error, ConnectionError | TimeoutError) or any(
        w in type(error).__name__ for w in ("Connect", "Timeout", "Endpoint", "Http", "HTTP", "Client")
    ):
        return ServerUnavailable(
            f"{place} does not answer", hint="check the network and the endpoint, or run again later"
        )
    return gone or ServerUnavailable(f"{place} cannot be read ({type(error).__name__})", hint="run again later")


def _code(error: BaseException) -> str:
    """The names of what went wrong, as the library calls them: of the error and of what it was made of."""
    names: list[str] = []
    one: BaseException | None = error
    while one is not None and len(names) < 8:
        answer = getattr(one, "response", None)
        code = answer.get("Error", {}).get("Code", "") if isinstance(answer, dict) else ""
        names.append(f"{type(one).__name__} {code}")
        one = one.__cause__ or one.__context__
    return " ".join(names)
