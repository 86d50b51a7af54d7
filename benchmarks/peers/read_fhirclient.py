"""fhirclient, as its README reads and searches: a patient and then a search per type, resources as models."""

import sys
from pathlib import Path

from fhirclient import client
from fhirclient.models.adverseevent import AdverseEvent
from fhirclient.models.condition import Condition
from fhirclient.models.medicationadministration import MedicationAdministration
from fhirclient.models.medicationrequest import MedicationRequest
from fhirclient.models.medicationstatement import MedicationStatement
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient

SEARCHES = (
    (Observation, "patient"),
    (MedicationAdministration, "patient"),
    (Condition, "patient"),
    (MedicationRequest, "patient"),
    (MedicationStatement, "patient"),
    (AdverseEvent, "subject"),
)


def main(base: str, patients_file: str) -> None:
    """Read everybody in the file and print how many resources there were."""
    smart = client.FHIRClient(settings={"app_id": "benchmark", "api_base": base})
    read = 0
    for patient in Path(patients_file).read_text(encoding="utf-8").split():
        Patient.read(patient, smart.server)
        read += 1
        for model, parameter in SEARCHES:
            search = model.where(struct={parameter: patient, "_count": "1000"})
            read += sum(1 for _ in search.perform_resources_iter(smart.server))
    sys.stdout.write(f"{read}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
