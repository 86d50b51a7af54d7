"""fhir.resources, as its README reads JSON: the R4B model of each resource. Prints the processor time in seconds."""

import json
import sys
import time
from pathlib import Path

from fhir.resources.R4B import get_fhir_model_class


def main(file: str) -> None:
    """Parse every line of the file; which type a line is was found out before."""
    lines = Path(file).read_bytes().splitlines()
    models = [get_fhir_model_class(json.loads(line)["resourceType"]) for line in lines]
    for line, model in zip(lines[:50], models, strict=False):  # what is made at first use is not counted
        model.model_validate_json(line)
    began = time.process_time()
    for line, model in zip(lines, models, strict=True):
        model.model_validate_json(line)
    sys.stdout.write(f"{time.process_time() - began}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
