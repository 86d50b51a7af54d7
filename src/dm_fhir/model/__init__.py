"""The case series: what a clinician would put on paper. No FHIR, no files, no clock."""
