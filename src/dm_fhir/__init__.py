"""dm-fhir: from a hospital's FHIR R4 server to a dermatomyositis case series, its outcomes, and back."""

__version__ = "0.1.0"
