"""dm-fhir.toml: what a good one becomes, and that a bad one is told all its faults at once."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from dm_fhir.config import Auth, Config, Pull, Secret, load_config
from dm_fhir.errors import ConfigError
from dm_fhir.model.definitions import MONTHS, Definitions, Visit

Write = Callable[[str], Path]

GOOD = """
[study]
title = "Anifrolumab in refractory dermatomyositis"
drug = "anifrolumab"
timezone = "Europe/Madrid"
pseudonym_key = "env:STUDY_KEY"

[store]
path = "data/study.sqlite"

[[site]]
name = "leon"
endpoint = "https://fhir.example.org/r4/"
tables = ["tables/leon.toml", "/etc/dm/common.toml"]
headers = { "Epic-Client-ID" = "abc" }
[site.auth]
method = "smart-backend"
client_id = "me"
private_key = "file:keys/leon.pem"
key_id = "k-1"
[site.pull]
page_size = 50
whole_types = ["AdverseEvent"]
[site.push]
enabled = true

[[site]]
name = "las-palmas"
timezone = "Atlantic/Canary"
"""
STUDY = '[study]\ntitle = "T"\ndrug = "anifrolumab"\n'


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a config into a folder of its own, away from the working directory."""
    monkeypatch.delenv("DM_FHIR_STORE", raising=False)
    (tmp_path / "study").mkdir()

    def write(text: str) -> Path:
        path = tmp_path / "study" / "dm-fhir.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def faults(path: Path) -> tuple[str, ...]:
    """What is wrong with the config."""
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.exit_code == 2
    return caught.value.faults


def site(lines: str) -> str:
    """A study with one site, called leon."""
    return f'{STUDY}[[site]]\nname = "leon"\n{lines}\n'


def test_a_good_config(write: Write) -> None:
    path = write(GOOD)
    config, folder = load_config(path), path.parent.resolve()
    assert (config.title, config.drug) == ("Anifrolumab in refractory dermatomyositis", "anifrolumab")
    assert (config.store_path, config.pseudonym_key) == (folder / "data/study.sqlite", Secret("env:STUDY_KEY", folder))
    leon, las_palmas = config.sites
    assert (leon.endpoint, leon.timezone, leon.push.enabled) == ("https://fhir.example.org/r4", "Europe/Madrid", True)
    assert leon.tables == (folder / "tables/leon.toml", Path("/etc/dm/common.toml"))
    assert leon.headers == {"Epic-Client-ID": "abc"}
    assert leon.auth == Auth(
        "smart-backend", client_id="me", private_key=Secret("file:keys/leon.pem", folder), key_id="k-1"
    )
    assert leon.pull == Pull(page_size=50, whole_types=("AdverseEvent",))
    assert (las_palmas.endpoint, las_palmas.auth, las_palmas.pull) == (None, Auth(), Pull())
    assert (las_palmas.push.enabled, str(las_palmas.zone)) == (False, "Atlantic/Canary")


def test_a_site_is_found_by_its_name(write: Write) -> None:
    config: Config = load_config(write(GOOD))
    assert config.site("las-palmas").timezone == "Atlantic/Canary"
    with pytest.raises(ConfigError, match="no site is called 'madrid'") as caught:
        config.site("madrid")
    assert caught.value.hint == "known: leon, las-palmas"


def test_what_is_left_out_has_a_default(write: Write) -> None:
    path = write(site(""))
    config = load_config(path)
    assert (config.store_path, config.pseudonym_key) == (path.parent.resolve() / "dm-fhir.sqlite", None)
    assert config.sites[0].timezone == "UTC"


@pytest.mark.parametrize(
    ("given", "expected"),
    [("/srv/x.sqlite", "/srv/x.sqlite"), ("x.sqlite", "{}/x.sqlite"), ("", "{}/data/study.sqlite")],
)
def test_the_environment_may_name_the_store(
    write: Write, monkeypatch: pytest.MonkeyPatch, given: str, expected: str
) -> None:
    path = write(GOOD)
    monkeypatch.setenv("DM_FHIR_STORE", given)
    assert str(load_config(path).store_path) == expected.format(path.parent.resolve())


