"""Where secrets are kept, and how they are found: by a place in the config, never by themselves."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dm_fhir.errors import ConfigError

#: The folder in which a service manager has put what only this run may read: systemd's LoadCredential=, a mounted Secret.
CREDENTIALS = "CREDENTIALS_DIRECTORY"


def credential_name(path: Path, folder: Path) -> str:
    """The name under which a service manager hands over the file at `path`: its way from `folder`, the config's, in one word."""
    whole, base = Path(os.path.abspath(path)), Path(os.path.abspath(folder))
    way = whole.relative_to(base) if whole.is_relative_to(base) else whole
    return re.sub(r"[^A-Za-z0-9._-]", "_", str(way).strip("/").replace("/", "-"))


def private_file(path: Path, folder: Path) -> Path:
    """Where to read the private file that a config in `folder` has at `path`: as a service manager has handed it over, else there."""
    handed = os.environ.get(CREDENTIALS)
    loaded = Path(handed, credential_name(path, folder)) if handed else None
    return loaded if loaded and loaded.exists() else path


class Secret(msgspec.Struct, frozen=True):
    """Where a secret is kept (`env:NAME` or `file:PATH`); printing it shows the place, never the secret."""

    place: str
    folder: Path

    @property
    def file(self) -> Path | None:
        """The file that the place names; None where it is no file."""
        kind, _, name = self.place.partition(":")
        return self.folder / name if kind == "file" else None

    def read(self) -> str:
        """The secret itself, without surrounding blanks. Raises ConfigError when it is missing or empty."""
        name = self.place.partition(":")[2]
        secret = self._from_file(self.file) if self.file else os.environ.get(name, "")
        if not secret.strip():
            hint = f"put it into {self.file}, mode 0600" if self.file else f"set the environment variable {name}"
            raise ConfigError(f"the secret {self.place} is missing or empty", hint=hint)
        return secret.strip()

    def _from_file(self, path: Path) -> str:
        try:
            return private_file(path, self.folder).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except UnicodeDecodeError:  # its text would repeat the secret's bytes
            raise ConfigError(f"the secret {self.place} is not text in UTF-8") from None
        except OSError as error:
            raise ConfigError(f"the secret {self.place} cannot be read: {error.strerror}") from error

    def __repr__(self) -> str:
        return f"Secret({self.place})"


def secrets_in(part: object) -> Iterator[Secret]:
    """Every secret in a config or a part of one, wherever it stands."""
    if isinstance(part, Secret):
        yield part
    elif isinstance(part, msgspec.Struct):
        for name in part.__struct_fields__:
            yield from secrets_in(getattr(part, name))
    elif isinstance(part, tuple | list):
        for one in part:
            yield from secrets_in(one)
