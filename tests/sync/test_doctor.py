"""doctor against a clinic on loopback: everything works, each thing that degrades or fails, and a letter that tells of nobody."""

import io
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext, redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dm_fhir.cli import main
from dm_fhir.config import load_config
from dm_fhir.fhir.keys import create_key_pair
from dm_fhir.fhir.vendors import vendors
from dm_fhir.store.database import open_store
from dm_fhir.store.facts import remember
from dm_fhir.store.ledger import begin_run
from dm_fhir.store.looking import look
from dm_fhir.store.members import join
from dm_fhir.sync import check_access, doctor

from ..faults.certificates import make_certificates
from .clinic import DRUG, FIRST, LISTED, SECOND, SENTINELS, Ask, Clinic, Json, Reply, refusal, refusing, serving

HEAD = '[study]\ntitle = "One clinic"\ndrug = "anifrolumab"\ntimezone = "Europe/Madrid"\n'


class Doctored(NamedTuple):
    """What doctor came to: exit code, the site of the JSON object, and the letter."""

    code: int
    site: Json
    letter: str
    again: Callable[[], tuple[int, str, str]]

    @property
    def text(self) -> str:
        """What it says to people, when it is run once more."""
        code, text, err = self.again()
        assert (code, err) == (self.code, "")
        return text

    def check(self, what: str) -> Json:
        """The only check of this name."""
        (found,) = [check for check in self.site["checks"] if check["what"] == what]
        return found

    def odd(self) -> dict[str, str]:
        """What does not simply work, and how it is."""
        return {check["what"]: check["state"] for check in self.site["checks"] if check["state"] != "works"}


class Study:
    """A study of one clinic, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.config, self.store = folder / "dm-fhir.toml", folder / "dm-fhir.sqlite"

    def write(
        self, endpoint: str | None, *, site: str = "", auth: str = 'method = "none"', pull: str = "", more: str = ""
    ) -> None:
        """The config. `site` are keys of the site itself, `more` are its further sections."""
        where = f'endpoint = "{endpoint}"\n' if endpoint else ""
        text = f'{HEAD}[[site]]\nname = "leon"\n{where}{site}\n[site.auth]\n{auth}\n[site.pull]\ntries = 2\n{pull}\n{more}\n'
        self.config.write_text(text, encoding="utf-8")

    def type(self, *words: str) -> tuple[int, str, str]:
        """Type `dm-fhir` with these words: exit code, stdout, stderr."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main.call(["--config", str(self.config), *words])
        return code, out.getvalue(), err.getvalue()

    def doctor(self) -> Doctored:
        """Run it, with JSON and a letter."""
        letter = self.config.with_name("letter.md")
        code, told, err = self.type("doctor", "--json", "--output", str(letter))
        assert err == ""
        site = json.loads(told)["sites"][0]
        return Doctored(code, site, letter.read_text(encoding="utf-8"), lambda: self.type("doctor"))