def test_faults_of_every_kind_are_listed_together(write: Write) -> None:
    text = """
[study]
titel = "x"
drug = "Anifrolumab"
timezone = "Europe/Leon"
[[site]]
name = "leon"
endpoint = "http://fhir.example.org/r4"
[site.auth]
method = "basic"
password = "5ecret"
[site.pull]
page_size = 0
tries = "five"
[[site]]
name = "leon"
timezone = 2025-01-01
[site.auth]
method = "smart-backend"
private_key = "file:k.pem"
"""
    assert faults(write(text)) == (
        "site[0].auth.password: must be env:NAME or file:PATH, never the secret itself",
        "site[0].pull.page_size: must be at least 1",
        "site[0].pull.tries: must be integer, is text",
        "site[1].timezone: must be string, is a date",
        "study: unknown key 'titel', did you mean 'title'?",
        "study: 'title' is missing",
        "study.drug: must be the variable of a medication row, in lower case, such as anifrolumab",
        "study.timezone: 'Europe/Leon' is no time zone; expected a name such as Europe/Madrid",
        "site: the name 'leon' is used 2 times",
        "site[0].auth: 'username' is missing, basic needs it",
        "site[0].endpoint: plain http sends patient data in the clear; use https, or set pull.allow_plain_http = true",
        "site[1].auth: 'client_id' is missing, smart-backend needs it",
    )


def test_the_error_counts_and_repeats_no_value(write: Write) -> None:
    path = write(site('[site.auth]\nmethod = "bearer"\ntoken = "eyJ5ecret"\nusername = 7'))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path} has 2 faults:\n  - site[0].auth.token: must be env:NAME")
    assert "5ecret" not in repr(caught.value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "top level: 'study' is missing; 'site' is missing"),
        (STUDY, "top level: 'site' is missing"),
        ("[study]\n[[site]]\nname='a'", "study: 'title' is missing; 'drug' is missing"),
        ("site = []\n" + STUDY, "site: needs at least 1 entry"),
        (STUDY + "[site]\nname='a'", "site: must be array, is a table"),
        ("study = 'x'\n[[site]]\nname='a'", "study: must be object, is text"),
        (site("endpont = 'https://h'"), "site[0]: unknown key 'endpont', did you mean 'endpoint'?"),
        (site("[site.push]\nzzz = 1"), "site[0].push: unknown key 'zzz'; known: enabled, imported, unattended, outcomes, way, bundle_size"),
        (site("[site.auth]\nmethod = 'oauth'"), "site[0].auth.method: must be one of none, basic, bearer, client-secret, smart-backend"),
        (site("[site.cohort]\nby = 'anybody'"), "site[0].cohort.by: must be one of medication, condition, group, patients, everybody"),
        (site("[site.cohort]\nby = 'group'"), "site[0].cohort: 'group' is missing, by = \"group\" needs it"),
        (site("[site.pull]\nread_timeout_seconds = 0"), "site[0].pull.read_timeout_seconds: must be more than 0"),
        (site("[site.pull]\nconnect_timeout_seconds = inf"), "site[0].pull.connect_timeout_seconds: must be at most 86400"),
        (site("endpoint = 'https://u:p@h/r4'"), "site[0].endpoint: must be an http(s) address without query, fragment or user"),
        (site("endpoint = 'fhir.example.org/r4'"), "site[0].endpoint: must be an http(s) address without query, fragment or user"),
        (site("endpoint = 'https:///r4'"), "site[0].endpoint: has no usable host and port"),
        (site("endpoint = 'https://h:99999/r4'"), "site[0].endpoint: has no usable host and port"),
        (site("endpoint = 'https://[::1/r4'"), "site[0].endpoint: has no usable host and port"),
        (site("timezone = '../UTC'"), "site[0].timezone: '../UTC' is no time zone; expected a name such as Europe/Madrid"),
        (site("timezone = ''"), "site[0].timezone: must not be empty"),
        (STUDY.replace('"T"', '""') + "[[site]]\nname='a'", "study.title: must not be empty"),
        (site("").replace("leon", "León"), "site[0].name: must be lower-case letters, digits and hyphens"),
        (site("") + "\n[report]\nsuppress_below = -1", "report.suppress_below: must be at least 0"),
        (site("") + "\n[report]\nsuppress_below = 2", "report.suppress_below: must be 0 (all counts are shown) or at least 3: '<2' would tell that it is 1"),
        (site("[site.auth]\nmethod='bearer'\ntoken='vault:x'"), "site[0].auth.token: must be env:NAME or file:PATH, never the secret itself"),
        (site("[site.auth]\nmethod='client-secret'\nclient_id='a'\nclient_secret='env:A'\ntoken_url='http://h/t'"),
         "site[0].auth.token_url: plain http sends patient data in the clear; use https, or set pull.allow_plain_http = true"),
    ],
)  # fmt: skip
def test_one_fault(write: Write, text: str, fault: str) -> None:
    assert faults(write(text)) == (fault,)


