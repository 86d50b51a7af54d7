"""How FHIR resources and the case series become each other. Installed as `dm_fhir.mappings`; import it by that name."""