@pytest.fixture(autouse=True)
def _nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study without a config yet."""
    return Study(tmp_path)


Examine = Callable[..., Doctored]


@pytest.fixture
def examine(study: Study) -> Iterator[Examine]:
    """Runs doctor on a clinic."""
    with ExitStack() as stack:

        def run(clinic: Clinic, **config: Any) -> Doctored:
            stack.enter_context(serving(clinic))
            study.write(clinic.endpoint, **config)
            return study.doctor()

        yield run


def test_where_everything_works(examine: Examine) -> None:
    clinic = Clinic()
    done = examine(clinic, more="[site.push]\nenabled = true")

    assert (done.code, done.odd()) == (0, {})
    assert [check["what"] for check in done.site["checks"]] == [
        "config and tables", "files of the study", "keys and secrets", "endpoint", "certificate", "clocks", "login",
        "cohort: MedicationAdministration by code", "cohort: Medication by code", "Patient", "MedicationAdministration?patient",
        "Observation?patient", "Condition?patient", "MedicationRequest?patient", "MedicationStatement?patient",
        "AdverseEvent?subject", "several patients in one search", "batch", "POST _search", "only what changed", "totals",
        "Prefer: handling=strict", "conditional update", "sample",
    ]  # fmt: skip
    assert done.check("Observation?patient")["said"] == "5 found"
    assert done.text.splitlines()[-1] == "doctor: 24 work, 0 degrade, 0 fail; exit 0 (complete)"
    assert "Nothing: all that was tried works." in done.letter


def test_every_planned_search_is_tried_with_a_count_of_one(examine: Examine) -> None:
    clinic = Clinic()
    examine(clinic)

    tried = {ask.type for ask in clinic.asked if ask.parameter("_count") == "1" and ask.parameter("patient")}
    assert tried == {name for name, listed in LISTED.items() if "patient" in listed}
    assert max(int(ask.parameter("_count") or 1) for ask in clinic.asked) == 50  # looking for a second patient


def test_it_writes_nothing_anywhere(examine: Examine, study: Study) -> None:
    clinic = Clinic()
    examine(clinic, more="[site.push]\nenabled = true")

    assert {ask.method for ask in clinic.asked} == {"GET", "POST"}
    posted = [ask for ask in clinic.asked if ask.method == "POST"]
    assert all(ask.path.endswith("_search") or set(methods(ask)) == {"GET"} for ask in posted)
    assert sorted(path.name for path in study.config.parent.iterdir()) == ["dm-fhir.toml", "letter.md"]


def methods(ask: Ask) -> list[str]:
    """The methods in a batch."""
    return [entry["request"]["method"] for entry in json.loads(ask.body)["entry"]]


def test_a_store_is_looked_at_and_left_as_it_is(examine: Examine, study: Study) -> None:
    db = open_store(study.store, "anifrolumab")
    begin_run(db, "pull")
    remember(db, "leon", "server", "Clinic 7")
    remember(db, "leon", "codes Observation", "no")
    db.close()
    before = study.store.read_bytes()
    clinic = Clinic()
    done = examine(clinic)

    assert study.store.read_bytes() == before
    assert sorted(path.name for path in study.config.parent.iterdir()) == [
        "dm-fhir.sqlite",
        "dm-fhir.toml",
        "letter.md",
    ]
    assert {fact["name"]: fact["value"] for fact in done.site["facts"]} == {
        "server": "Clinic 7",
        "codes Observation": "no",
    }
    assert "  known from earlier pulls: codes Observation: no (2" in done.text
    assert not any(ask.parameter("combo-code") for ask in clinic.asked), "what is known is not heeded"
    assert done.site["found_now"] == {"lists MedicationAdministration": "2"}


def test_another_server_than_before(examine: Examine, study: Study) -> None:
    db = open_store(study.store, "anifrolumab")
    remember(db, "leon", "server", "Clinic 6")
    remember(db, "leon", "page_size", "100")
    db.close()
    done = examine(Clinic())

    assert "it was Clinic 6 before, and what was found out of that no longer counts" in done.check("endpoint")["said"]
    assert {"name": "page_size", "value": 1000, "by": "default"} in done.site["settings"]


def test_what_it_notes_while_it_is_at_work_holds_no_record(
    examine: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "passing"
    folder.mkdir()
    monkeypatch.setattr(doctor, "TemporaryDirectory", lambda **_: nullcontext(str(folder)))
    examine(spoiled())

    (path,) = folder.glob("*.sqlite")
    assert [word for word in SENTINELS if word.encode() in path.read_bytes()] == []
    assert [fact.name for fact in look(path, "leon", 9).facts] == ["lists MedicationAdministration", "server"]


def test_nothing_is_left_in_the_temporary_folder(
    examine: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    examine(Clinic())

    assert {path.name for path in tmp_path.iterdir()} == {"dm-fhir.toml", "letter.md"}


def test_each_check_is_told_when_it_is_over_to_those_who_ask_for_more(examine: Examine, study: Study) -> None:
    examine(Clinic(spoil=[refusing("Condition")]))
    _, _, err = study.type("-v", "doctor")

    assert "leon: login works\n" in err
    assert "leon: Condition?patient fails\n" in err


def test_a_store_in_use_is_looked_at_too(examine: Examine, study: Study) -> None:
    db = open_store(study.store, "anifrolumab")
    remember(db, "leon", "page_size", "100")
    done = examine(Clinic())
    db.close()

    assert {"name": "page_size", "value": 100, "by": "found out"} in done.site["settings"]


@pytest.mark.parametrize("content", [b"no database", b""])
def test_a_store_that_is_none_is_left_alone(examine: Examine, study: Study, content: bytes) -> None:
    study.store.write_bytes(content)
    study.store.chmod(0o600)
    done = examine(Clinic())

    assert (done.code, done.site["facts"], study.store.read_bytes()) == (0, [], content)


def test_files_of_the_study_that_are_open_to_others(
    examine: Examine, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = study.config.with_name("pseudonym.key")
    key.write_text("a key", encoding="utf-8")
    key.chmod(0o640)
    monkeypatch.setitem(globals(), "HEAD", f'{HEAD.rstrip()}\npseudonym_key = "file:pseudonym.key"\n')

    def told() -> tuple[int, str, str, str | None]:
        done = examine(Clinic())
        check = done.check("files of the study")
        return done.code, check["state"], check["said"], check["mend"]

    assert told() == (0, "degrades", f"{key} can be read by others", f"chmod 600 {key}")
    key.chmod(0o600)
    study.config.chmod(0o664)
    what = f"{study.config} can be written by others"
    assert told() == (0, "degrades", what, f"chmod go-w {study.config}")
    study.config.chmod(0o644)
    assert told()[:2] == (0, "works")
    study.store.touch(mode=0o644)
    hint = f"mend it: chmod 600 {study.store}; or, if that is meant: [store] shared = true"
    assert told() == (2, "fails", f"{study.store} can be read by others (mode 0644)", hint)


def test_a_site_of_files_has_nothing_to_try(study: Study) -> None:
    study.write(None)
    code, out, _ = study.type("doctor")

    assert code == 0
    assert "  works     endpoint: none: the records of this site come as files" in out


# --- the way in


def test_a_secret_that_others_can_read(examine: Examine, study: Study) -> None:
    secret = study.config.with_name("token")
    secret.write_text("token-c0ffee", encoding="utf-8")
    secret.chmod(0o644)
    done = examine(Clinic(), auth='method = "bearer"\ntoken = "file:token"')

    assert (done.code, done.odd()) == (0, {"keys and secrets": "degrades"})
    assert "chmod 600" in done.check("keys and secrets")["said"]
    assert str(secret) not in done.letter
    assert "keys and secrets" not in done.letter


def test_no_secret_is_told(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINIC_TOKEN", "token-c0ffee")

    def repeats(ask: Ask) -> Reply | None:
        return refusal(403, f"{ask.headers.get('Authorization')} may not") if ask.type == "Condition" else None

    done = examine(Clinic(spoil=[repeats]), auth='method = "bearer"\ntoken = "env:CLINIC_TOKEN"')

    assert "token-c0ffee" not in done.text + done.letter + json.dumps(done.site)


@pytest.mark.parametrize(("days", "state"), [(40, "works"), (29, "degrades")])
def test_a_certificate_that_ends_soon(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, state: str
) -> None:
    certificates = make_certificates(tmp_path)
    until = datetime.now(UTC) + timedelta(days=days, hours=1)
    monkeypatch.setattr(check_access, "certificate_expiry", lambda *_: until)
    with serving(Clinic(), certificates.servers["valid"]) as clinic:
        study.write(clinic.endpoint, site=f'ca_bundle = "{certificates.authority}"')
        done = study.doctor()

    check = done.check("certificate")
    assert (done.code, check["state"], check["said"]) == (0, state, f"valid until {until:%Y-%m-%d}, {days} days more")
    assert ("Please renew the certificate" in done.letter) == (state == "degrades")


def test_a_certificate_that_does_not_show_itself(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificates = make_certificates(tmp_path)
    monkeypatch.setattr(check_access, "certificate_expiry", lambda *_: None)
    with serving(Clinic(), certificates.servers["valid"]) as clinic:
        study.write(clinic.endpoint, site=f'ca_bundle = "{certificates.authority}"')

        assert study.doctor().check("certificate")["said"] == "trusted; until when could not be seen"


def test_plain_http_to_another_machine(study: Study) -> None:
    study.write("http://fhir.example.org/r4", pull="allow_plain_http = true")
    check = check_access.check_certificate(load_config(study.config).sites[0], "http://fhir.example.org/r4")

    assert (check.state, check.ask) == ("degrades", "offer the endpoint by https")


def test_a_certificate_as_the_server_shows_it(study: Study, tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with serving(Clinic(), certificates.servers["valid"]) as clinic:
        study.write(clinic.endpoint, site=f'ca_bundle = "{certificates.authority}"')
        done = study.doctor()

    assert done.check("certificate")["said"].startswith("valid until 2")


def test_a_certificate_that_has_expired(study: Study, tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    with serving(Clinic(), certificates.servers["expired"]) as clinic:
        study.write(clinic.endpoint, site=f'ca_bundle = "{certificates.authority}"')
        done = study.doctor()

    assert (done.code, done.odd()) == (4, {"connection": "fails"})
    assert "expired on 2024-01-31" in done.check("connection")["said"]
    assert "1. Please see to the certificate of the endpoint: it is not valid now." in done.letter


def test_a_certificate_of_an_unknown_issuer(study: Study, tmp_path: Path) -> None:
    with serving(Clinic(), make_certificates(tmp_path).servers["valid"]) as clinic:
        study.write(clinic.endpoint)
        done = study.doctor()

    assert (done.code, done.odd()) == (2, {"endpoint": "fails"})
    assert "set ca_bundle" in done.check("endpoint")["said"]


@pytest.mark.parametrize(
    ("skew", "said"),
    [
        (timedelta(seconds=40), r"the server's is (39|40|41) s ahead of ours"),
        (timedelta(minutes=-5), "the server's is 5 min behind ours"),
    ],
)
def test_clocks_that_differ(examine: Examine, skew: timedelta, said: str) -> None:
    done = examine(Clinic(skew=skew))

    assert (done.code, done.odd()) == (0, {"clocks": "degrades"})
    assert re.fullmatch(said, done.check("clocks")["said"])
    assert "NTP" in done.letter


def test_a_server_without_a_clock(examine: Examine) -> None:
    done = examine(Clinic(has_date=False))

    assert (done.code, done.odd()) == (0, {"clocks": "degrades"})
    assert "let the answers carry a Date header" in done.letter


def test_a_server_that_is_not_there(study: Study) -> None:
    with serving(Clinic()) as clinic:
        endpoint = clinic.endpoint
    study.write(endpoint)
    done = study.doctor()

    assert (done.code, done.odd()) == (4, {"connection": "fails"})
    assert done.text.splitlines()[-1].endswith("1 fail; exit 4 (server unavailable: try again later)")
    assert "connection refused" in done.letter


def test_a_server_of_another_fhir(examine: Examine) -> None:
    done = examine(Clinic(version="5.0.0"))

    assert (done.code, done.odd()) == (2, {"endpoint": "fails"})
    assert "speaks FHIR 5.0.0" in done.letter


def test_a_config_that_cannot_be_used(examine: Examine) -> None:
    secret, vendor = (
        examine(Clinic(), **config)
        for config in ({"auth": 'method = "bearer"\ntoken = "env:NO_SUCH_TOKEN"'}, {"site": 'vendor = "acme"'})
    )

    assert (secret.code, vendor.code) == (2, 2)
    assert "the secret env:NO_SUCH_TOKEN is missing or empty" in secret.check("config")["said"]
    assert "no vendor is called 'acme'" in vendor.check("config")["said"]


def test_an_unknown_study_drug(study: Study) -> None:
    study.write("http://127.0.0.1:9/fhir")
    study.config.write_text(study.config.read_text().replace("anifrolumab", "anifrolumap"), encoding="utf-8")
    done = study.doctor()

    assert (done.code, done.odd()) == (2, {"config": "fails"})
    assert "no mapping table of site leon knows the study drug" in done.check("config")["said"]


def test_a_server_whose_metadata_fails(examine: Examine) -> None:
    done = examine(Clinic(spoil=[lambda ask: refusal(500) if ask.path == "metadata" else None]))

    assert (done.code, done.odd()) == (3, {"endpoint": "fails"})
    assert "1. Please see why `GET metadata` is not answered." in done.letter


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_first_question_that_fails_is_no_refusal_of_the_login(examine: Examine, status: int) -> None:
    done = examine(Clinic(spoil=[lambda ask: refusal(status) if ask.parameter("_id") == "dm-fhir-doctor" else None]))

    assert (done.code, done.odd()) == (0, {})
    assert str(status) in done.check("login")["said"]


def test_a_login_that_is_refused(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINIC_PASSWORD", "wrong-horse")

    def lets_nobody_in(ask: Ask) -> Reply | None:
        return None if ask.path == "metadata" else refusal(401)

    done = examine(
        Clinic(spoil=[lets_nobody_in]), auth='method = "basic"\nusername = "u"\npassword = "env:CLINIC_PASSWORD"'
    )

    assert (done.code, done.odd()) == (5, {"login": "fails"})
    assert done.site["checks"][-1]["what"] == "login", "it goes on where going on is pointless"
    assert "Please see whether our credential is valid." in done.letter
    assert done.text.splitlines()[-1].endswith("exit 5 (login refused)")


def test_a_server_that_wants_a_login_where_none_is_set_up(examine: Examine) -> None:
    done = examine(Clinic(spoil=[lambda ask: refusal(401)]))

    assert (done.code, done.odd()) == (5, {"login": "fails"})
    assert "Please tell us how clients log in" in done.letter


# --- tokens and scopes


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key."""
    return create_key_pair(tmp_path_factory.mktemp("keys"))[0]


