"""Speaking FHIR R4 over HTTP and reading FHIR files. Knows nothing of dermatomyositis."""
