"""What is asked of every resource of a piece. A question travels to other processes: it holds data only."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from dm_fhir.fhir.resource import Filled, Resource
from dm_fhir.sync.mapper import Mapper
from dm_fhir.sync.scan.scanned import Scanned


class Head(msgspec.Struct, frozen=True, gc=False):
    """What every question reads of every line."""

    resourceType: Filled
    id: Filled


class Question(Protocol):
    """`head` names the elements that it reads of every line; what is in `PlainHead` as well costs nothing where most is kept.

    `suspects` names the heads of a batch whose resources deserve a look: it may name too many, never too few. It sees heads
    of its own type, or a `PlainHead` where that has the same elements.

    `answer` looks at one resource, whether suspected or not: it keeps it, notes what it found, or leaves it.
    """

    @property
    def head(self) -> type[Head]: ...
    def suspects(self, heads: Sequence[Any]) -> Sequence[int]: ...
    def answer(self, resource: Resource, scanned: Scanned) -> None: ...


class KeepAll(NamedTuple):
    """Everything is kept but what we wrote ourselves."""

    mapper: Mapper

    @property
    def head(self) -> type[Head]:
        """Type and id alone."""
        return Head

    def suspects(self, heads: Sequence[Head]) -> Sequence[int]:
        """All of them."""
        return range(len(heads))

    def answer(self, resource: Resource, scanned: Scanned) -> None:
        """Keep it."""
        if resource.type == "Observation" and self.mapper.is_own(resource.body):
            scanned.notes["own_outcome"] += 1
        else:
            scanned.keep(resource)