@pytest.fixture
def smart(key: Path) -> Callable[..., Json]:
    """The settings of a login by SMART Backend Services."""

    def settings(scope: str = "system/*.read", *, push: bool = False) -> Json:
        auth = f'method = "smart-backend"\nclient_id = "dm-fhir"\nprivate_key = "file:{key}"\nscope = "{scope}"'
        return {"auth": auth, "more": "[site.push]\nenabled = true" if push else ""}

    return settings


def test_a_token_endpoint_that_refuses(examine: Examine, smart: Callable[..., Json]) -> None:
    refused = Reply(400, {"error": "invalid_client", "error_description": "unknown client"})
    done = examine(Clinic(spoil=[lambda ask: refused if ask.path == "token" else None]), **smart())

    assert (done.code, done.odd()) == (5, {"login": "fails"})
    assert "answered 400: unknown client" in done.letter
    assert "see whether the client dm-fhir is registered, with its public key," in done.letter


@pytest.mark.parametrize(
    ("asked", "granted", "push", "state", "lacking"),
    [
        ("system/*.read", "system/*.read", False, "works", ""),
        ("system/*.read", None, False, "works", ""),
        ("system/*.read", "openid fhirUser", False, "works", ""),
        ("system/*.rs", "system/*.rs", False, "works", ""),
        ("system/*.rs", "system/*.cruds", True, "works", ""),
        ("system/*.*", "system/*.*", True, "works", ""),
        ("system/*.rs", "system/*.r", False, "degrades", "system/Patient.rs"),
        ("system/*.read", "system/Patient.read system/Observation.read", False, "degrades", "system/Condition.read"),
        ("system/*.read", "system/*.read", True, "fails", "system/Observation.write"),
        ("system/*.rs", "system/*.rs system/Observation.u", True, "fails", "system/Observation.cu"),
    ],
)
def test_scopes(
    examine: Examine, smart: Callable[..., Json], asked: str, granted: str | None, push: bool, state: str, lacking: str
) -> None:
    done = examine(Clinic(granted=granted), **smart(asked, push=push))

    check = done.check("scopes")
    assert (check["state"], done.code) == (state, 3 if state == "fails" else 0)
    assert lacking in (check["ask"] or "")
    assert (lacking in done.letter) or not lacking


