"""What is asked of every resource of a piece. A question travels to other processes: it holds data only."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from dm_fhir.fhir.resource import Filled, Resource
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
