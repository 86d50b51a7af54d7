"""What stopped a site, shown to whoever looks later: status, failed, the message of a run, the metrics."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from dm_fhir.cli.many_sites import many_lines
from dm_fhir.store.ledger import begin_run, end_run
from dm_fhir.store.stops import Stop, clear_stop, note_stop
from dm_fhir.sync.metrics import LastRun, metrics_text
from dm_fhir.sync.notification import message
from dm_fhir.sync.summary import Attention, SiteSummary

if TYPE_CHECKING:
    from tests.cli.conftest import Study

_LAST = LastRun("sync", 1, "2025-06-01T10:00:00Z", "2025-06-01T10:05:00Z", 5, {})
_MON, _TUE, _WED = "2025-06-02T03:00:00Z", "2025-06-03T03:00:00Z", "2025-06-04T03:00:00Z"


def stopped(study: Study, step: str = "pull", code: int = 5, reason: str | None = None, site: str = "leon") -> None:
    """A run whose `step` was given up at the site."""
    run = begin_run(study.db, "sync")
    note_stop(study.db, site, step, code, reason, "it does not work\n  mend it", run)
    end_run(study.db, run, code)


def since(study: Study, first: str, last: str) -> None:
    study.db.execute("UPDATE stop SET since = ?, tried = ?", (first, last))


def test_status_says_why_a_site_was_never_pulled(study: Study) -> None:
    stopped(study)
    since(study, _MON, _MON)
    ran = study.type("status", "--site", "leon")
    assert (ran.code, ran.lines[1:3]) == (
        5,
        ["leon: never pulled; 0 resources", f"  stopped: it does not work; mend it (pull, {_MON})"],
    )
    since(study, _MON, _WED)
    assert study.type("status", "--site", "leon").lines[2] == (
        f"  stopped: it does not work; mend it (pull, since {_MON}, last tried {_WED})"
    )
    (told,) = study.type("status", "--site", "leon", "--json").json["sites"]
    (stop,) = told["stops"]
    assert stop == {
        "step": "pull", "exit_code": 5, "reason": None, "message": "it does not work\n  mend it", "since": _MON, "tried": _WED,
        "run": stop["run"],
    }  # fmt: skip
    assert (told["error"], told["stopped_by"]) == (None, None)
    clear_stop(study.db, "leon", "pull")
    assert study.type("status", "--site", "leon").code == 3


@pytest.mark.parametrize(
    ("step", "code", "reason", "said"),
    [
        ("pull", 5, None, "dm-fhir .*doctor --site leon"),
        ("pull", 2, None, "dm-fhir .*doctor --site leon"),
        ("pull", 4, "unreachable", "dm-fhir .*pull --site leon"),
        ("compute", 1, None, "dm-fhir .*compute --site leon"),
    ],
)
def test_failed_says_what_to_type(study: Study, step: str, code: int, reason: str | None, said: str) -> None:
    stopped(study, step, code, reason)
    ran = study.type("failed", "--site", "leon")
    head, line, command = ran.lines[:3]
    assert (head, ran.code) == ("leon: never pulled", code if step == "pull" else 3)
    assert line.startswith(f"  stopped: it does not work; mend it ({step}, ")
    assert re.fullmatch(f"    {said}", command), command
    (told,) = study.type("failed", "--site", "leon", "--json").json["sites"][0]["stopped"]
    assert (told["step"], told["command"]) == (step, command.strip())


def test_a_push_is_nothing_to_see_to_where_nothing_is_written_and_a_pull_where_records_come_as_files(
    study: Study,
) -> None:
    study.unit("q")
    stopped(study, "push")
    assert study.type("status", "--site", "leon").code == 0
    text = study.config.read_text()
    study.config.write_text(text.replace('name = "leon"\n', 'name = "leon"\npush = { enabled = true }\n'))
    assert study.type("status", "--site", "leon").code == 5
    stopped(study, "pull", site="madrid")
    assert study.type("status", "--site", "madrid").code == 3


def test_people_and_monitoring_are_told_without_the_message(study: Study) -> None:
    from dm_fhir.config import load_config

    stopped(study, reason="Zwetschke")
    since(study, _MON, _WED)
    sites = load_config(study.config).sites
    told = message(study.db, sites, _LAST, "dm-fhir", "dm-fhir.toml")
    assert f"  pull stopped: login refused (other), since {_MON}\n  dm-fhir doctor --site leon\n" in told.text
    assert told.document["sites"][0]["stopped"] == [  # type: ignore[index]
        {"step": "pull", "exit_code": 5, "reason": "other", "since": _MON}
    ]
    metrics = metrics_text(study.db, sites, _LAST)
    assert 'dm_fhir_site_stopped{site="leon"} 5\n' in metrics
    assert 'dm_fhir_site_stopped{site="madrid"} 0\n' in metrics
    for text in (told.text, metrics):
        assert "it does not work" not in text
        assert "Zwetschke" not in text


def site(name: str, *stops: Stop, units: int = 1, pushed: dict[str, int] | None = None) -> SiteSummary:
    """A site in a summary of many."""
    counts = {"complete": units} if units else {}
    return SiteSummary(
        name, _WED if units else None, counts, {}, {}, {}, {}, pushed or {}, [], {}, {}, [], {}, {}, {}, {}, stops=list(stops)
    )  # fmt: skip


def stop(code: int, first: str = _MON, last: str = _WED, step: str = "pull", reason: str | None = None) -> Stop:
    return Stop(step, code, reason, "no", first, last, 1)


def test_of_many_sites_what_stopped_them_comes_first_the_worst_first_and_what_is_new_before_what_is_known() -> None:
    summaries = [
        *(site(f"conflict-{number}", pushed={"conflict": 1}) for number in range(9)),
        *(site(f"gone-{number}", stop(4, reason="unreachable"), units=0) for number in range(6)),
        *(site(f"key-{number}", stop(5, first)) for number, first in enumerate((_TUE, _WED, _MON))),
        *(site(f"new-{number}", units=0) for number in range(3)),
        *(site(f"yes-{number}", stop(2, _WED, step="push", reason="not-confirmed")) for number in range(3)),
        site("alone", stop(5), stop(1, step="compute")),
        *(site(f"well-{number}") for number in range(2)),
    ]
    assert many_lines(summaries) == [
        "27 sites: 2 complete, 22 failed, 3 never pulled",
        "at 3 sites: stopped at push: usage or configuration (not-confirmed): yes-0, yes-1, yes-2; all new",
        f"at 4 sites: stopped: login refused: key-1, alone, key-0, key-2; 1 new, the longest since {_MON}",
        "at 6 sites: stopped: server unavailable, try later (unreachable): gone-0, gone-1, gone-2, gone-3 and 2 more; none new, "
        f"the longest since {_MON}",
        "at 9 sites: outcomes conflict: dm-fhir push --dry-run: conflict-0, conflict-1, conflict-2, conflict-3 and 5 more",
        "at 3 sites: never pulled: new-0, new-1, new-2",
        f"alone: complete until {_WED}",
        f"  stopped: no (pull, since {_MON}, last tried {_WED})",
        f"  stopped: no (compute, since {_MON}, last tried {_WED})",
        "each site that needs somebody, and what to type there: dm-fhir failed",
        f"complete: 2 sites, all of them until {_WED}; each: dm-fhir status --all",
    ]


def test_of_sites_that_have_a_fault_of_their_own_those_that_were_stopped_come_first() -> None:
    summaries = [
        site("partial", pushed={"rejected": 1}),
        site("gone", stop(4)),
        site("key", stop(5)),
        *(site(f"well-{number}") for number in range(9)),
    ]
    heads = [line.partition(":")[0] for line in many_lines(summaries, quiet=True) if not line.startswith(" ")]
    assert heads == ["12 sites", "key", "gone", "partial", "each site that needs somebody, and what to type there"]


def test_failed_says_of_many_sites_how_all_are_asked_again(study: Study) -> None:
    text = study.config.read_text()
    more = "".join(
        f'[[site]]\nname = "more-{number}"\nendpoint = "https://more.test/{number}"\n' for number in range(9)
    )
    study.config.write_text(text + more)
    stopped(study, code=4, reason="unreachable", site="more-1")
    study.unit("q")
    lines = study.type("failed").lines
    assert lines[-3:-1] == [
        "all of it again, and nothing else: dm-fhir pull --retry-failed",
        "at 1 site nothing needs attention",
    ]
    assert not any("all of it again" in line for line in study.type("failed", "--site", "more-*").lines)


def open_at(name: str, units: int, until: str = _WED) -> SiteSummary:
    """A site with so many open units, for a reason of its own."""
    reason = f"http-5{name[-2:]}"
    attention = [Attention(f"Patient/{n}", f"{name} {n}", "failed", reason, "500", None, 0) for n in range(units)]
    return structs.replace(site(name), attention=attention, complete_until=None if units else until)


def test_of_equals_that_come_first_where_most_is_open_and_the_others_are_counted() -> None:
    summaries = [
        *(open_at(f"open-{number:02}", units=number % 7 + 1) for number in range(12)),
        *(open_at(f"well-{number}", 0, until) for number, until in enumerate((_TUE, _MON, _WED))),
    ]
    lines = many_lines([*summaries, site("given-up", stop(3, reason="http-500"))])
    assert lines[0] == "16 sites: 3 complete, 12 partial, 1 failed"
    heads = [line.partition(":")[0] for line in lines if re.match("(open|given)-", line)]
    sizes = [6, 5, 4, 11, 3, 10, 2, 9, 1]
    assert heads == ["given-up", *(f"open-{number:02}" for number in sizes)]
    assert "… and 3 more sites that need attention; all of them: dm-fhir status --all" in lines
    assert lines[-1].startswith(f"complete: 3 sites, all of them until {_MON}; ")
    assert not any("and 0 more" in line for line in lines)
    first = lines.index("open-06: not complete")
    assert lines[first + 1 : first + 6] == [
        *(f"  failed: Patient/{number} open-06 {number}: 500" for number in range(4)),
        "  … and 3 more lines: dm-fhir status --site open-06",
    ]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"set_aside": {"page 1, entry 0": "no-id"}}, "something was set aside: dm-fhir quarantine"),
        ({"unreadable": ["Observation/1"]}, "records that cannot be read: dm-fhir findings"),
        ({"pushed": {"sending": 1}}, "outcomes not settled: dm-fhir push --dry-run"),
        ({"pushed": {"blocked": 1}}, "outcomes blocked: dm-fhir push --dry-run"),
    ],
)
def test_each_kind_of_fault_at_many_sites_has_a_line(what: dict[str, Any], said: str) -> None:
    lines = many_lines([structs.replace(site(f"site-{number}"), **what) for number in range(11)])
    assert lines[:2] == ["11 sites: 11 partial", f"at 11 sites: {said}: site-0, site-1, site-10, site-2 and 7 more"]


def test_what_stopped_a_run_and_could_not_be_kept_is_told_all_the_same() -> None:
    full = [
        structs.replace(site(f"site-{number}"), error="no space left", stopped_by="failed", units={"partial": 1})
        for number in range(11)
    ]
    assert many_lines(full)[:2] == [
        "11 sites: 11 failed",
        "at 11 sites: stopped: failed: site-0, site-1, site-10, site-2 and 7 more",
    ]
    assert "  stopped: no space left" in many_lines([*full[:2], *(site(f"well-{number}") for number in range(9))])


def test_the_exit_code_of_status_is_the_worst_of_all_and_each_site_is_told_on_request(study: Study) -> None:
    more = "".join(f'[[site]]\nname = "more-{number}"\n' for number in range(9))
    study.config.write_text(study.config.read_text() + more)
    study.unit("q")
    stopped(study, code=1, step="compute", site="more-3")
    stopped(study, step="compute", site="more-8")
    ran = study.type("status")
    assert (ran.code, ran.lines[1]) == (5, "11 sites: 1 complete, 2 failed, 8 never pulled")
    each = [line.partition(":")[0] for line in study.type("status", "--all").lines if not line.startswith(" ")]
    assert each[1:-1] == ["leon", "madrid", *(f"more-{number}" for number in range(9))]
    named = study.type("status", "--site", "more-[12]", "--site", "leon", "--site", "more-1", "--json").json["sites"]
    assert [one["site"] for one in named] == ["more-1", "more-2", "leon"], "as they were named, each once"
