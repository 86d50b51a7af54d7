"""Other programs that read FHIR, each driven as its documentation says, in an environment of its own."""