def test_a_scope_that_was_never_asked_for_is_the_configs_fault(examine: Examine, smart: Callable[..., Json]) -> None:
    done = examine(Clinic(granted="system/*.read"), **smart("system/*.read", push=True))
    other = examine(Clinic(granted="system/*.read"), **smart("system/*.read system/*.write", push=True))

    assert done.check("scopes")["mend"] == "ask for system/Observation.write too: scope of [site.auth]"
    assert other.check("scopes")["mend"] is None


def test_a_scope_for_some_records_only(examine: Examine, smart: Callable[..., Json]) -> None:
    narrow = f"system/*.rs system/Observation.rs?patient={FIRST}"
    wide = narrow.replace("system/*.rs", " ".join(f"system/{name}.rs" for name in LISTED if name != "Observation"))
    broad, part = (examine(Clinic(granted=granted), **smart("system/*.rs")) for granted in (narrow, wide))

    assert broad.check("scopes")["state"] == "works"
    assert part.odd() == {"scopes": "degrades"}
    assert "only in part: Observation" in part.letter
    assert FIRST not in part.letter + part.text


def test_types_that_are_optional_need_no_scope(examine: Examine, smart: Callable[..., Json]) -> None:
    granted = " ".join(f"system/{name}.read" for name in LISTED if name != "AdverseEvent")
    done = examine(Clinic(granted=granted), **smart(), pull='optional_types = ["AdverseEvent"]')

    assert done.check("scopes")["state"] == "works"


def test_a_group_needs_a_scope_of_its_own(examine: Examine, smart: Callable[..., Json]) -> None:
    settings = smart("system/*.read")
    settings["more"] = '[site.cohort]\nby = "group"\ngroup = "Group/dm"'
    granted = " ".join(f"system/{name}.read" for name in LISTED if name != "Group")

    assert "system/Group.read" in examine(Clinic(granted=granted), **settings).check("scopes")["ask"]


# --- the cohort


def test_nobody_in_the_cohort(examine: Examine) -> None:
    clinic = Clinic()
    clinic.held = [one for one in clinic.held if one["resourceType"] != "MedicationAdministration"]
    done = examine(clinic)

    assert (done.code, done.odd()) == (0, {"cohort": "degrades"})
    assert "nobody is found who was given the study drug" in done.check("cohort")["said"]
    assert "http://www.whocc.no/atc|L04AG11" in done.letter, "the hospital is not told what was asked for"
    assert done.check("Observation?patient")["said"] == "5 found", "it was not tried on anybody else"


def test_nobody_at_all(examine: Examine) -> None:
    done = examine(Clinic(held=[]))

    assert done.code == 0
    assert "not tried" in done.check("Observation?patient")["said"]
    assert done.check("Observation?patient")["state"] == "degrades"


def test_nobody_in_the_cohort_and_patients_are_not_given_out(examine: Examine, study: Study) -> None:
    clinic = Clinic(spoil=[lambda ask: refusal(403) if ask.path == "Patient" else None])
    clinic.held = [one for one in clinic.held if one["resourceType"] != "MedicationAdministration"]
    done = examine(clinic)
    assert (done.code, done.check("Condition?patient")["state"]) == (0, "degrades")

    db = open_store(study.store, "anifrolumab")
    begin_run(db, "pull")
    join(db, "leon", [f"Patient/{SECOND}"], 1)
    db.close()
    assert examine(clinic).check("Condition?patient")["said"] == "1 found", "the store's members are not tried"


def test_administrations_that_refer_to_a_medication(examine: Examine) -> None:
    clinic = Clinic()
    for one in clinic.held:
        if one["resourceType"] == "MedicationAdministration":
            del one["medicationCodeableConcept"]
            one["medicationReference"] = {"reference": "Medication/ani"}
    clinic.held.append(
        {"resourceType": "Medication", "id": "ani", "meta": {"lastUpdated": "2026-03-03T10:00:00Z"}, "code": DRUG}
    )
    done = examine(clinic)

    assert (done.code, done.odd()) == (0, {})
    assert done.check("cohort: MedicationAdministration by medication")["said"] == "6 found"
    assert done.check("Medication by reference")["state"] == "works"

    clinic.spoil = [lambda ask: refusal(404) if ask.path == "Medication/ani" else None]
    gone = examine(clinic)
    assert (gone.code, gone.odd()) == (0, {"Medication by reference": "degrades"})


def test_a_reference_that_cannot_be_read(examine: Examine) -> None:
    clinic = Clinic()
    for one in clinic.held:
        if one["resourceType"] == "MedicationAdministration":
            one["medicationReference"] = "Eulalia"
    done = examine(clinic)

    assert "Medication by reference" not in {check["what"] for check in done.site["checks"]}
    assert done.check("sample")["state"] == "degrades"
    assert "Eulalia" not in done.letter


def test_a_server_that_cannot_search_the_cohort(examine: Examine, study: Study) -> None:
    clinic = Clinic(
        spoil=[lambda ask: refusal(400) if ask.type == "MedicationAdministration" and ask.parameter("code") else None]
    )
    done = examine(clinic)
    check = done.check("cohort: MedicationAdministration by code")

    assert (done.code, check["state"], check["exit_code"]) == (2, "fails", 2)
    assert 'by = "condition"' in check["mend"]
    assert "offer the search `GET MedicationAdministration?code={21 values}&_count=1`" in check["ask"]
    assert done.check("Observation?patient")["state"] == "works", "the rest is not tried"

    db = open_store(study.store, "anifrolumab")
    begin_run(db, "pull")
    join(db, "leon", [f"Patient/{SECOND}"], 1)
    db.close()
    assert examine(clinic).code == 3, "with a cohort from before, a pull goes on"


