"""What came of reading a piece: what was kept, what was found, what was faulty; in parcels that fit into memory."""

from collections import Counter

import msgspec

from dm_fhir.fhir.resource import Resource

#: A parcel is full with so many resources, facts and faults, or so many bytes of them; or when so many lines were read for it,
#: so that whoever waits for it hears of it.
PARCEL_RESOURCES = 5000
PARCEL_BYTES = 2 * 2**20
PARCEL_LINES = 100_000


class Faulty(msgspec.Struct, frozen=True, array_like=True):
    """What is no resource: on which line of the parcel (None where there are no lines), `within` that, why, and its bytes."""

    line: int | None
    within: str
    reason: str
    body: bytes


class Scanned(msgspec.Struct, array_like=True):
    """A parcel of what came of the piece with this number in the order of pieces.

    `lines` counts those read, `types` the resources by type, whether kept or not. `found` are facts that the question asked
    for, as pairs. `damage` says why the source broke off. `is_last`: the piece ends here.
    """

    piece: int
    lines: int = 0
    types: Counter[str] = msgspec.field(default_factory=Counter)
    kept: list[Resource] = msgspec.field(default_factory=list)
    found: list[tuple[str, str]] = msgspec.field(default_factory=list)
    faulty: list[Faulty] = msgspec.field(default_factory=list)
    notes: Counter[str] = msgspec.field(default_factory=Counter)
    damage: str | None = None
    is_last: bool = False
    size_bytes: int = 0

    def keep(self, resource: Resource) -> None:
        """Hand the resource on to whoever asked."""
        self.kept.append(resource)
        self.size_bytes += len(resource.body)

    def set_aside(self, faulty: Faulty) -> None:
        """Hand on what is no resource."""
        self.faulty.append(faulty)
        self.size_bytes += len(faulty.body)

    @property
    def keeps_most(self) -> bool:
        """Whether most of what was read so far was kept."""
        return 2 * len(self.kept) > self.lines

    @property
    def is_full(self) -> bool:
        """Whether it is time for another parcel."""
        count = len(self.kept) + len(self.found) + len(self.faulty)
        return count >= PARCEL_RESOURCES or self.size_bytes >= PARCEL_BYTES or self.lines >= PARCEL_LINES


ENCODER = msgspec.msgpack.Encoder()
DECODER = msgspec.msgpack.Decoder(Scanned, dec_hook=lambda kind, value: kind(value))  # a Counter travels as a dict
