"""A zip: members in any order."""

import io
import zipfile
from io import BufferedReader
from typing import BinaryIO, cast

from dm_fhir.fhir.member import Member, only_name
from dm_fhir.fhir.packed import DAMAGED, ENCRYPTED, TOO_LARGE, UNREADABLE, Unreadable

#: How a zip begins; the second is one without members.
BEGINNINGS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
#: The most of its list that is read: about a hundred thousand members.
_LARGEST_LIST_BYTES = 8 * 2**20
_IS_ENCRYPTED = 0x1


class Zip:
    """A zip: members in any order."""

    def __init__(self, file: BufferedReader) -> None:
        try:
            self._zip = zipfile.ZipFile(cast(BinaryIO, _Bounded(file)))
        except (
            ValueError,
            NotImplementedError,
            zipfile.LargeZipFile,
        ):  # what it makes of damage that it has not thought of
            raise Unreadable(DAMAGED) from None
        names: set[str] = set()
        self._members = {only_name(info.filename, names): info for info in self._zip.infolist() if not info.is_dir()}
        self._left = iter(list(self._members))

    def next(self) -> Member | None:
        """The member after this one; None at the end."""
        name = next(self._left, None)
        if name is None:
            return None
        info = self._members[name]
        is_link = info.create_system == 3 and (info.external_attr >> 16) & 0o170000 == 0o120000
        return Member(name, info.file_size, "a link" if is_link else None, is_packed=True)

    def open(self, name: str) -> BufferedReader | None:
        """The content of any member; None where there is none of this name."""
        info = self._members.get(name)
        if info is None:
            return None
        if info.flag_bits & _IS_ENCRYPTED:
            raise Unreadable(ENCRYPTED)
        try:
            return BufferedReader(cast(io.RawIOBase, self._zip.open(info)), 2**16)
        except NotImplementedError:  # packed in a way that Python does not know
            raise Unreadable(UNREADABLE) from None
        except ValueError:
            raise Unreadable(DAMAGED) from None


class _Bounded:
    """A file that is not read into the memory, whatever a zip says of the length of its own parts."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, most: int = -1) -> bytes:
        if most > _LARGEST_LIST_BYTES:
            raise Unreadable(TOO_LARGE)
        return self._file.read(most)
