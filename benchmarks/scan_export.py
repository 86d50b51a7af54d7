"""A hospital's bulk export as files: a line each, one file per type, 25 lines a patient of about 500 bytes. The same every time.

A few patients, evenly spread over all, were given the study drug; everybody else was given something else.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from population import rows

#: Lines per patient and type: what a hospital's export holds most of are Observations.
PER_PATIENT = {"Patient": 1, "Condition": 2, "MedicationAdministration": 5, "MedicationRequest": 1, "Observation": 16}
LINES_PER_PATIENT = sum(PER_PATIENT.values())
#: What the lines are told apart by, where the population has one drug and four measurements.
_LOCAL_CODES = 60
_TEMPLATE = "p00007"
_DRUG_CODE, _OTHER_DRUG = b'"L04AG11","display":"anifrolumab"', b'"L04A%03d","display":"another drug"'
#: What brings the population's Observations to the size that is usual.
_LEFT_OUT = (
    "text",
    "identifier",
    "specimen",
    "device",
    "issued",
    "performer",
    "interpretation",
    "referenceRange",
    "category",
    "encounter",
)


class Export(NamedTuple):
    """Where it lies and what is in it. `kept`: lines of the patients with the drug."""

    folder: Path
    patients: int
    cohort: int
    lines: int
    size_bytes: int

    @property
    def kept(self) -> int:
        """Lines of the patients with the drug."""
        return self.cohort * LINES_PER_PATIENT

    @property
    def files(self) -> list[Path]:
        """The files in order of name."""
        return sorted(self.folder.glob("*.ndjson"))


def written(folder: Path, lines: int, cohort: int) -> Export:
    """Write an export of so many lines, of which `cohort` patients have the drug (all of them, if there are no more)."""
    patients = max(1, lines // LINES_PER_PATIENT)
    cohort = min(cohort, patients)
    folder.mkdir(parents=True, exist_ok=True)
    for type_name in PER_PATIENT:
        with (folder / f"{type_name}.ndjson").open("wb", buffering=2**20) as file:
            for line in _lines(type_name, patients, cohort):
                file.write(line)
    size = sum(path.stat().st_size for path in folder.glob("*.ndjson"))
    return Export(folder, patients, cohort, patients * LINES_PER_PATIENT, size)


def _lines(type_name: str, patients: int, cohort: int) -> Iterator[bytes]:
    templates = [_template(type_name, row.body) for row in rows(type_name, _TEMPLATE)[: PER_PATIENT[type_name]]]
    of_the_drug = {number * patients // cohort for number in range(cohort)}
    for number in range(patients):
        id_ = b"p%08d" % number
        has_drug = number in of_the_drug
        for template in templates:
            line = template.replace(_TEMPLATE.encode(), id_)
            if not has_drug:
                line = line.replace(_DRUG_CODE, _OTHER_DRUG % (number % _LOCAL_CODES))
            yield line


def _template(type_name: str, body: bytes) -> bytes:
    resource: dict[str, Any] = json.loads(body)
    for name in _LEFT_OUT if type_name == "Observation" else ():
        resource.pop(name, None)
    return json.dumps(resource, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
