"""dm-fhir for spark-submit, which takes a Python file: spark-submit --master yarn dm-fhir-spark.py pull --from … --engine spark"""

import sys
import time

from dm_fhir.cli.main import run

try:
    run()
finally:
    sys.stdout.flush()
    time.sleep(1)  # spark-submit passes on what is said, and does not wait for the last of it
