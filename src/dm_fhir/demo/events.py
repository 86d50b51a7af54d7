"""AdverseEvent resources."""

from dm_fhir.demo.codes import ADVERSE_EVENTS, SERIOUSNESS
from dm_fhir.demo.infusions import administration_id
from dm_fhir.demo.resources import Resource, bare_concept, concept, for_patient, subject
from dm_fhir.demo.rows import Patient


def adverse_events(patient: Patient) -> list[Resource]:
    """The adverse events of one patient, each pointing to the infusion before it; the cause was not assessed."""
    found = []
    for number, row in enumerate(patient.adverse_events, start=1):
        code, text = ADVERSE_EVENTS[row.event]
        infusion = {"reference": f"MedicationAdministration/{administration_id(patient, row.day)}"}
        suspect = {"instance": infusion, "causality": [{"assessment": {"text": "not assessed"}}]}
        event = for_patient("AdverseEvent", patient, f"ae-{number}") | {
            "actuality": "actual",
            "event": concept(code, text=text),
            "subject": subject(patient),
            "date": patient.date_of(row.day).isoformat(),
            "seriousness": bare_concept(SERIOUSNESS, "non-serious"),
            "suspectEntity": [suspect],
        }
        found.append(event)
    return found
