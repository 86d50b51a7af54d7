"""What an engine has read is kept until the store has it: whole passes are not asked for again, half ones are begun anew."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dm_fhir.mappings.site import SiteMapper
from dm_fhir.sync.scan.cohort_questions import GivenDrug, Linked
from dm_fhir.sync.scan.piece import Piece
from dm_fhir.sync.scan.questions import Question
from dm_fhir.sync.scan.record_questions import OfPatients
from dm_fhir.sync.scan.result import Made, kept_in
from dm_fhir.sync.scan.runners import Runner, in_turn
from dm_fhir.sync.scan.scanned import ENCODER, Scanned

MADE = Made("0.1.0 abc", "leon")


class Engine:
    """Counts what it is asked, and dies after so many parcels."""

    def __init__(self, dies_after: int | None = None) -> None:
        self.asked: list[str] = []
        self.dies_after = dies_after

    def __call__(self, pieces: Sequence[Piece], question: Question) -> Iterator[Scanned]:
        self.asked.append(type(question).__name__)
        for number, parcel in enumerate(in_turn(pieces, question)):
            if number == self.dies_after:
                raise KeyboardInterrupt
            yield parcel


def read(runner: Runner, pieces: Sequence[Piece], question: Question) -> list[bytes]:
    return [ENCODER.encode(parcel) for parcel in runner(pieces, question)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "result"


def test_the_parcels_are_those_of_the_engine(path: Path, pieces: list[Piece], mapper: SiteMapper) -> None:
    assert read(kept_in(path, MADE, in_turn), pieces, OfPatients(mapper, None, None)) == read(
        in_turn, pieces, OfPatients(mapper, None, None)
    )
    assert path.stat().st_mode & 0o777 == 0o600


def test_nobody_is_asked_twice(path: Path, pieces: list[Piece], mapper: SiteMapper) -> None:
    first, second = Engine(), Engine()
    runner = kept_in(path, MADE, first)
    read(runner, pieces, GivenDrug(mapper))
    here = read(runner, pieces, OfPatients(mapper, None, None))
    again = kept_in(path, MADE, second)
    assert read(again, pieces, OfPatients(mapper, None, None)) == here
    assert read(again, pieces, GivenDrug(mapper)) == read(in_turn, pieces, GivenDrug(mapper))
    assert (first.asked, second.asked) == (["GivenDrug", "OfPatients"], [])


def test_some_of_the_pieces_are_known_too(path: Path, pieces: list[Piece], mapper: SiteMapper) -> None:
    read(kept_in(path, MADE, in_turn), pieces, OfPatients(mapper, None, None))
    engine = Engine()
    some = pieces[3:9:2]
    assert read(kept_in(path, MADE, engine), some, OfPatients(mapper, None, None)) == read(
        in_turn, some, OfPatients(mapper, None, None)
    )
    assert engine.asked == []
    assert read(kept_in(path, MADE, engine), some[::-1], OfPatients(mapper, None, None)) == read(
        in_turn, some[::-1], OfPatients(mapper, None, None)
    )
    assert engine.asked == ["OfPatients"]


def test_an_engine_that_dies_begins_its_pass_again(path: Path, pieces: list[Piece], mapper: SiteMapper) -> None:
    dying = Engine()
    runner = kept_in(path, MADE, dying)
    read(runner, pieces, GivenDrug(mapper))
    whole = path.stat().st_size
    dying.dies_after = 9
    with pytest.raises(KeyboardInterrupt):
        read(runner, pieces, OfPatients(mapper, None, None))
    assert path.stat().st_size > whole
    engine = Engine()
    again = kept_in(path, MADE, engine)
    assert path.stat().st_size == whole
    read(again, pieces, GivenDrug(mapper))
    assert read(again, pieces, OfPatients(mapper, None, None)) == read(in_turn, pieces, OfPatients(mapper, None, None))
    assert engine.asked == ["OfPatients"]


def test_wherever_the_file_ends_only_whole_passes_count(path: Path, pieces: list[Piece], mapper: SiteMapper) -> None:
    some = pieces[:3]
    runner = kept_in(path, MADE, in_turn)
    first = path.stat().st_size
    read(runner, some, GivenDrug(mapper))
    second = path.stat().st_size
    read(runner, some, OfPatients(mapper, None, None))
    content = path.read_bytes()
    for end in [*range(0, second + 5), *range(second + 5, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:end])
        engine = Engine()
        again = kept_in(path, MADE, engine)
        assert path.stat().st_size == (second if end >= second else first)
        read(again, some, GivenDrug(mapper))
        assert engine.asked == ([] if end >= second else ["GivenDrug"])


@pytest.mark.parametrize("place", [3, 30, 300, -1, -40])
def test_damage_is_noticed(path: Path, pieces: list[Piece], mapper: SiteMapper, place: int) -> None:
    read(kept_in(path, MADE, in_turn), pieces, OfPatients(mapper, None, None))
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    engine = Engine()
    assert read(kept_in(path, MADE, engine), pieces, OfPatients(mapper, None, None)) == read(
        in_turn, pieces, OfPatients(mapper, None, None)
    )
    assert engine.asked == ["OfPatients"]


def changes(pieces: list[Piece], mapper: SiteMapper) -> dict[str, tuple[Any, Any, list[Piece]]]:
    """What makes another question of Linked(members p1 and p2)."""
    from msgspec.structs import replace

    two = frozenset({"Patient/p1", "Patient/p2"})
    newer = replace(pieces[0], source=replace(pieces[0].source, version="another"))
    other_tables = mapper._replace(drug="rituximab")
    return {
        "members": (MADE, Linked(mapper, two | {"Patient/p3"}), pieces),
        "kind": (MADE, GivenDrug(mapper, two), pieces),
        "tables": (MADE, Linked(other_tables, two), pieces),
        "file": (MADE, Linked(mapper, two), [newer, *pieces[1:]]),
        "program": (Made("0.1.0 abd", "leon"), Linked(mapper, two), pieces),
        "site": (Made("0.1.0 abc", "lugo"), Linked(mapper, two), pieces),
    }


@pytest.mark.parametrize("what", ["members", "kind", "tables", "file", "program", "site"])
def test_another_question_is_asked(path: Path, pieces: list[Piece], mapper: SiteMapper, what: str) -> None:
    read(kept_in(path, MADE, in_turn), pieces, Linked(mapper, frozenset({"Patient/p2", "Patient/p1"})))
    same, other = Engine(), Engine()
    read(kept_in(path, MADE, same), pieces, Linked(mapper, frozenset({"Patient/p1", "Patient/p2"})))
    made, question, asked = changes(pieces, mapper)[what]
    read(kept_in(path, made, other), asked, question)
    assert (same.asked, len(other.asked)) == ([], 1)
