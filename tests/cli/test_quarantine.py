"""dm-fhir quarantine: what was set aside, as a list, as it came, and acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Study


def test_nothing_is_set_aside(study: Study) -> None:
    ran = study.type("quarantine", "--site", "leon")
    assert (ran.code, ran.lines) == (0, ["leon: 0 set aside, 0 more acknowledged", "quarantine: exit 0 (complete)"])


def test_the_list_says_what_stood_where_and_why(study: Study) -> None:
    study.aside(b"{}", b"null!")
    study.aside(b"x", site="madrid")
    ran = study.type("quarantine")
    assert ran.code == 3
    assert ran.lines[:5] == [
        "leon: 2 set aside, 0 more acknowledged",
        "  1: Patient/1 Observation?patient, page 1, entry 0 (no-id, 2 bytes)",
        "  2: Patient/1 Observation?patient, page 1, entry 1 (no-id, 5 bytes)",
        "madrid: 1 set aside, 0 more acknowledged",
        "  3: Patient/1 Observation?patient, page 1, entry 0 (no-id, 1 bytes)",
    ]
    assert study.type("quarantine", "--site", "madrid", "--json").json["sites"] == [
        {
            "site": "madrid", "set_aside": 1, "acknowledged": 0,
            "quarantine": [{
                "number": 3, "place": "Patient/1 Observation?patient, page 1, entry 0", "reason": "no-id", "size_bytes": 1,
                "acknowledged": None,
            }],
        }
    ]  # fmt: skip


def test_the_list_shows_no_content(study: Study) -> None:
    study.aside(b'{"name": "Invented, Nobody"}')
    for arguments in (["quarantine"], ["quarantine", "--json"], ["status"], ["status", "--json"], ["failed"]):
        ran = study.type(*arguments)
        assert "Invented" not in ran.out + ran.err


def test_show_gives_the_bytes_as_they_came_and_says_whose_they_are(study: Study) -> None:
    bodies = [b'{"a": "\xff\r\n', b"\n"]
    study.aside(*bodies)
    for number, body in enumerate(bodies, start=1):
        ran = study.type("--quiet", "quarantine", "show", str(number))
        assert (ran.code, ran.out.encode(errors="surrogateescape")) == (0, body)
        assert ran.err == f"warning: number {number} as it came, {len(body)} bytes: this is patient data\n"
    study.aside(b"of madrid", site="madrid")
    assert study.type("quarantine", "show", "3").out == "of madrid"


def test_what_is_acknowledged_stays_listed_and_no_longer_counts(study: Study) -> None:
    study.unit("Observation?patient")
    study.aside(b"one", b"two", b"three")
    assert study.type("status", "--site", "leon").code == 3
    ran = study.type("quarantine", "ack", "1", "3")
    assert (ran.code, ran.lines) == (0, ["acknowledged: 1, 3", "quarantine ack: exit 0 (complete)"])
    ran = study.type("quarantine", "--site", "leon")
    assert ran.code == 3
    assert ran.lines[0] == "leon: 1 set aside, 2 more acknowledged"
    assert ran.lines[1] == "  2: Patient/1 Observation?patient, page 1, entry 1 (no-id, 3 bytes)"
    assert ", acknowledged 2" in ran.lines[2]
    assert study.type("quarantine", "ack", "--all", "--json").json["acknowledged"] == [2]
    ran = study.type("status", "--site", "leon")
    assert ran.code == 0
    assert "  set aside and acknowledged: 3" in ran.lines
    assert study.type("quarantine", "ack", "--all").lines[0] == "acknowledged: nothing was set aside"


def test_all_of_one_site(study: Study) -> None:
    study.aside(b"one")
    study.aside(b"two", site="madrid")
    assert study.type("quarantine", "ack", "--all", "--site", "madrid").code == 0
    assert [site["set_aside"] for site in study.type("quarantine", "--json").json["sites"]] == [1, 0]


def test_a_number_that_is_none_acknowledges_nothing(study: Study) -> None:
    study.aside(b"one")
    for arguments in (["ack", "1", "9"], ["ack", "1", "--site", "madrid"], ["show", "9"]):
        ran = study.type("quarantine", *arguments)
        assert ran.code == 2
        assert "nothing that is set aside has the number" in ran.err
    assert study.type("quarantine", "--json").json["sites"][0]["set_aside"] == 1


def test_what_cannot_be_meant_is_refused(study: Study) -> None:
    study.aside(b"one")
    for arguments in (
        ["ack"],
        ["ack", "1", "--all"],
        ["show"],
        ["ack", "one"],
        ["--site", "leon", "ack", "1"],
        ["forget"],
    ):
        assert study.type("quarantine", *arguments).code == 2
    assert study.type("quarantine", "--json").json["sites"][0]["set_aside"] == 1


def test_many_are_cut_short_for_people_only(study: Study) -> None:
    study.aside(*(b"%d" % number for number in range(60)))
    lines = study.type("quarantine", "--site", "leon").lines
    assert len(lines) == 53
    assert lines[-2] == "  … and 10 more set aside; all of them: dm-fhir quarantine --site leon --json"
    assert len(study.type("quarantine", "--json").json["sites"][0]["quarantine"]) == 60
