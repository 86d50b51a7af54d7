"""Questions for whose answers something goes wrong; executors import them from here."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dm_fhir.fhir.resource import Resource
from dm_fhir.sync.scan.questions import Head
from dm_fhir.sync.scan.scanned import PARCEL_BYTES, Scanned

#: What no log may ever hold.
SENTINEL = "Annelore-Beispiel-1961"


class _All(NamedTuple):
    parameter: str = ""

    @property
    def head(self) -> type[Head]:
        return Head

    def suspects(self, heads: Sequence[Head]) -> Sequence[int]:
        return range(len(heads))

    def answer(self, resource: Resource, scanned: Scanned) -> None:
        scanned.keep(resource)


class Everything(_All):
    """Keeps all, in small parcels."""

    def answer(self, resource: Resource, scanned: Scanned) -> None:
        scanned.keep(resource)
        scanned.size_bytes += PARCEL_BYTES


class FailsOnce(Everything):
    """As Everything does; but whoever comes to o60 first falls over it, with parcels handed over. `parameter`: a file for a mark."""

    def answer(self, resource: Resource, scanned: Scanned) -> None:
        if resource.id == "o60" and not Path(self.parameter).exists():
            Path(self.parameter).touch()
            raise ValueError("the first time")
        super().answer(resource, scanned)


class Fails(_All):
    """Always, with a patient's name at hand and in what it says."""

    def answer(self, resource: Resource, scanned: Scanned) -> None:
        name = f"{SENTINEL} {resource.body.decode()}"
        raise ValueError(name)


class Lingers(_All):
    """Says that it has begun, in the file `parameter`, and then takes its time."""

    def answer(self, resource: Resource, scanned: Scanned) -> None:
        import time

        Path(self.parameter).touch()
        time.sleep(60)