def test_a_cohorts_search_that_is_refused(examine: Examine) -> None:
    refused = examine(
        Clinic(spoil=[lambda ask: refusal(403) if ask.parameter("code") and ask.type.endswith("n") else None])
    )

    assert refused.code == 3
    assert refused.odd()["cohort: MedicationAdministration by code"] == "fails"
    assert refused.check("cohort: Medication by code")["ask"].startswith("let this client read Medication")


def test_a_second_patient_who_cannot_be_looked_for(examine: Examine) -> None:
    done = examine(Clinic(spoil=[lambda ask: refusal(403) if ask.parameter("_count") == "50" else None]))

    assert "no second patient is known" in done.check("several patients in one search")["said"]


def test_a_server_that_ignores_the_cohorts_codes(examine: Examine) -> None:
    clinic = Clinic(ignored=("code",))
    clinic.held.insert(
        0, clinic.held[1] | {"id": "other", "medicationCodeableConcept": {"coding": [{"code": "other"}]}}
    )
    done = examine(clinic)

    assert done.check("cohort: MedicationAdministration by code")["state"] == "degrades"
    assert "the server seems to ignore `code`" in done.text


def test_a_cohort_by_condition(examine: Examine) -> None:
    by_condition = '[site.cohort]\nby = "condition"'
    done, nobody = examine(Clinic(), more=by_condition), examine(Clinic(held=[]), more=by_condition)

    assert (done.code, done.odd()) == (0, {})
    assert done.check("cohort: Condition by code")["said"] == "2 found"
    assert "diagnosed with the disease" in nobody.check("cohort")["said"]


def test_a_cohort_by_group(examine: Examine) -> None:
    members = [{"entity": {"reference": f"Patient/{name}"}} for name in (FIRST, SECOND)]
    group = {"resourceType": "Group", "id": "dm", "type": "person", "actual": True, "member": members}
    by_group = '[site.cohort]\nby = "group"\ngroup = "Group/dm"'
    clinic = Clinic()
    clinic.held.append(group)
    empty = Clinic(held=[group | {"member": []}])
    full, none, missing = (examine(one, more=by_group) for one in (clinic, empty, Clinic()))

    assert (full.code, full.odd()) == (0, {})
    assert full.check("cohort: Group/dm")["said"] == "2 patients"
    assert full.check("several patients in one search")["said"].startswith("tried with two")
    assert (none.code, none.check("cohort: Group/dm")["ask"]) == (3, "put the patients of the study into Group/dm")
    assert (missing.code, missing.check("cohort: Group/dm")["state"]) == (3, "fails")


def test_a_cohort_by_a_list(examine: Examine, study: Study) -> None:
    listed = study.config.with_name("list.txt")
    by_list = '[site.cohort]\nby = "patients"\npatients = "list.txt"'
    listed.write_text(f"# the study's\nPatient/{FIRST}\nurn:mrn|MRN-77193502\n", encoding="utf-8")
    done = examine(Clinic(), more=by_list)
    assert (done.code, done.odd()) == (0, {})
    assert done.check("cohort: list of patients")["said"] == "2 lines: 1 ids, 1 identifiers"
    assert done.check("several patients in one search")["said"].startswith("tried with two")

    listed.write_text("urn:mrn|MRN-1\nPatient/a/b\n", encoding="utf-8")
    bad = examine(Clinic(), more=by_list)
    assert bad.check("cohort: list of patients")["said"].endswith("neither id nor identifier: line 2")
    assert "the patient of line 1, the first with an identifier, is not found" in bad.text
    assert "MRN-1" not in bad.text

    refused = examine(Clinic(spoil=[lambda ask: refusal(403) if ask.parameter("identifier") else None]), more=by_list)
    assert (refused.code, refused.check("cohort: Patient by identifier")["state"]) == (3, "fails")

    listed.unlink()
    assert examine(Clinic(), more=by_list).check("cohort: list of patients")["exit_code"] == 2


# --- each query of the plan


@pytest.mark.parametrize(
    ("status", "wish"),
    [
        (403, "let this client read Condition, for example by the scope system/Condition.read"),
        (401, "let this client read Condition, for example by the scope system/Condition.read"),
        (404, "offer the search `GET Condition?patient={id}&code={100 values}&_count=1`"),
        (500, "see in the server's log what went wrong with `GET Condition?patient={id}&code={100 values}&_count=1`"),
    ],
)
def test_a_query_that_fails(examine: Examine, monkeypatch: pytest.MonkeyPatch, status: int, wish: str) -> None:
    monkeypatch.setenv("CLINIC_TOKEN", "token-c0ffee")
    clinic = Clinic(spoil=[refusing("Condition", status)])
    done = examine(clinic, auth='method = "bearer"\ntoken = "env:CLINIC_TOKEN"')
    check = done.check("Condition?patient")

    assert (done.code, done.odd()) == (3, {"Condition?patient": "fails"})
    assert wish in check["ask"]
    assert "it ends with exit code 3" in check["consequence"]
    assert done.text.splitlines()[-1].endswith("1 fail; exit 3 (a pull or a push would leave open what fails above)")
    assert f"| {status}" in done.letter


def test_an_optional_type_that_is_not_there(examine: Examine) -> None:
    done = examine(Clinic(spoil=[refusing("AdverseEvent", 404)]), pull='optional_types = ["AdverseEvent"]')

    assert (done.code, done.odd()) == (0, {"AdverseEvent?subject": "degrades"})


def test_a_search_that_is_not_listed(examine: Examine) -> None:
    listed = {**LISTED, "AdverseEvent": ("_lastUpdated",), "Condition": ("code", "_lastUpdated")}
    clinic = Clinic(listed=listed)
    clinic.held = [one for one in clinic.held if one["resourceType"] != "AdverseEvent"]
    done = examine(clinic)

    assert done.odd() == {"AdverseEvent?subject": "fails", "Condition?patient": "degrades"}
    assert done.code == 3
    assert "an empty answer to another proves nothing" in done.check("AdverseEvent?subject")["said"]
    assert 'whole_types = ["AdverseEvent"]' in done.check("AdverseEvent?subject")["mend"]
    assert "GET Patient/{id}/Condition" in done.letter
    assert "offer the search parameter `patient` of Condition" in done.letter


