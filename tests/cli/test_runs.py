"""dm-fhir runs: every run with how it ended, also those that never did."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from dm_fhir.store.audit import who
from dm_fhir.store.ledger import begin_run, end_run, interrupted_before
from dm_fhir.sync.lock import locked

if TYPE_CHECKING:
    from tests.cli.conftest import Study


def dead_process() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def killed(study: Study, command: str) -> int:
    """A run whose process died."""
    run = begin_run(study.db, command)
    study.db.execute("UPDATE run SET pid = ? WHERE id = ?", (dead_process(), run))
    return run


def test_runs_are_listed_the_newest_first_with_how_they_ended(study: Study) -> None:
    end_run(study.db, begin_run(study.db, "sync"), 0)
    ran = study.type("runs")
    assert ran.code == 0
    assert [line.partition(",")[0] for line in ran.lines[:2]] == ["run 2: sync", "run 1: pull"]
    assert ran.lines[0].endswith("exit 0 (complete)")
    assert ran.lines[1].endswith("exit 3 (finished, but something is partial; the ledger names it)")
    assert ran.lines[2:] == ["runs: exit 0 (complete)"]


def test_a_run_at_work_and_one_that_was_killed(study: Study) -> None:
    killed(study, "sync")
    assert study.type("runs").lines[0].endswith(", interrupted")
    interrupted_before(study.db)
    begin_run(study.db, "pull")
    newest, before, _ = study.type("runs", "--json").json["runs"]
    assert (newest["meaning"], newest["exit_code"], newest["process"]) == ("at work", None, os.getpid())
    assert (before["meaning"], before["exit_code"], before["ended"]) == ("interrupted", 130, None)
    lines = study.type("runs").lines
    assert lines[0].endswith(f", at work as process {os.getpid()}")
    assert lines[1].endswith(", interrupted")


def test_a_run_that_is_not_the_newest_is_not_at_work_whoever_has_its_number_now(study: Study) -> None:
    begin_run(study.db, "sync")  # of this very process, which is alive
    end_run(study.db, begin_run(study.db, "pull"), 0)
    assert [run["meaning"] for run in study.type("runs", "--json").json["runs"]][:2] == ["complete", "interrupted"]


def test_a_run_says_who_ran_it(study: Study) -> None:
    end_run(study.db, begin_run(study.db, "sync", "anna"), 0)
    assert study.type("compute").code == 0
    by_me, by_anna, by_nobody = study.type("runs", "--json").json["runs"]
    assert (by_me["user"], by_anna["user"], by_nobody["user"]) == (who(), "anna", "")
    lines = [line.partition(",")[0] for line in study.type("runs").lines[:3]]
    assert lines == [f"run 3: compute by {who()}", "run 2: sync by anna", "run 1: pull"]


def test_only_so_many(study: Study) -> None:
    for _ in range(4):
        end_run(study.db, begin_run(study.db, "sync"), 0)
    ran = study.type("runs", "--last", "2")
    assert [line.partition(":")[0] for line in ran.lines[:2]] == ["run 5", "run 4"]
    assert ran.lines[2] == "… earlier ones: dm-fhir runs --last 4"
    assert [run["run"] for run in study.type("runs", "--last", "2", "--json").json["runs"]] == [5, 4]
    assert study.type("runs", "--last", "0").code == 2


def test_status_tells_the_last_run(study: Study) -> None:
    last = study.type("status", "--json").json["last_run"]
    assert (last["command"], last["exit_code"]) == ("pull", 3)
    assert last["ended"] >= last["started"]
    assert study.type("status").lines[0].startswith("last run: pull, 2")
    killed(study, "sync")
    assert study.type("status").lines[0].endswith(", interrupted")
    last = study.type("status", "--json").json["last_run"]
    assert (last["command"], last["ended"], last["exit_code"]) == ("sync", None, None)


def test_a_store_without_runs(study: Study) -> None:
    study.config.write_text(study.config.read_text().replace("[[site]]", '[store]\npath = "new.sqlite"\n[[site]]', 1))
    assert study.type("runs").lines == ["no run yet"]
    assert study.type("status", "--json").json["last_run"] is None


def test_the_run_after_a_killed_one_says_so_once_and_goes_on(study: Study) -> None:
    killed(study, "sync")
    first, second = study.type("compute"), study.type("compute")
    assert (first.code, second.code) == (0, 0)
    assert [ran.err.count("previous run was interrupted; continuing") for ran in (first, second)] == [1, 0]
    assert [run["meaning"] for run in study.type("runs", "--json").json["runs"]][2] == "interrupted"


def test_whoever_finds_the_store_locked_is_told_by_which_run(study: Study) -> None:
    with locked(study.config.with_name("dm-fhir.sqlite"), "sync") as tell:
        tell(begin_run(study.db, "sync"))
        ran = study.type("compute")
        assert study.type("status").code != 11
    assert ran.code == 11
    assert re.search(rf"run 2 \(process {os.getpid()}, since \S+\) holds the lock", ran.err)
    assert study.type("compute").code == 0