@pytest.mark.parametrize(
    ("method", "missing"),
    [
        ("basic", ["username", "password"]),
        ("bearer", ["token"]),
        ("client-secret", ["client_id", "client_secret"]),
        ("smart-backend", ["client_id", "private_key"]),
    ],
)
def test_each_login_names_the_keys_that_it_lacks(write: Write, method: str, missing: list[str]) -> None:
    found = faults(write(site(f"[site.auth]\nmethod = '{method}'")))
    assert found == tuple(f"site[0].auth: '{key}' is missing, {method} needs it" for key in missing)


@pytest.mark.parametrize(
    "lines",
    [
        "endpoint = 'http://127.0.0.1:8080/r4'",
        "endpoint = 'http://localhost/r4'",
        "endpoint = 'http://[::1]:80/r4'",
        "endpoint = 'http://fhir.internal/r4'\n[site.pull]\nallow_plain_http = true",
    ],
)
def test_plain_http_is_for_loopback_or_on_request(write: Write, lines: str) -> None:
    assert str(load_config(write(site(lines))).sites[0].endpoint).startswith("http://")


def test_sites_are_named_by_number_in_order(write: Write) -> None:
    text = STUDY + "".join(f"[[site]]\nname = 's{n}'\nx = 1\n" for n in range(12))
    assert [fault.partition(":")[0] for fault in faults(write(text))] == [f"site[{n}]" for n in range(12)]


def test_no_config_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no config at") as caught:
        load_config(tmp_path / "dm-fhir.toml")
    assert caught.value.hint == "write one with: dm-fhir init"


@pytest.mark.parametrize(("content", "text"), [(b"[study", "is not TOML"), (b'title = "\xff"', "cannot be read")])
def test_a_file_that_is_no_toml(write: Write, content: bytes, text: str) -> None:
    path = write("")
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=text):
        load_config(path)


def test_a_secret_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LEON_TOKEN", " abc\n")
    assert Secret("env:LEON_TOKEN", tmp_path).read() == "abc"


def test_a_secret_is_read_from_a_file_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "a:b").write_text("line one\nline two\n")
    assert Secret("file:keys/a:b", tmp_path).read() == "line one\nline two"
    assert Secret(f"file:{tmp_path}/keys/a:b", Path("/")).read() == "line one\nline two"


@pytest.mark.parametrize("value", [None, "", " \n"])
@pytest.mark.parametrize("kind", ["env", "file"])
def test_a_missing_or_empty_secret_says_where_to_put_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str | None, kind: str
) -> None:
    monkeypatch.delenv("LEON", raising=False)
    if value is not None:
        monkeypatch.setenv("LEON", value)
        (tmp_path / "LEON").write_text(value)
    with pytest.raises(ConfigError, match=f"the secret {kind}:LEON is missing or empty") as caught:
        Secret(f"{kind}:LEON", tmp_path).read()
    assert (
        caught.value.hint
        == {"env": "set the environment variable LEON", "file": f"put it into {tmp_path / 'LEON'}, mode 0600"}[kind]
    )


def test_a_secret_that_is_no_text_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"5ecret\xff")
    with pytest.raises(ConfigError, match="is not text in UTF-8") as caught:
        Secret("file:key", tmp_path).read()
    assert caught.value.__suppress_context__


def test_a_secret_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(ConfigError, match="the secret file:key cannot be read: Is a directory"):
        Secret("file:key", tmp_path).read()


