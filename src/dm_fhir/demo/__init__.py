"""The whole loop on invented patients against a real FHIR server on loopback."""
