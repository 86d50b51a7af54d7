"""The codes that FHIR R4 fixes for elements of the types that dm-fhir reads (binding strength: required)."""

from collections.abc import Mapping

from dm_fhir.model.json_places import Path

_EVENT = frozenset({"completed", "entered-in-error", "in-progress", "not-done", "on-hold", "stopped", "unknown"})
_COMPARATOR = frozenset({"<", "<=", ">=", ">"})
_LINK = frozenset({"replaced-by", "replaces", "refer", "seealso"})

#: By type: the path of the element, and its codes. https://hl7.org/fhir/R4/ and the name of the type in small letters.
FIXED_CODES: Mapping[str, Mapping[Path, frozenset[str]]] = {
    "Patient": {
        ("gender",): frozenset({"male", "female", "other", "unknown"}),
        ("link", "type"): _LINK,
    },
    "Observation": {
        ("status",): frozenset(
            {"registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error", "unknown"}
        ),
        ("valueQuantity", "comparator"): _COMPARATOR,
        ("component", "valueQuantity", "comparator"): _COMPARATOR,
    },
    "Condition": {
        ("clinicalStatus", "coding", "code"): frozenset(
            {"active", "recurrence", "relapse", "inactive", "remission", "resolved"}
        ),
        ("verificationStatus", "coding", "code"): frozenset(
            {"unconfirmed", "provisional", "differential", "confirmed", "refuted", "entered-in-error"}
        ),
    },
    "Medication": {("status",): frozenset({"active", "inactive", "entered-in-error"})},
    "MedicationAdministration": {("status",): _EVENT},
    "MedicationRequest": {
        ("status",): frozenset(
            {"active", "on-hold", "cancelled", "completed", "entered-in-error", "stopped", "draft", "unknown"}
        ),
        ("intent",): frozenset(
            {"proposal", "plan", "order", "original-order", "reflex-order", "filler-order", "instance-order", "option"}
        ),
    },
    "MedicationStatement": {
        ("status",): frozenset(
            {"active", "completed", "entered-in-error", "intended", "stopped", "on-hold", "unknown", "not-taken"}
        ),
    },
    "AdverseEvent": {("actuality",): frozenset({"actual", "potential"})},
}  # fmt: skip
