"""The requests of a run: so many at a time, but for those that have waited for long; and when a site was last heard of."""

import threading
import time

import pytest

from dm_fhir.fhir import budget as module
from dm_fhir.fhir.budget import Budget

WITHIN_SECONDS = 10


def test_a_site_is_heard_of_when_it_sends_and_when_it_has_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(100, 200))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(moments)))
    budget = Budget(2)
    assert budget.heard("leon") == 0
    with budget.turn("leon"):
        begun = budget.heard("leon")
        assert begun > 0
        assert budget.heard("madrid") == 0
    assert budget.heard("leon") > begun


@pytest.mark.parametrize(("patience_seconds", "is_let_in"), [(WITHIN_SECONDS, False), (0.05, True)])
def test_a_request_more_waits_for_the_end_of_one_or_until_one_has_waited_for_long(
    monkeypatch: pytest.MonkeyPatch, patience_seconds: float, is_let_in: bool
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", patience_seconds)
    budget, sent = Budget(1), threading.Event()

    def send() -> None:
        with budget.turn("madrid"):
            sent.set()

    thread = threading.Thread(target=send)
    with budget.turn("leon"):
        thread.start()
        assert sent.wait(WITHIN_SECONDS if is_let_in else 0.1) == is_let_in
    began = time.monotonic()
    assert sent.wait(WITHIN_SECONDS)
    assert time.monotonic() - began < WITHIN_SECONDS / 2, "it is told when one ends"
    thread.join()


def test_only_the_one_that_has_waited_for_long_gives_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.4)
    budget, sent, end = Budget(1), list[str](), threading.Event()

    def send(site: str) -> None:
        with budget.turn(site):
            sent.append(site)
            end.wait(WITHIN_SECONDS)

    threads = [threading.Thread(target=send, args=(site,)) for site in ("madrid", "gijon")]
    with budget.turn("leon"):
        for thread in threads:
            thread.start()
        while not sent:
            time.sleep(0.005)
        time.sleep(0.05)
        assert len(sent) == 1
    end.set()
    for thread in threads:
        thread.join()
    assert len(sent) == 2
