"""The fault server by itself: a client that checks nothing runs into every fault as the peers did."""

import json
import socket
import ssl
from urllib.parse import urlsplit

import pytest
import requests

from .certificates import Certificates
from .faults import FAULTS, LONG_ID
from .server import BEARER, CUSTOM_HEADER, FaultServer

#: When nothing ends.
MOST_PAGES = 80
#: Of a client that waits for a server that is silent, and of one that need not.
SHORT_SECONDS, LONG_SECONDS = 0.5, 20
#: Fault, entries that arrive, different ids among them, and how it ends if not by the last page.
NAIVE = [
    ("ok", 1000, 1000, ""),
    ("r503", 300, 300, "503"),
    ("r429", 300, 300, "429"),
    ("r429date", 300, 300, "429"),
    ("r503no", 300, 300, "503"),
    ("ra5h", 300, 300, "503"),
    ("e500", 500, 500, "500"),
    ("e410", 500, 500, "410"),
    ("e403", 500, 500, "403"),
    ("e404", 0, 0, "404"),
    ("e404-category", 0, 0, "400"),
    ("a401", 400, 400, "401"),
    ("e401", 0, 0, "401"),
    ("e401-observation", 0, 0, "401"),
    ("drop", 400, 400, "ConnectionError"),
    ("trunc", 400, 400, "ChunkedEncodingError"),
    ("clshort", 400, 400, "JSONDecodeError"),
    ("stall", 400, 400, "ReadTimeout"),
    ("drip", 1000, 1000, ""),
    ("gzbad", 400, 400, "ContentDecodingError"),
    ("gzbad-checksum", 400, 400, "ContentDecodingError"),
    ("gztrunc", 400, 400, "JSONDecodeError"),
    ("html", 200, 200, "JSONDecodeError"),
    ("nonfhir", 400, 400, "no Bundle"),
    ("utf8", 400, 400, "UnicodeDecodeError"),
    ("utf8-latin1", 400, 400, "UnicodeDecodeError"),
    ("bom", 400, 400, "JSONDecodeError"),
    ("nan", 1000, 1000, ""),
    ("nan-1e400", 1000, 1000, ""),
    ("deep", 400, 400, "RecursionError"),
    ("surr", 1000, 1000, ""),
    ("surr-twice", 1000, 1000, ""),
    ("loop", 8000, 300, "endless"),
    ("fresh", 8000, 300, "endless"),
    ("dup", 1090, 1000, ""),
    ("vers", 1010, 1000, ""),
    ("emptymid-900", 900, 900, ""),
    ("emptyfirst", 900, 900, ""),
    ("short", 700, 700, ""),
    ("more", 1000, 1000, ""),
    ("host", 1000, 1000, ""),
    ("redir", 1000, 1000, ""),
    ("redir-path", 1000, 1000, ""),
    ("cap", 10000, 10000, "400"),
    ("foreign", 1000, 1000, ""),
    ("ignored", 1000, 1000, ""),
    ("oo", 1010, 1000, ""),
    ("oofatal", 400, 400, "no Bundle"),
    ("oofatal-only", 1, 0, ""),
    ("noid", 1000, 999, ""),
    ("pathid", 1000, 1000, ""),
    ("null", 1000, 999, ""),
]


def _read(endpoint: str, timeout_seconds: float = LONG_SECONDS) -> tuple[list[dict[str, object]], str]:
    """Every entry that arrives, by following every link with the credential, and how it ends."""
    entries: list[dict[str, object]] = []
    url = f"{endpoint}/Observation?patient=p1"
    with requests.Session() as session:
        for _ in range(MOST_PAGES):
            try:
                headers = {"Authorization": f"Bearer {BEARER}", CUSTOM_HEADER: "app-4711"}
                answer = session.get(url, headers=headers, timeout=timeout_seconds)
                if answer.status_code != 200:
                    return entries, str(answer.status_code)
                bundle = json.loads(answer.content.decode("utf-8"))
            except (requests.RequestException, ValueError, RecursionError) as error:
                return entries, type(error).__name__
            if bundle.get("resourceType") != "Bundle":
                return entries, "no Bundle"
            entries += bundle["entry"]
            url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), "")
            if not url:
                return entries, ""
    return entries, "endless"


def _ids(entries: list[dict[str, object]]) -> set[str]:
    resources = [one["resource"] for one in entries]
    return {str(one["id"]) for one in resources if isinstance(one, dict) and "id" in one}


@pytest.mark.parametrize(("fault", "entries", "ids", "end"), NAIVE, ids=lambda value: str(value))
def test_what_a_client_that_checks_nothing_gets(
    server: FaultServer, fault: str, entries: int, ids: int, end: str
) -> None:
    got, how = _read(server.endpoint(fault), SHORT_SECONDS if fault == "stall" else LONG_SECONDS)
    assert (len(got), len(_ids(got)), how) == (entries, ids, end)