def test_printing_a_config_shows_the_place_of_a_secret_only(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_KEY", "5ecret")
    config = load_config(write(GOOD))
    assert config.pseudonym_key is not None
    assert config.pseudonym_key.read() == "5ecret"
    assert "Secret(env:STUDY_KEY)" in repr(config)
    assert "5ecret" not in f"{config!r}{config!s}"


def study_with(write: Write, lines: str) -> Config:
    head, site = GOOD.split("\n[store]", 1)
    return load_config(write(f"{head}\n{lines}\n[store]{site}"))


def test_the_definitions_of_a_study_that_says_none_are_the_defaults(write: Write) -> None:
    assert load_config(write(GOOD)).definitions == Definitions()


def test_small_counts_are_shown_unless_the_report_says_otherwise(write: Write) -> None:
    assert load_config(write(GOOD)).suppress_below == 0
    assert load_config(write(f"{GOOD}\n[report]\nsuppress_below = 5")).suppress_below == 5


def test_definitions_are_exact(write: Write) -> None:
    found = study_with(
        write,
        """
        schedule = "months"
        [study.definitions]
        cdasi_19 = "mild"
        activity_from_total = true
        enzyme_range_in_uln = { aldolase = "6.5" }
        uln_u_per_l = { ck = 200 }
        prednisone_factors = { dexamethasone = "20/3" }
        """,
    ).definitions

    assert found.visits == MONTHS
    assert (found.cdasi_19, found.activity_from_total) == ("mild", True)
    assert found.enzyme_range_in_uln["aldolase"] == Fraction(13, 2)
    assert found.enzyme_range_in_uln["ck"] == 15
    assert found.uln_u_per_l == {"ck": Fraction(200)}
    assert found.prednisone_factors == {"dexamethasone": Fraction(20, 3)}


def test_a_schedule_of_ones_own(write: Write) -> None:
    found = study_with(
        write, '[[study.visit]]\nname = "week_8"\nday = 56\nfirst_day = 42\nlast_day = 70\n'
    ).definitions.visits

    assert found == (Visit("week_8", 56, 42, 70),)


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ('schedule = "weekly"', "study.schedule"),
        ("[study.definitions]\nuln_u_per_l = { ck = 0 }", "study.definitions.uln_u_per_l.ck"),
        ('[study.definitions]\nuln_u_per_l = { ck = "0.0" }', "study.definitions.uln_u_per_l.ck"),
        ("[study.definitions]\nuln_u_per_l = { ck = 1.5 }", "study.definitions.uln_u_per_l.ck"),
        ("[study.definitions]\nuln_u_per_l = { troponin = 1 }", "study.definitions.uln_u_per_l"),
        ('[study.definitions]\ncdasi_19 = "severe"', "study.definitions.cdasi_19"),
        ('[[study.visit]]\nname = "a"\nday = 10\nfirst_day = 11\nlast_day = 20', "target 'day' must lie"),
        (
            'schedule = "weeks"\n[[study.visit]]\nname = "a"\nday = 15\nfirst_day = 11\nlast_day = 20',
            "exclude each other",
        ),
        (
            '[[study.visit]]\nname = "a"\nday = 15\nfirst_day = 11\nlast_day = 20\n'
            '[[study.visit]]\nname = "a"\nday = 20\nfirst_day = 20\nlast_day = 30',
            "its days are also those of 'a'",
        ),
        (
            '[[study.visit]]\nname = "a"\nday = 15\nfirst_day = 11\nlast_day = 20\n'
            '[[study.visit]]\nname = "a"\nday = 25\nfirst_day = 21\nlast_day = 30',
            "the name 'a' is used 2 times",
        ),
    ],
)
def test_faulty_definitions(write: Write, lines: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        study_with(write, lines)

    assert any(fault in one for one in caught.value.faults)


def many(write: Write) -> Config:
    names = [*(f"north-{number:02}" for number in range(12)), "south-01", "leon"]
    return load_config(write(STUDY + "".join(f'[[site]]\nname = "{name}"\n' for name in names)))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("leon", ["leon"]),
        ("south-*", ["south-01"]),
        ("*-01", ["north-01", "south-01"]),
        ("north-1?", ["north-10", "north-11"]),
        ("north-0[3-5]", ["north-03", "north-04", "north-05"]),
    ],
)
def test_sites_are_found_by_a_pattern(write: Write, pattern: str, names: list[str]) -> None:
    assert [site.name for site in many(write).sites_called(pattern)] == names


@pytest.mark.parametrize(
    ("pattern", "message", "hint"),
    [
        ("nroth-03", "no site is called 'nroth-03'", "near it: north-03, "),
        ("soth-*", "no site's name matches 'soth-*'", "near it: south-01"),
        ("[n]orth-1", "no site's name matches '[n]orth-1'", "near it: north-"),
        ("LEON*", "no site's name matches 'LEON*'", "known: north-00, "),
        ("*x*", "no site's name matches '*x*'", "known: north-00, "),
    ],
)
def test_who_fits_no_site_is_told_which_are_near(write: Write, pattern: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        many(write).sites_called(pattern)
    assert caught.value.message == message
    assert caught.value.hint
    assert caught.value.hint.startswith(hint)
    assert caught.value.hint.endswith("; all 14: dm-fhir status --all")
    assert len(caught.value.hint) < 200


def test_the_budget_of_a_run(write: Write) -> None:
    config = load_config(write(STUDY + '[sync]\nmost_requests = 5\n[[site]]\nname = "leon"\n'))
    assert (config.sites_at_a_time, config.most_requests) == (8, 5)
    for line in ("sites_at_a_time = 0", "most_requests = 0", "sites = 3", "sites_at_a_time = 1.5"):
        assert faults(write(f"{STUDY}[sync]\n{line}\n[[site]]\nname = 'leon'\n")), line
