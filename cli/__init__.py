"""What a person types, one file per command. Installed as `dm_fhir.cli`; import it by that name."""