def test_the_other_host_sees_what_is_sent_there(server: FaultServer) -> None:
    endpoint = server.endpoint("host")
    _read(endpoint)
    elsewhere = [line for line in server.run(endpoint).log if line.address == "127.0.0.2"]
    assert len(elsewhere) == 9
    assert {line.carried for line in elsewhere} == {("Authorization", CUSTOM_HEADER)}


def test_a_redirect_takes_the_custom_header_along(server: FaultServer) -> None:
    endpoint = server.endpoint("redir")
    _read(endpoint)
    assert (CUSTOM_HEADER,) in {line.carried for line in server.run(endpoint).log if line.address == "127.0.0.2"}


def test_once_is_once_and_runs_are_apart(server: FaultServer) -> None:
    endpoint, other = server.endpoint("r503"), server.endpoint("r503")
    assert [_read(one)[1] for one in (endpoint, endpoint, other)] == ["503", "", "503"]


def test_a_healed_run_has_no_fault(server: FaultServer) -> None:
    endpoint = server.endpoint("e500+dup")
    assert len(_read(endpoint)[0]) == 540
    server.run(endpoint).heal()
    assert len(_read(endpoint)[0]) == 1000


def test_searches_are_honest(server: FaultServer) -> None:
    endpoint = server.endpoint("cap")
    headers = {"Authorization": f"Bearer {BEARER}"}

    def total(query: str) -> int:
        return int(requests.get(f"{endpoint}/{query}", headers=headers, timeout=LONG_SECONDS).json()["total"])

    assert total("Observation?patient=Patient/p1&_summary=count") == 12_000
    assert total("Observation?patient=p1&date=ge2025-06-01&date=lt2025-06-02") == 11
    assert total("Observation?patient=p1&date=gt2025-06-01T10:00:00Z") == 0
    assert total("Observation?patient=p1&category=vital-signs,laboratory&code=http://loinc.org|2157-6") == 12_000
    assert total("Observation?patient=p2") == 0
    assert total("Observation?patient=p1&_lastUpdated=ge2025-06-02") == 0
    assert total("Patient?_id=p1") == 1
    assert total("Condition?patient=p1") == 10
    assert total("AdverseEvent?subject=p1") == 0
    form = requests.post(f"{endpoint}/Condition/_search", headers=headers, data={"patient": "p1"}, timeout=LONG_SECONDS)
    assert form.json()["total"] == 10
    assert (
        requests.get(f"{endpoint}/Observation/o7", headers=headers, timeout=LONG_SECONDS).json()["valueQuantity"][
            "value"
        ]
        == 107
    )
    assert requests.get(f"{endpoint}/Observation/o7", timeout=LONG_SECONDS).status_code == 401
    log = requests.get(f"{server.address}/_log/{urlsplit(endpoint).path.split('/')[2]}", timeout=LONG_SECONDS).json()
    assert [line["status"] for line in log][-1] == 401


def test_ids_in_addresses_are_decoded(server: FaultServer) -> None:
    endpoint = server.endpoint("pathid")
    headers = {"Authorization": f"Bearer {BEARER}"}
    answer = requests.get(f"{endpoint}/Observation/a%2Fb%3Fc%23d", headers=headers, timeout=LONG_SECONDS)
    assert answer.json()["valueQuantity"]["value"] == 501
    assert len(LONG_ID) == 88


@pytest.mark.parametrize(("name", "says"), [("valid", ""), ("expired", "expired"), ("other-name", "mismatch")])
def test_certificates(server: FaultServer, certificates: Certificates, name: str, says: str) -> None:
    context = ssl.create_default_context(cafile=str(certificates.authority))
    address = urlsplit(server.tls[name])
    said = ""
    with socket.create_connection((address.hostname, address.port), timeout=LONG_SECONDS) as plain:
        try:
            context.wrap_socket(plain, server_hostname=address.hostname).close()
        except ssl.SSLCertVerificationError as error:
            said = str(error)
    assert says in said
    assert bool(says) == bool(said)


def test_every_fault_has_a_scenario() -> None:
    from .scenarios import SCENARIOS

    assert set(FAULTS) <= {scenario.fault for scenario in SCENARIOS}


def test_every_fault_of_the_table_has_a_scenario() -> None:
    from .scenarios import SCENARIOS

    assert {scenario.t for scenario in SCENARIOS} == set(range(1, 64))
    assert len({scenario.id for scenario in SCENARIOS}) == len(SCENARIOS)