def test_a_type_that_is_asked_for_as_a_whole(examine: Examine) -> None:
    listed = {**LISTED, "AdverseEvent": ()}
    whole = 'whole_types = ["AdverseEvent"]'
    done = examine(Clinic(listed=listed), pull=whole)
    refused = examine(Clinic(listed=listed, spoil=[refusing("AdverseEvent")]), pull=whole)

    assert (done.code, done.odd()) == (0, {})
    assert done.check("AdverseEvent, whole")["said"].startswith("2 found")
    assert (refused.code, refused.odd()) == (3, {"AdverseEvent, whole": "fails"})


def test_a_server_that_ignores_who_is_asked_for(examine: Examine) -> None:
    clinic = Clinic(ignored=("subject",))
    clinic.held = [one for one in clinic.held if one["id"] != f"{FIRST}-zoster"]
    done = examine(clinic)

    assert (done.code, done.odd()) == (3, {"AdverseEvent?subject": "fails"})
    assert "brings other patients' records" in done.letter


def test_records_of_a_merged_patient_are_the_patients_own(examine: Examine) -> None:
    clinic = Clinic(ignored=("subject",))
    clinic.held = [one for one in clinic.held if one["id"] != f"{FIRST}-zoster"]
    clinic.held[0]["link"] = [{"type": "replaces", "other": {"reference": f"Patient/{SECOND}"}}]

    assert examine(clinic).check("AdverseEvent?subject")["state"] == "works"


def test_a_server_that_ignores_codes(examine: Examine) -> None:
    clinic = Clinic(ignored=("combo-code",))
    other = {"coding": [{"system": "http://loinc.org", "code": "1-1"}]}
    clinic.held.insert(
        0, next(one for one in clinic.held if one["resourceType"] == "Observation") | {"id": "x", "code": other}
    )
    done = examine(clinic)

    assert (done.code, done.odd()) == (0, {"Observation?patient": "degrades"})
    assert "the server ignores `combo-code`" in done.check("Observation?patient")["said"]


def test_a_server_that_brings_other_types(examine: Examine) -> None:
    def mixed(ask: Ask) -> Reply | None:
        if ask.type != "MedicationRequest":
            return None
        other = {"resourceType": "Zwetschkenbaum", "id": "1", "subject": {"reference": f"Patient/{FIRST}"}}
        return Reply(200, {"resourceType": "Bundle", "total": 1, "entry": [{"resource": other}]})

    done = examine(Clinic(spoil=[mixed]))

    assert done.odd() == {"MedicationRequest?patient": "degrades", "sample": "degrades"}
    assert "Zwetschkenbaum" not in done.letter


def test_a_second_page_of_the_sample_that_fails(examine: Examine) -> None:
    done = examine(Clinic(spoil=[lambda ask: refusal(403) if ask.parameter("_count") == "3" else None]))

    assert (done.code, done.odd()) == (0, {})
    assert done.site["sample"]["Observation"]["records"] == 1


def test_only_a_whole_type_works(examine: Examine) -> None:
    def refuses(ask: Ask) -> Reply | None:
        return refusal(403) if ask.parameter("patient") else None

    done = examine(Clinic(spoil=[refuses]), pull='whole_types = ["AdverseEvent"]')

    assert {state for what, state in done.odd().items() if "?" in what} == {"fails"}
    assert done.check("batch")["said"] == "a search in it is answered"


def test_a_server_that_wants_observations_by_category(examine: Examine) -> None:
    def wants_category(ask: Ask) -> Reply | None:
        if ask.type != "Observation" or ask.parameter("category") in ("laboratory", "survey"):
            return None
        return refusal(400, "category is required" if not ask.parameter("category") else "no such value")

    done = examine(Clinic(spoil=[wants_category]))

    assert done.code == 0
    assert done.check("Observation?patient")["state"] == "degrades"
    assert done.check("Observation?patient&category=laboratory")["state"] == "works"
    assert done.check("Observation?patient&category=exam")["state"] == "degrades"
    assert done.site["found_now"]["observations_by"] == "categories"
    assert done.site["found_now"]["category exam"] == "no"
    assert {"name": "observations_by", "value": "categories", "by": "found out"} in done.site["settings"]


def test_entries_that_cannot_be_used_and_remarks(examine: Examine) -> None:
    def odd(ask: Ask) -> Reply | None:
        if ask.type == "Condition":
            nameless = {"resourceType": "Condition", "subject": {"reference": f"Patient/{FIRST}"}}
            return Reply(200, {"resourceType": "Bundle", "total": 1, "entry": [{"resource": nameless}]})
        if ask.type == "MedicationRequest":
            issue = {
                "severity": "warning",
                "code": "4119",
                "diagnostics": "may not contain the entire record of Eulalia",
            }
            outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
            return Reply(200, {"resourceType": "Bundle", "total": 0, "entry": [{"resource": outcome}]})
        return None

    done = examine(Clinic(spoil=[odd]))

    assert (done.code, done.odd()) == (0, {"Condition?patient": "degrades", "MedicationRequest?patient": "degrades"})
    assert "an entry cannot be used (no-id)" in done.text
    assert "let this client see the entire record of MedicationRequest" in done.letter
    assert "Eulalia" not in done.letter


def test_links_to_another_host(examine: Examine) -> None:
    link = [{"relation": "next", "url": "http://inner.example/other?page=2"}]
    bundle = {"resourceType": "Bundle", "total": 9, "link": link}
    done = examine(Clinic(spoil=[lambda ask: Reply(200, bundle) if ask.type == "MedicationStatement" else None]))

    assert (done.code, done.odd()) == (3, {"MedicationStatement?patient": "fails"})
    assert "let the links in Bundle.link begin with the endpoint's own address" in done.letter
    assert "rewrite" in done.check("MedicationStatement?patient")["mend"]


def test_a_patient_who_is_gone_and_one_who_cannot_be_read(examine: Examine) -> None:
    path = f"Patient/{FIRST}"
    gone, refused, empty = (
        examine(Clinic(spoil=[lambda ask, reply=reply: reply if ask.path == path else None]))
        for reply in (refusal(410), refusal(403), Reply(200, {"resourceType": "Patient"}))
    )

    assert (gone.code, gone.check("Patient")["state"]) == (0, "degrades")
    assert (refused.code, refused.check("Patient")["state"]) == (3, "fails")
    assert (empty.code, empty.check("Patient")["state"]) == (3, "fails")


# --- how it may be asked


@pytest.mark.parametrize(("said", "told"), [("", 500), ("patients_per_query = 7", 7)])
def test_the_letter_says_how_many_patients_a_search_may_name(examine: Examine, said: str, told: int) -> None:
    assert f"naming up to {told} patients" in examine(Clinic(), pull=said).letter


