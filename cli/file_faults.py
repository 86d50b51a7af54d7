"""Every fault of a file, whatever it is: FHIR resources, a case series, a mapping table or a config, by what is in it."""

import re
import tomllib
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from dm_fhir.cli.fault import CASE_SERIES, CONFIG, TABLE, UNRECOGNISED, Looked, Told, error
from dm_fhir.cli.fhir_faults import check_fhir
from dm_fhir.config import load_config
from dm_fhir.errors import ConfigError
from dm_fhir.fhir.transport import BYTE_ORDER_MARK
from dm_fhir.mappings.codes import KINDS, Tables, load_tables
from dm_fhir.mappings.site import site_mapper
from dm_fhir.mappings.validity import path_in
from dm_fhir.model import json_places, toml_places
from dm_fhir.model.case import FORMAT
from dm_fhir.model.document import read_document
from dm_fhir.model.read_file import LARGEST_DOCUMENT_BYTES, read_bytes, read_text, read_toml, too_large

_EXPECTED = "is none of what dm-fhir reads: FHIR resources (JSON, NDJSON, a Bundle), a case series, a mapping table, a config (TOML)"
_GZIP = b"\x1f\x8b"
_LINES = (".ndjson", ".jsonl")
_FAULT = re.compile(r"(?P<path>[^\s:]+): (?P<message>.*)", re.DOTALL)
_UNKNOWN_KEY = re.compile(r"unknown key '([^']*)'")
#: A fault of a table as it is told: `leon.toml, measurement row 1 (line 2), units.E/l: …`.
_OF_TABLE = re.compile(
    r"(?:, (?P<row>[^:(]*)(?: \(line (?P<line>\d+)\))?(?P<rest>, [^:]*)?)?: (?P<message>.*)", re.DOTALL
)
_TOML_LINE = re.compile(r"\(at line (\d+)")


def check_file(file: Path, tables: Tables, timezone: str) -> Looked:
    """Every fault of the file. FHIR resources are looked at as those of a site with these tables and this zone."""
    try:
        if file.suffix == ".toml":
            return _check_toml(file)
        if file.name.removesuffix(".gz").endswith(_LINES):
            return check_fhir(str(file), lambda: _content(file).data, tables, timezone)
        data, is_whole = _content(file)
        if is_whole and _is_case_series(data):
            return Looked(str(file), CASE_SERIES, list(_of_document(data, file.name)))
        if _is_fhir(data) or not is_whole:
            return check_fhir(str(file), lambda: data, tables, timezone)
    except OSError as problem:
        return Looked(str(file), UNRECOGNISED, [error(f"cannot be read: {problem.strerror}")])
    return Looked(str(file), UNRECOGNISED, [error(_EXPECTED)])


class _Content(NamedTuple):
    data: bytes
    is_whole: bool


def _content(file: Path) -> _Content:
    """The file's bytes, unzipped where they are gzip, as far as that goes. Raises OSError where that is too much."""
    rest = read_bytes(file, LARGEST_DOCUMENT_BYTES)
    if not rest.startswith(_GZIP):
        return _Content(rest, is_whole=True)
    parts: list[bytes] = []
    left = LARGEST_DOCUMENT_BYTES
    while rest.startswith(_GZIP):
        unzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # gzip; the gzip module gives nothing of what is cut off
        try:
            parts.append(unzip.decompress(rest, left + 1))
        except zlib.error:
            return _Content(b"".join(parts), is_whole=False)
        left -= len(parts[-1])
        if left < 0:
            raise too_large(LARGEST_DOCUMENT_BYTES)
        rest = unzip.unused_data if unzip.eof else b""
    return _Content(b"".join(parts), unzip.eof)


def _is_fhir(data: bytes) -> bool:
    return b'"resourceType"' in data and data.removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"{")


class _Top(msgspec.Struct):
    format: msgspec.Raw = msgspec.Raw()


def _is_case_series(data: bytes) -> bool:
    name = f'"{FORMAT}"'.encode()
    try:
        return bytes(msgspec.json.decode(data, type=_Top).format) == name
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return name in data and b'"resourceType"' not in data


def _of_document(data: bytes, name: str) -> Iterator[Told]:
    try:
        read_document(data, name)
    except ConfigError as problem:
        found = [_split(fault) for fault in problem.faults] or [("format_version", problem.message)]
        broken = json_places.broken_line(data)
        places = [_place(path, message) for path, message in found]
        lines = json_places.lines_of(data, places)
        for (path, message), place in zip(found, places, strict=True):
            yield error(message, broken if broken is not None else lines[place], path)


def _check_toml(file: Path) -> Looked:
    try:
        text = read_text(file)
        document = read_toml(text)
    except UnicodeDecodeError as problem:
        return Looked(
            str(file), UNRECOGNISED, [error("is not text in UTF-8", 1 + problem.object.count(b"\n", 0, problem.start))]
        )
    except tomllib.TOMLDecodeError as problem:
        line = _TOML_LINE.search(str(problem))
        last = 1 + text.rstrip().count("\n")
        return Looked(str(file), UNRECOGNISED, [error(f"is not TOML: {problem}", int(line[1]) if line else last)])
    if {"study", "site"} & set(document):
        return Looked(str(file), CONFIG, list(_located(_config_faults(file), text)))
    if {*KINDS, "aliases", "dose"} & set(document):
        return Looked(str(file), TABLE, [_of_table(fault, file.name) for fault in _table_faults(file)])
    return Looked(str(file), UNRECOGNISED, [error(_EXPECTED)])


def _config_faults(file: Path) -> list[str]:
    """The faults of a config; where it has none, those of its sites' tables, a drug or an outcome that nobody knows."""
    try:
        config = load_config(file)
    except ConfigError as problem:
        return list(problem.faults) or [problem.message]
    found = []
    for index, site in enumerate(config.sites):
        try:
            site_mapper(config, site)
        except ConfigError as problem:
            chosen = [f"site[{index}].{fault}" for fault in problem.faults if fault.startswith("push.")]
            if chosen:
                found += chosen
                continue
            more = "; dm-fhir validate with that table names them" if problem.faults else ""
            found.append(f"site[{index}].tables: {problem.message.splitlines()[0].rstrip(':')}{more}")
    return found


def _table_faults(file: Path) -> list[str]:
    """The faults of a table by itself, and what it contradicts in the shipped ones."""
    try:
        load_tables([file])
    except ConfigError as problem:
        return list(problem.faults) or [problem.message]
    return []


def _of_table(fault: str, name: str) -> Told:
    """A fault of a table, with the line of the row or code that it names."""
    match = _OF_TABLE.fullmatch(fault.removeprefix(name))
    if match is None:
        return error(fault)
    path = f"{match['row'] or ''}{match['rest'] or ''}"
    return error(match["message"], int(match["line"]) if match["line"] else None, path or None)


def _located(faults: Iterable[str], text: str) -> Iterator[Told]:
    lines = toml_places.lines_of(text)
    for fault in faults:
        path, message = _split(fault)
        yield error(message, toml_places.nearest(_place(path, message), lines), path)


def _split(fault: str) -> tuple[str, str]:
    """The path and the message of a fault as validation tells it; an empty path for the whole."""
    match = _FAULT.fullmatch(fault.removeprefix("top level: "))
    return (match["path"], match["message"]) if match and match["path"] else ("", fault.removeprefix("top level: "))


def _place(path: str, message: str) -> json_places.Path:
    """Where to look for the fault: an unknown key stands below the path that is told."""
    unknown = _UNKNOWN_KEY.match(message)
    return (*path_in(path), unknown[1]) if unknown else path_in(path)
