"""By which outcomes or records `dm-fhir explain PATIENT …` tells the way of the numbers in each table and figure."""

_CHANGES = "MEASURE_baseline, MEASURE_improvement@RECORD, MEASURE_percent_improvement@RECORD"
_COURSE = (
    "prednisone_equivalent_mg_per_day_baseline, prednisone_equivalent_mg_per_day@VISIT, glucocorticoid_status@VISIT"
)
_EXPOSURE = "infusions_completed, cumulative_dose_mg, infusion_dose_mg@RECORD, follow_up_days, discontinued"
_STAYING = "days_on_drug, discontinued, discontinuation_reason"
#: By the id of a table or figure. MEASURE is its first column, VISIT such as week_12 or last, RECORD a reference.
EXPLAINED_BY = {
    "characteristics": "the record: Patient/…, Condition/…, Observation/…, MedicationStatement/…",
    "exposure": _EXPOSURE,
    "swimmer": "infusion_dose_mg@RECORD, follow_up_days",
    "drug_survival": _STAYING,
    "drug-survival": _STAYING,
    "changes": _CHANGES,
    "scores": _CHANGES,
    "waterfall": "cdasi_activity_percent_improvement@RECORD",
    "responders": f"{_CHANGES}; tis_category@VISIT, imacs_improvement@VISIT and the other criteria by their names",
    "severity": _CHANGES,
    "glucocorticoids": f"{_COURSE}, DRUG_change@last",
    "manifestations": "the record: Condition/…",
    "adverse_events": "the record: AdverseEvent/…",
    "not_computable": "the outcome by its name: its reasons, and what was considered and not used",
}
