"""Counting the lines of NDJSON while its bytes go by, packed or not, and knowing whether they are all there."""

import zlib

from dm_fhir.errors import AnswerUnusable
from dm_fhir.fhir.transport import BYTE_ORDER_MARK

_GZIP = b"\x1f\x8b"
_INFLATED_BYTES = 1024 * 1024


class Lines:
    """The lines that went by so far, those with nothing but blanks left out.

    `unpacked_bytes` is what they come to unpacked. Gzip is known by its first bytes, as whoever reads the file will know it.
    """

    def __init__(self, place: str) -> None:
        self.count = self.unpacked_bytes = 0
        self.ends_in_newline = True
        self._place = place
        self._head: bytes | None = b""
        self._inflate: zlib._Decompress | None = None
        self._has_begun = self._is_open = False

    def feed(self, chunk: bytes) -> None:
        """The next bytes as they were sent. Raises AnswerUnusable if they are damaged, or no JSON from the start."""
        if self._head is not None:
            chunk = self._head + chunk
            if len(chunk) < len(_GZIP):
                self._head = chunk
                return
            self._head = None
            self._inflate = zlib.decompressobj(31) if chunk.startswith(_GZIP) else None
        self._unpack(chunk)

    def finish(self) -> None:
        """There are no more. Raises AnswerUnusable if the end of a packed file is missing."""
        if self._head:
            self._take(self._head)
        if self._inflate and not self._inflate.eof:
            raise AnswerUnusable(f"{self._place} is cut off", reason="body-incomplete")
        self.count += self._is_open
        self._is_open = False

    def _unpack(self, chunk: bytes) -> None:
        """A piece at a time, so that a small chunk cannot fill the memory; a file may be several gzips one after the other."""
        if self._inflate is None:
            self._take(chunk)
            return
        while chunk:
            if self._inflate.eof:
                chunk = chunk.lstrip(b"\0")  # what tape and some tools fill up with
                if not chunk:
                    return
                self._inflate = zlib.decompressobj(31)
            try:
                self._take(self._inflate.decompress(chunk, _INFLATED_BYTES))
            except zlib.error:
                raise AnswerUnusable(f"{self._place} is damaged (gzip)", reason="body-corrupt") from None
            chunk = self._inflate.unconsumed_tail or self._inflate.unused_data

    def _take(self, text: bytes) -> None:
        if not text:
            return
        self.unpacked_bytes += len(text)
        self.ends_in_newline = text.endswith(b"\n")
        if not self._has_begun:
            start = text.removeprefix(BYTE_ORDER_MARK).lstrip()
            self._has_begun = bool(start)
            if start and not start.startswith(b"{"):
                what = "HTML: a proxy or a login page?" if start.startswith(b"<") else "no JSON"
                raise AnswerUnusable(f"{self._place} is {what}", reason="not-fhir")
        first, *rest = text.split(b"\n")
        self._is_open = self._is_open or bool(first.strip())
        for line in rest:
            self.count += self._is_open
            self._is_open = bool(line.strip())