def test_a_list_of_patients_that_is_not_honoured(examine: Examine) -> None:
    for has_totals in (True, False):
        done = examine(Clinic(first_of_lists_only=True, has_totals=has_totals))

        assert done.check("several patients in one search")["state"] == "degrades"
        assert done.site["found_now"]["lists MedicationAdministration"] == "no"
        assert (
            "let a search name several patients: `GET MedicationAdministration?patient={ids}&_count=1`" in done.letter
        )


def test_a_list_of_patients_that_is_refused(examine: Examine) -> None:
    done = examine(
        Clinic(spoil=[lambda ask: refusal(400) if "," in ask.parameter("patient") else None], interactions=())
    )

    assert done.odd() == {"several patients in one search": "degrades", "batch": "degrades"}
    assert done.check("batch")["said"] == "the server does not list it"


def test_without_totals(examine: Examine) -> None:
    done = examine(Clinic(has_totals=False))

    assert (done.code, done.odd()) == (0, {"totals": "degrades"})
    assert done.check("several patients in one search")["state"] == "works"
    assert "let searches answer with Bundle.total" in done.letter


def test_only_one_patient(examine: Examine) -> None:
    clinic = Clinic()
    clinic.held = [one for one in clinic.held if SECOND not in one["id"]]

    assert "no second patient is known" in examine(clinic).check("several patients in one search")["said"]


def test_two_patients_who_have_nothing_in_common(examine: Examine) -> None:
    group = {
        "resourceType": "Group",
        "id": "dm",
        "member": [{"entity": {"reference": f"Patient/{n}"}} for n in (FIRST, SECOND)],
    }
    clinic = Clinic()
    clinic.held = [one for one in clinic.held if SECOND not in one["id"] or one["resourceType"] == "Patient"]
    clinic.held.append(group)
    done = examine(clinic, more='[site.cohort]\nby = "group"\ngroup = "Group/dm"')

    assert "no type of record in common" in done.check("several patients in one search")["said"]


def test_what_the_config_rules_out_is_not_tried(examine: Examine) -> None:
    clinic = Clinic()
    ruled_out = "post_search = false\nbatch = false\nstrict = false\ntotals_are_estimates = true\nlast_updated = false"
    done = examine(clinic, pull=f"{ruled_out}\npatients_per_query = 1\nrequests_per_second = 500")

    assert "POST" not in {ask.method for ask in clinic.asked}
    assert all("Prefer" not in ask.headers for ask in clinic.asked)
    assert done.odd() == {
        "several patients in one search": "degrades",
        "only what changed": "degrades",
        "totals": "degrades",
    }
    assert done.text.count("as the config says") == 6
    assert "at most 500 requests a second" in done.letter


def test_batch_and_post_that_are_refused(examine: Examine) -> None:
    done = examine(Clinic(spoil=[lambda ask: refusal(405) if ask.method == "POST" else None], first_of_lists_only=True))

    assert done.odd() == {"several patients in one search": "degrades", "batch": "degrades", "POST _search": "degrades"}
    assert "offer `POST MedicationAdministration/_search`" in done.letter


def test_batch_is_not_needed_where_lists_are_taken(examine: Examine) -> None:
    refused = examine(Clinic(spoil=[lambda ask: refusal(405) if ask.method == "POST" and not ask.path else None]))

    unlisted = examine(Clinic(interactions=()))

    for done in (refused, unlisted):
        assert done.odd() == {}
        assert "only needed where a search cannot name several patients" in done.check("batch")["said"]


def test_last_updated_that_is_not_listed_or_not_told(examine: Examine) -> None:
    listed = {**LISTED, "Condition": ("patient", "code")}
    clinic = Clinic(listed=listed)
    for one in clinic.held:
        if one["resourceType"] == "MedicationStatement":
            del one["meta"]
    done = examine(clinic)

    assert (done.code, done.odd()) == (0, {"only what changed": "degrades"})
    assert (
        done.check("only what changed")["consequence"]
        == "every pull asks for all of Condition, MedicationStatement again"
    )


def test_a_server_that_is_not_strict(examine: Examine) -> None:
    lenient = examine(Clinic(is_strict=False))
    assert (lenient.code, lenient.odd()) == (0, {"Prefer: handling=strict": "degrades"})
    assert "passed over in silence" in lenient.text

    breaks = Clinic(spoil=[lambda ask: refusal(500) if ask.parameter("dm-fhir-unknown") else None])
    assert examine(breaks).odd() == {"Prefer: handling=strict": "degrades"}

    refuses = Clinic(spoil=[lambda ask: refusal(400) if "Prefer" in ask.headers and ask.type == "Condition" else None])
    refused = examine(refuses)
    assert (refused.code, refused.odd()) == (0, {"Prefer: handling=strict": "degrades"})
    assert refused.site["found_now"]["strict Condition"] == "no"


def test_history_where_the_config_wants_it(examine: Examine) -> None:
    wanted = "history = true"
    offered, not_offered = examine(Clinic(history=True), pull=wanted), examine(Clinic(), pull=wanted)
    refused = examine(
        Clinic(history=True, spoil=[lambda ask: refusal(403) if ask.path == "Patient/_history" else None]), pull=wanted
    )

    assert (offered.odd(), offered.check("Patient/_history")["state"]) == ({}, "works")
    assert (not_offered.code, not_offered.odd()) == (0, {"history": "degrades"})
    assert (refused.code, refused.odd()) == (3, {"Patient/_history": "fails"})
    assert refused.check("Patient/_history")["mend"] == "history = false in [site.pull]"


def test_conditional_update_where_the_config_wants_to_push(examine: Examine) -> None:
    done = examine(Clinic(conditional_update=False), more="[site.push]\nenabled = true")

    assert (done.code, done.odd()) == (0, {"conditional update": "degrades"})
    assert "PUT Observation?identifier=system|value" in done.check("conditional update")["ask"]


def test_a_vendors_row_and_the_sites_own_word(examine: Examine) -> None:
    done = examine(Clinic(software="Epic"), pull="page_size = 50")
    settings = {one["name"]: (one["value"], one["by"]) for one in done.site["settings"]}

    row = vendors()["epic"]
    assert (done.code, done.site["vendor"]) == (0, {"name": "epic", "remarks": list(row.remarks)})
    assert settings["page_size"] == (50, "site")
    assert settings["patients_per_query"] == (1, "vendor")
    assert settings["strict"] == (True, "default")
    assert "asked by the row epic of the vendor table" in done.check("endpoint")["said"]
    assert f"  epic servers: {row.remarks[0]}\n" in done.text
    assert "as the vendor's row says" in done.check("only what changed")["said"]
    assert done.check("Observation?patient&category=laboratory")["state"] == "works"
    assert "  settings: page_size 50 (site)" in done.text


