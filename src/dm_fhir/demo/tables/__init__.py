"""Tables of invented patients, one TOML file per sample cohort."""
