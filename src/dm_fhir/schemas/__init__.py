"""The published JSON Schemas (2020-12): case series, site config, mapping table."""
