"""The benchmark's own ground: its server tells the truth, and the unavoidable waiting is counted rightly. Nothing is timed."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import msgspec
import pytest
import requests

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def modules() -> Iterator[SimpleNamespace]:
    """The benchmark's modules, which are scripts beside each other and no package."""
    sys.path.insert(0, str(BENCHMARKS))
    names = ("population", "population_server", "served", "waiting")
    yield SimpleNamespace(**{name: import_module(name) for name in names})
    sys.path.remove(str(BENCHMARKS))
    for name in names:
        del sys.modules[name]


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
