"""The Provenance of what was written at once: which versions, when, by which program (R4, built with fhir.resources.R4B)."""

from collections.abc import Sequence
from typing import Any

import msgspec

from dm_fhir import __version__

_ACTIVITY_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_AGENT_SYSTEM = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


def to_fhir(targets: Sequence[str], recorded: str, activity: str) -> bytes:
    """The Provenance for these references, as FHIR JSON. `activity`: CREATE, UPDATE or NULLIFY. `recorded` is an instant."""
    from fhir.resources.R4B.provenance import Provenance

    device = {"resourceType": "Device", "id": "dm-fhir", "deviceName": [{"name": "dm-fhir", "type": "model-name"}]}
    document: dict[str, Any] = {
        "resourceType": "Provenance",
        "contained": [{**device, "version": [{"value": __version__}]}],
        "target": [{"reference": target} for target in targets],
        "recorded": recorded,
        "activity": {"coding": [{"system": _ACTIVITY_SYSTEM, "code": activity}]},
        "agent": [
            {"type": {"coding": [{"system": _AGENT_SYSTEM, "code": "assembler"}]}, "who": {"reference": "#dm-fhir"}}
        ],
    }
    Provenance.model_validate(document)
    return msgspec.json.encode(document)
