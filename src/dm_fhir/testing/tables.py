"""What resources become by a hospital's tables: no server, no config, no store."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dm_fhir.config import Auth, Config, Pull, Site
from dm_fhir.fhir.resource import Resource, read_resource
from dm_fhir.mappings.site import site_mapper
from dm_fhir.model.case import Case

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def cases(
    resources: Iterable[dict[str, Any]],
    tables: Sequence[str | os.PathLike[str]] = (),
    *,
    drug: str = "anifrolumab",
    timezone: str = "UTC",
) -> list[Case]:
    """The case of each patient that `resources` (FHIR R4, as dicts) speak of, in order of reference, with its outcomes.

    `tables` are the hospital's mapping tables, laid over the shipped ones. In a case, `assessments`, `administrations` and so on
    are what became of the resources, `findings` what was unusual, `left_out` counts what says nothing to the study.

    Raises ConfigError for a faulty table or a drug that no table knows, Unusable for what is no resource, ValueError for one that names no patient.
    """
    site = Site("test", None, timezone, tuple(map(Path, tables)), {}, Auth(), Pull())
    mapper = site_mapper(Config(Path("dm-fhir.toml"), "A test", drug, Path("dm-fhir.sqlite"), None, (site,)), site)
    read = [read_resource(_ENCODER.encode(one)) for one in resources]
    medications = mapper.medications([one for one in read if one.type == "Medication"])
    of_patients: dict[str, list[Resource]] = {}
    for one in read:
        if one.subject is not None and one.subject.startswith("Patient/"):
            of_patients.setdefault(one.subject, []).append(one)
        elif one.type != "Medication":
            raise ValueError(f"{one.reference} names no patient: its subject must be such as Patient/7")
    return [mapper.case(patient, records, medications) for patient, records in sorted(of_patients.items())]
