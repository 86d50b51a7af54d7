"""The pull benchmark's own ground: its server tells the truth, and the unavoidable waiting is counted rightly. Nothing is timed."""

from collections.abc import Callable, Iterator
from threading import Thread
from types import SimpleNamespace

import msgspec
import pytest
import requests


@pytest.fixture(scope="module")
def modules(load: Callable[..., SimpleNamespace]) -> SimpleNamespace:
    return load("population", "population_server", "served", "waiting", "figures", "processes")


@pytest.fixture(scope="module")
def base(modules: SimpleNamespace) -> Iterator[str]:
    server = modules.population_server.PopulationServer(patients=3)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server.store.base
    server.shutdown()
    thread.join()
    server.server_close()


def read(url: str) -> tuple[int, list[str]]:
    """The total that the first page announces, and the ids on all pages."""
    total, ids, following = None, [], url
    while following:
        bundle = msgspec.json.decode(requests.get(following, timeout=10).content)
        total = bundle["total"] if total is None else total
        ids += [entry["resource"]["id"] for entry in bundle.get("entry", ())]
        following = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    return total, ids


@pytest.mark.parametrize(
    ("search", "count"),
    [
        ("Observation?patient=p00001,Patient/p00003&_count=7", 32),
        ("Observation?patient=p00002&category=laboratory", 4),
        ("Observation?code=http://loinc.org|2157-6,unknown&_count=5", 12),
        ("MedicationAdministration?subject=Patient/p00001", 5),
        ("Patient?_id=p00001,p00002,nobody", 2),
        ("AdverseEvent?subject=p00001", 0),
        ("Condition?patient=p00001&_lastUpdated=ge2025-06-01T10:00:00Z", 2),
        ("Condition?patient=p00001&_lastUpdated=gt2025-06-01T10:00:00Z", 0),
    ],
)
def test_every_page_of_a_search_adds_up_to_its_total(base: str, search: str, count: int) -> None:
    total, ids = read(f"{base}/{search}")
    assert (total, len(ids), len(set(ids))) == (count, count, count)


def test_a_search_by_post_gives_the_same(base: str) -> None:
    form = {"patient": "p00001,p00002", "_count": "1000"}
    posted = requests.post(f"{base}/Condition/_search", data=form, timeout=10).json()
    assert [entry["resource"]["id"] for entry in posted["entry"]] == read(f"{base}/Condition?patient=p00001,p00002")[1]


def test_what_the_server_does_not_know_is_refused(base: str) -> None:
    assert requests.get(f"{base}/AdverseEvent?patient=p00001", timeout=10).status_code == 400
    assert requests.get(f"{base}/Patient/nobody", timeout=10).status_code == 404


def test_waiting_is_shared_by_requests_at_a_time_but_a_chain_is_not(modules: SimpleNamespace) -> None:
    def request(target: str) -> object:
        return modules.served.Request("GET", target, "", 200, 0.0)

    many = [request("/fhir/metadata"), *(request(f"/fhir/Condition?patient=p{number}") for number in range(9))]
    chain = [request("/fhir/metadata"), *(request(f"/fhir/Condition?patient=p&_offset={page}") for page in range(9))]
    assert modules.waiting.unavoidable_seconds(many, 0.2, 5) == pytest.approx(0.4)
    assert modules.waiting.unavoidable_seconds(chain, 0.2, 5) == pytest.approx(2.0)


def test_what_is_compared_is_worked_out_round_by_round(modules: SimpleNamespace) -> None:
    def run(seconds: float, peak_mb: float = 100) -> object:
        return modules.processes.Run(seconds, seconds, peak_mb, 0, "")

    def pulled(first: float, second: float) -> object:
        return modules.figures.Pulled(run(first), run(second, 150), 1000, [], 9, 8, 4.0, 1.0)

    figures = modules.figures.Figures(
        40,
        5,
        pulls={0: [pulled(1, 0.1), pulled(2, 0.1), pulled(4, 0.1)], 200: [pulled(6, 0.06)]},
        bare={how: [modules.figures.Bare(run(seconds), 1000) for seconds in (0.5, 1, 1)] for how in ("typed", "whole")},
        peers={
            ("fhirpy", 0): [modules.figures.PeerRun(run(5 * seconds), 500, 20) for seconds in (1, 2, 8)],
            ("fhirpy", 200): [modules.figures.PeerRun(run(59), 1000, 40)],
        },
    )
    found = figures.found()

    assert [(ratio.what.partition(",")[0], ratio.value, ratio.is_met) for ratio in found.ratios] == [
        ("times fhirpy", 10.0, True),
        ("times fhirpy", pytest.approx(59 / 6), False),
        ("of a bare requests + msgspec loop over the same pages", 0.5, True),
        ("of a bare requests + msgspec loop over the same pages", 0.5, True),
        ("the waiting that the plan cannot avoid", 1.5, True),
        ("a second pull with nothing changed", 0.05, True),
        ("its requests", 9, False),
        ("a second pull with nothing changed", 0.01, True),
        ("its requests", 9, False),
        ("peak memory", 150, True),
    ]
    assert [len(row) for table in found.tables for row in table.rows] == [10, 10, 3, 3]
