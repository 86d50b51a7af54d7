"""A study whose outcomes are computed and wait to be written, and what its ledger and the server then hold."""

import copy
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dm_fhir.store.pushes import Pushed, pushed

from .hospital import Json
from .outcomes import KEYS
from .server import FaultServer, Run
from .study import SITE, Study, new_study
from .write_faults import WRITE_FAULTS

PUSH = "enabled = true\nunattended = true"
#: What changes on the hospital's side after the first push, by how a scenario starts.
_THEN = {"changed": "corrected", "gone": "withdrawn"}
#: What a server adds; and the status, which says how often an outcome was written, not what it is.
_NOT_CONTENT = ("id", "meta", "text", "status")


class Began(NamedTuple):
    """A study at a server, and the run of it."""

    study: Study
    run: Run

    def states(self) -> dict[str, str]:
        """How each outcome stands in the ledger, by key."""
        return {key: row.state for key, row in self.rows().items()}

    def rows(self) -> dict[str, Pushed]:
        """The ledger by key; what has no time has none."""
        with self.study._db() as db:
            rows = list(pushed(db, SITE)) if db else []
        return {KEYS[row.identifier]: row for row in rows if row.identifier in KEYS}


def content(resource: Json) -> Json:
    """What a resource says, apart from what the server adds and from its status."""
    return {name: value for name, value in resource.items() if name not in _NOT_CONTENT}


class Beginnings:
    """How scenarios begin. Each beginning is made once and then copied."""

    def __init__(self, server: FaultServer, folder: Path) -> None:
        self._server, self._folder = server, folder
        self._made: dict[tuple[str, str], Began] = {}

    def begin(
        self,
        folder: Path,
        start: str,
        sort: str,
        *faults: str,
        login: str = "bearer",
        pull: Mapping[str, str | None] | None = None,
        push: str = "",
    ) -> Began:
        """A study of its own at a server of this sort, everything computed, nothing of the faults done yet.

        `start`: "new", nothing was ever written; "changed", `k3` and `k7` are not what was written; "gone", they can no longer be
        computed.
        """
        made = self._make(start, sort)
        endpoint = self._server.endpoint(sort)
        run = self._server.run(endpoint)
        run.shelf.versions = copy.deepcopy(made.run.shelf.versions)
        run.suffer(*made.run.faults, *(WRITE_FAULTS[name] for name in faults))
        folder.mkdir(exist_ok=True)
        study = new_study(folder, endpoint, login=login, pull=pull, push=f"{PUSH}\n{push}")
        shutil.copy(made.study.store, study.store)
        return Began(study, run)

    def contents(self, start: str) -> dict[str, Json]:
        """What an honest server holds of each outcome in the end."""
        made = self._make(start, "transactions")
        if ("end", start) not in self._made:
            began = self.begin(self._folder / f"end-{start}", start, "transactions")
            ran = began.study.type("push")
            assert ran.code == 0, ran.text
            self._made["end", start] = began
        made = self._made["end", start]
        return {key: made.run.shelf.of(key)[0] for key in KEYS.values()}

    def _make(self, start: str, sort: str) -> Began:
        if (start, sort) not in self._made:
            folder = self._folder / f"{start}-{sort}"
            folder.mkdir()
            endpoint = self._server.endpoint(sort)
            began = Began(new_study(folder, endpoint, push=PUSH), self._server.run(endpoint))
            self._typed(began, "pull", "compute")
            if start in _THEN:
                self._typed(began, "push")
                began.run.suffer(*began.run.faults, WRITE_FAULTS[_THEN[start]])
                self._typed(began, "pull", "compute")
            self._made[start, sort] = began
        return self._made[start, sort]

    def _typed(self, began: Began, *commands: str) -> None:
        for command in commands:
            ran = began.study.type(command)
            assert ran.code == 0, f"{command}: {ran.text}"
