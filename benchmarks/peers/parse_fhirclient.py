"""fhirclient, as its README reads JSON: json, then the model of each resource. Prints the processor time in seconds."""

import json
import sys
import time
from pathlib import Path

from fhirclient.models.condition import Condition
from fhirclient.models.medication import Medication
from fhirclient.models.medicationadministration import MedicationAdministration
from fhirclient.models.medicationrequest import MedicationRequest
from fhirclient.models.medicationstatement import MedicationStatement
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient

MODELS = {
    model.resource_type: model
    for model in (
        Condition,
        Medication,
        MedicationAdministration,
        MedicationRequest,
        MedicationStatement,
        Observation,
        Patient,
    )
}


def main(file: str) -> None:
    """Parse every line of the file; which type a line is was found out before."""
    lines = Path(file).read_bytes().splitlines()
    models = [MODELS[json.loads(line)["resourceType"]] for line in lines]
    for line, model in zip(lines[:50], models, strict=False):  # what is made at first use is not counted
        model(json.loads(line))
    began = time.process_time()
    for line, model in zip(lines, models, strict=True):
        model(json.loads(line))
    sys.stdout.write(f"{time.process_time() - began}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