# --- the sample


def test_a_sample_that_is_not_valid(examine: Examine) -> None:
    clinic = Clinic()
    for one in clinic.held:
        if one["resourceType"] == "Observation":
            one["effectiveDateTime"] = "Zwetschkenbaum"
            one["valueQuantity"]["value"] = "burning shawl"
    done = examine(clinic)

    faults = {
        "effectiveDateTime is not in the form that FHIR asks for": 3,
        "valueQuantity.value cannot be read by dm-fhir": 3,
        "valueQuantity.value is not in the form that FHIR asks for": 3,
    }
    assert (done.code, done.odd()) == (0, {"sample": "degrades"})
    assert done.site["sample"]["Observation"] == {"records": 3, "faults": faults}
    assert "Observation: effectiveDateTime is not in the form that FHIR asks for (3 of 3)" in done.letter


# --- the letter


def everything_wrong(ask: Ask) -> Reply | None:
    """Refusals of every kind, each with a patient in its words."""
    statuses = {"Condition": 403, "MedicationRequest": 404, "MedicationStatement": 500, "AdverseEvent": 400}
    if ask.method == "POST" and ask.path != "token":
        return refusal(501)
    return refusal(statuses[ask.type]) if ask.type in statuses else None


def spoiled() -> Clinic:
    """A clinic of which nothing works as it should."""
    clinic = Clinic(
        spoil=[everything_wrong], skew=timedelta(minutes=5), has_totals=False, first_of_lists_only=True, is_strict=False,
        ignored=("combo-code", "code"), conditional_update=False,
    )  # fmt: skip
    for one in clinic.held:
        one["Zwetschkenbaum"] = "Eulalia"
        one["effectiveDateTime"] = "1961-11-23 burning shawl"
        one.pop("meta")
    return clinic


@pytest.mark.parametrize(
    "make", [Clinic, spoiled, lambda: Clinic(spoil=[lambda ask: refusal(401) if ask.type in LISTED else None])]
)
def test_the_letter_tells_of_nobody(examine: Examine, make: Callable[[], Clinic]) -> None:
    done = examine(make(), more="[site.push]\nenabled = true")

    assert [word for word in SENTINELS if word in done.letter] == []
    assert "Patient/zw" not in done.letter
    assert len(done.letter.splitlines()) > 20


def test_what_is_told_on_the_screen_names_references_at_most(examine: Examine) -> None:
    clinic = spoiled()
    clinic.spoil = [lambda ask: refusal(403, "not for you") if ask.type in ("Condition", "MedicationRequest") else None]
    done = examine(clinic)

    private = [word for word in SENTINELS if word != "zwetschke" and word in done.text + json.dumps(done.site)]
    assert private == []


def test_the_letter_says_who_asks_and_what_for(examine: Examine, smart: Callable[..., Json]) -> None:
    clinic = spoiled()
    clinic.granted = "system/*.read"
    done = examine(clinic, **smart("system/*.read", push=True), site='headers = { "Epic-Client-ID" = "header-secret" }')

    about, asks = done.letter.split("## What we ask for")
    for line in (
        "- Study: One clinic, at the site leon", "- Login: SMART Backend Services (private_key_jwt)",
        "- Client: `dm-fhir`, asking for the scope `system/*.read`", "- Key: RSA 3072 bits, RS384, `kid` ",
        "- Headers sent with every request: `Epic-Client-ID`", "- Whose records: whoever was given the study drug (anifrolumab)",
        "- Server: Clinic 7",
    ):  # fmt: skip
        assert f"\n{line}" in about
    assert "header-secret" not in done.letter
    numbered = [line for line in asks.splitlines() if re.match(r"\d+\. ", line)]
    assert [line.partition(".")[0] for line in numbered] == [str(n + 1) for n in range(len(numbered))]
    assert len(set(numbered)) == len(numbered) > 10
    assert numbered[0] == "1. Please grant this client system/Observation.write.", "what fails comes first"
    assert (
        "| Condition?patient | `GET Condition?patient={id}&code={100 values}&_count=1` | 403, refused | missing |"
        in asks
    )
    assert not re.search(r"\|\s*\n(?!\|)[^\n]+\|", asks), "the table is broken"


def test_a_letter_where_the_key_is_missing(examine: Examine, smart: Callable[..., Json], key: Path) -> None:
    settings = smart()
    settings["auth"] = settings["auth"].replace(str(key), "missing.pem")
    done = examine(Clinic(), **settings)

    assert (done.code, done.odd()) == (2, {"config": "fails"})
    assert "- Key" not in done.letter


def test_a_letter_is_for_one_hospital(study: Study, tmp_path: Path) -> None:
    study.write(None, more='[[site]]\nname = "bern"')
    code, _, err = study.type("doctor", "--output", str(tmp_path / "letter.md"))
    one, out, _ = study.type("doctor", "--site", "bern", "--output", str(tmp_path / "bern.md"))

    assert (code, err) == (2, "dm-fhir: a letter is for one hospital\n  name it with --site: leon, bern\n")
    assert one == 0
    assert f"a letter to the hospital, without patient data: {tmp_path / 'bern.md'}" in out
    assert "leon" not in (tmp_path / "bern.md").read_text(encoding="utf-8")


def test_a_letter_is_private_and_can_be_written_again(examine: Examine, study: Study) -> None:
    examine(Clinic())
    examine(Clinic())
    letter = study.config.with_name("letter.md")

    assert oct(letter.stat().st_mode & 0o777) == "0o600"
    assert letter.read_text(encoding="utf-8").count("# Access of the study") == 1
    code, _, err = study.type("doctor", "--output", str(letter / "deeper.md"))
    assert (code, "cannot be written" in err) == (2, True)


def test_the_json_object(examine: Examine, study: Study) -> None:
    examine(Clinic())
    _, out, _ = study.type("doctor", "--json")
    told = json.loads(out)

    assert (told["command"], told["state"], told["letter"]) == ("doctor", "complete", None)
    assert set(told["sites"][0]) == {"site", "checks", "server", "vendor", "settings", "facts", "found_now", "sample"}
    assert set(told["sites"][0]["checks"][0]) == {
        "what", "state", "said", "consequence", "ask", "mend", "request", "answer", "exit_code",
    }  # fmt: skip
