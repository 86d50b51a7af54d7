"""Two faults at once, drawn by a seed: whatever comes of it, the ledger does not lie, and the next pull mends it."""

import os
import random
from pathlib import Path

import pytest

from .checks import check_always, check_healed
from .scenarios import IN_PROCESS
from .server import FaultServer
from .study import new_study

#: More of them with FAULT_SEEDS=200.
SEEDS = int(os.environ.get("FAULT_SEEDS", "6"))
#: What needs no setting of its own, and no minute.
_SLOW = ("drip-forever", "cap", "cap-nodate")
POOL = sorted({one.fault for one in IN_PROCESS if one.login == "bearer" and not one.tls and one.fault not in _SLOW})


@pytest.mark.parametrize("seed", range(SEEDS))
def test_two_faults(server: FaultServer, tmp_path: Path, seed: int) -> None:
    faults = random.Random(seed).sample(POOL, 2)  # noqa: S311
    endpoint = server.endpoint("+".join(faults))
    study, run = new_study(tmp_path, endpoint, pull={"read_timeout_seconds": "1"}), server.run(endpoint)
    first = study.type("-v", "pull")
    check_always(study, run, first)
    before, asked = study.units(), len(run.log)
    run.heal()
    second = study.type("pull", "--full")
    check_healed(study, second, before, run.log[asked:], rows=1000, is_full=True)
