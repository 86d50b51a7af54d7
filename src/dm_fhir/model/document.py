"""The case series as JSON: exact numbers as text ("24.5", "100/3"), recorded decimals as numbers."""

import re
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar

import msgspec

from dm_fhir.errors import ConfigError
from dm_fhir.model.case import FORMAT, FORMAT_VERSION, CaseSeries
from dm_fhir.model.exact import to_text
from dm_fhir.model.json_text import is_ambiguous
from dm_fhir.model.upgrades import upgraded
from dm_fhir.validation import faults

T = TypeVar("T")


def encode(part: object) -> bytes:
    """`part` of the model as JSON, keys in a fixed order."""
    return _ENCODER.encode(part)


def decode(data: bytes, kind: type[T]) -> T:
    """The part of the model in `data`. Raises msgspec.ValidationError where it is not one."""
    return msgspec.json.decode(data, type=kind, dec_hook=_from_plain)


def read_document(data: bytes, name: str) -> CaseSeries:
    """The case series in `data`, a document of this format or an earlier one; messages call it `name`.

    Raises ConfigError for one that a newer dm-fhir wrote, and with all `faults` for one that does not satisfy the schema. The
    paths are those of the document in this format; no value of it is repeated.
    """
    if (series := _as_written(data)) is not None:
        return series
    document = _parsed(data, name)
    version = _version(document, name)
    document = upgraded(document, version)
    if found := faults(document, "case-series"):
        raise _faulty(name, found)
    try:
        return msgspec.convert(document, CaseSeries, dec_hook=_from_plain)
    except msgspec.ValidationError as error:  # its text may repeat a value; its path does not
        path = _PATH.search(str(error))
        raise _faulty(name, [f"{path[1] if path else 'top level'}: cannot be read"]) from None


def _as_written(data: bytes) -> CaseSeries | None:
    """The series where `data` is to the byte what this program writes of it: then it needs no check, which takes far longer."""
    try:
        series = decode(data, CaseSeries)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    is_ours = series.format == FORMAT and series.format_version == str(FORMAT_VERSION)
    return series if is_ours and _is_encoded(series, data) else None


def _is_encoded(series: CaseSeries, data: bytes) -> bool:
    """Whether `data` is what `encode` gives, and a line end or not; compared case by case, for it may be large."""
    before, after = around_cases(series)
    at = len(before)
    if not data.startswith(before):
        return False
    for number, case in enumerate(series.cases):
        body = b"," * bool(number) + encode(case)
        if not data.startswith(body, at):
            return False
        at += len(body)
    return data[at:].rstrip(b"\n") == after


def around_cases(series: CaseSeries) -> tuple[bytes, bytes]:
    """What `encode` writes before the first case, and behind the last."""
    # In a text the member would not look like this, for a text's quotes are escaped.
    before, _, after = encode(msgspec.structs.replace(series, cases=())).partition(_NO_CASES)
    return before + _NO_CASES[:-1], b"]" + after


def _parsed(data: bytes, name: str) -> Any:
    try:
        document = _PLAIN.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _faulty(name, ["top level: is not JSON"]) from None
    if is_ambiguous(data):
        raise _faulty(name, ["top level: an object has a key twice"])
    return document


def _version(document: Any, name: str) -> int:
    """The document's format, if it is one that can be read."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise _faulty(name, [f'format: must be "{FORMAT}"'])
    text = document.get("format_version")
    if not isinstance(text, str) or not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise _faulty(name, ['format_version: must be a number as text, such as "1"'])
    if int(text) > FORMAT_VERSION:
        raise ConfigError(
            f"{name} was written by a newer dm-fhir (format {text}); this one reads up to {FORMAT_VERSION}",
            hint="install the version that wrote it, or a later one",
        )
    return int(text)


def _faulty(name: str, found: Iterable[str]) -> ConfigError:
    told = list(found)
    return ConfigError(f"{name} has {len(told)} fault{'s' * (len(told) > 1)}:", faults=told)


def _to_plain(value: Any) -> str:
    if isinstance(value, Fraction):
        return to_text(value)
    raise TypeError(f"the model holds no {type(value).__name__}")


def _from_plain(kind: type, value: Any) -> Any:
    if kind is Fraction:
        return _fraction(value)
    raise TypeError(f"the model holds no {kind.__name__}")


def _fraction(value: Any) -> Fraction:
    if not isinstance(value, str) or not _EXACT.fullmatch(value):
        raise ValueError('an exact number must be text such as "24.5" or "100/3"')
    return Fraction(value)


_NO_CASES = b'"cases":[]'
_EXACT = re.compile(r"-?[0-9]+(\.[0-9]+|/[1-9][0-9]*)?")
_ENCODER = msgspec.json.Encoder(enc_hook=_to_plain, decimal_format="number", order="deterministic")
_PLAIN = msgspec.json.Decoder(float_hook=Decimal)
_PATH = re.compile(r"at `\$\.?([^`]*)`")
