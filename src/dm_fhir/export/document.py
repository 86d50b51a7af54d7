"""The case series as one JSON document, written case by case."""

from collections.abc import Iterable
from typing import BinaryIO

import msgspec

from dm_fhir.errors import DmFhirError
from dm_fhir.model.case import Case, CaseSeries
from dm_fhir.model.document import around_cases, decode, encode


def _reads_back(body: bytes, case: Case) -> bool:
    try:
        return decode(body, Case) == case
    except msgspec.ValidationError:  # a value that is not of the model's type
        return False


def write_document(file: BinaryIO, head: CaseSeries, cases: Iterable[Case]) -> dict[str, int]:
    """Write the document; how many cases it has. Raises DmFhirError, and writes no further, where a case does not read back."""
    before, after = around_cases(head)
    file.write(before)
    count = 0
    for case in cases:
        body = encode(case)
        if not _reads_back(body, case):
            raise DmFhirError(
                f"case {case.id} does not read back as it was written",
                hint="this is a fault of dm-fhir; please report it",
            )
        file.write((b"," if count else b"") + body)
        count += 1
    file.write(after + b"\n")
    return {"cases": count}
