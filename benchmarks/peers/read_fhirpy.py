"""fhirpy's asynchronous client: every page of a search per patient and type, so many patients at a time."""

import asyncio
import sys
from pathlib import Path

from fhirpy import AsyncFHIRClient

SEARCHES = (
    ("Patient", "_id"),
    ("Observation", "patient"),
    ("MedicationAdministration", "patient"),
    ("Condition", "patient"),
    ("MedicationRequest", "patient"),
    ("MedicationStatement", "patient"),
    ("AdverseEvent", "subject"),
)


async def main(base: str, patients_file: str, at_a_time: str) -> None:
    """Read everybody in the file and print how many resources there were."""
    client = AsyncFHIRClient(base)
    turns = asyncio.Semaphore(int(at_a_time))

    async def patient_read(patient: str) -> int:
        async with turns:
            read = 0
            for type_name, parameter in SEARCHES:
                search = client.resources(type_name).search(**{parameter: patient}).limit(1000)
                read += len(await search.fetch_all())
            return read

    patients = Path(patients_file).read_text(encoding="utf-8").split()
    read = await asyncio.gather(*(patient_read(patient) for patient in patients))
    sys.stdout.write(f"{sum(read)}\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
