"""What is said of more sites than fit on a screen: how many are how, what is wrong, what is wrong at many of them, the worst first."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from dm_fhir.cli.reporter import FEW, attention_lines, counted, number_of
from dm_fhir.errors import EXIT_PRECEDENCE
from dm_fhir.store.stops import Stop
from dm_fhir.sync.public_words import query_said, reason_said
from dm_fhir.sync.summary import SiteSummary, stopped_by

#: What is the same at so many sites is told once.
_COMMON = 3
_MOST_NAMES, _MOST_LINES_OF_A_SITE = 4, 4
_STATES = ("complete", "partial", "failed", "never pulled")
_ALL = "dm-fhir status --all"


class _Fault(NamedTuple):
    """What is wrong with a site, in words that are the same wherever it is the same. The lower the rank the worse."""

    rank: int
    text: str


#: What keeps nothing from going on ranks behind all that stopped a site.
_NOT_STOPPED = len(EXIT_PRECEDENCE)


def many_lines(summaries: Sequence[SiteSummary], *, quiet: bool = False) -> list[str]:
    """How many sites are how; then what needs attention, the worst first; then the complete ones. `quiet`: nothing of these."""
    states = Counter(map(state_of, summaries))
    lines = [f"{len(summaries)} sites: {counted({state: states[state] for state in _STATES if states[state]})}"]
    faults = {summary.site: set(_faults(summary)) for summary in summaries}
    common = _common(faults.values())
    for fault in common:
        lines.append(_common_line(fault, [summary for summary in summaries if fault in faults[summary.site]]))
    others = sorted((one for one in summaries if faults[one.site] - set(common)), key=_rank)
    for summary in others[:FEW]:
        lines += _of_site(summary)
    if len(others) > FEW:
        lines.append(f"… and {len(others) - FEW} more sites that need attention; all of them: {_ALL}")
    complete = [one.complete_until for one in summaries if state_of(one) == "complete" and one.complete_until]
    if any(faults.values()):
        lines.append("each site that needs somebody, and what to type there: dm-fhir failed")
    if complete and not quiet:
        lines.append(f"complete: {number_of(len(complete), 'site')}, all of them until {min(complete)}; each: {_ALL}")
    return lines


def state_of(summary: SiteSummary) -> str:
    """How a site stands, in one of four words."""
    if summary.error or summary.exit_code() not in (0, 3) or summary.stops:
        return "failed"
    if not summary.units:
        return "never pulled"
    return "partial" if summary.exit_code() else "complete"


def _faults(summary: SiteSummary) -> Iterator[_Fault]:
    for stop in summary.stops:
        yield _fault_of(stop)
    if summary.stopped_by and not summary.stops:
        yield _Fault(EXIT_PRECEDENCE.index(1), f"stopped: {summary.stopped_by}")
    if not (summary.units or summary.stops or summary.error):
        yield _Fault(_NOT_STOPPED, "never pulled")
    for one in summary.attention:
        yield _Fault(_NOT_STOPPED, f"{one.state}: {query_said(one.query)} ({reason_said(one.reason) or 'no reason'})")
    if summary.set_aside:
        yield _Fault(_NOT_STOPPED, "something was set aside: dm-fhir quarantine")
    if summary.unreadable:
        yield _Fault(_NOT_STOPPED, "records that cannot be read: dm-fhir findings")
    for state in ("conflict", "rejected", "sending", "blocked"):
        if summary.pushed.get(state):
            how = "not settled" if state == "sending" else state
            yield _Fault(_NOT_STOPPED, f"outcomes {how}: dm-fhir push --dry-run")


def _fault_of(stop: Stop) -> _Fault:
    at = "" if stop.step == "pull" else f" at {stop.step}"
    return _Fault(EXIT_PRECEDENCE.index(stop.exit_code), f"stopped{at}: {stopped_by(stop.exit_code, stop.reason)}")


def _common(faults: Iterable[set[_Fault]]) -> list[_Fault]:
    """What is wrong at several sites, the worst first, of equals what is so at most."""
    counts = Counter(fault for some in faults for fault in some)
    found = [fault for fault, count in counts.items() if count >= _COMMON]
    return sorted(found, key=lambda fault: (fault.rank, -counts[fault], fault.text))


def _common_line(fault: _Fault, summaries: Sequence[SiteSummary]) -> str:
    """The fault and where it is, first where it is new: where the last attempt was the first that met it."""
    met = {one.site: stop for one in summaries for stop in one.stops if _fault_of(stop) == fault}
    new = [site for site, stop in met.items() if stop.since == stop.tried]
    names = sorted((one.site for one in summaries), key=lambda site: (site not in new, site))
    more = len(names) - _MOST_NAMES
    text = f"at {len(names)} sites: {fault.text}: {', '.join(names[:_MOST_NAMES])}{f' and {more} more' if more > 0 else ''}"
    if not met:
        return text
    if len(new) == len(met):
        return f"{text}; all new"
    return f"{text}; {len(new) or 'none'} new, the longest since {min(stop.since for stop in met.values())}"


def _of_site(summary: SiteSummary) -> list[str]:
    lines = attention_lines(summary) or [f"{summary.site}: {min(_faults(summary)).text}"]
    more = len(lines) - 1 - _MOST_LINES_OF_A_SITE
    if more <= 0:
        return lines
    return [*lines[: 1 + _MOST_LINES_OF_A_SITE], f"  … and {more} more lines: dm-fhir status --site {summary.site}"]


def _rank(summary: SiteSummary) -> tuple[int, int, int, str]:
    """The worst first: what stopped, what no retry mends, and where most is open."""
    worst = min(fault.rank for fault in _faults(summary))
    return worst, EXIT_PRECEDENCE.index(summary.standing_code()), -len(summary.attention), summary.site
