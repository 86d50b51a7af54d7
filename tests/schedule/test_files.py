"""What the files for a scheduler hold: whole paths, every secret's place and no secret, and a line that does as it says."""

from __future__ import annotations

import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.schedule.conftest import CONFIG, PRIVATE

from dm_fhir.config import load_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.schedule.conftest import Ran


def settings(text: str) -> dict[str, list[str]]:
    """Every `Name=value` of a unit."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if re.match(r"[A-Z]\w+=", line):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_names_this_program_and_this_config(typed: Callable[..., Ran], config: Path) -> None:
    unit = settings(typed("systemd").out)
    program = Path(sys.executable).with_name("dm-fhir")
    assert unit["ExecStart"] == [f'{program} --config "{config}" sync']
    assert (unit["StandardOutput"], unit["StandardError"]) == (["null"], ["journal"])
    assert (unit["Type"], unit["User"], unit["UMask"]) == (["oneshot"], ["dm-fhir"], ["0077"])
    assert unit["Description"][0] == "dm-fhir sync: Anifrolumab in 100 %% of refractory dermatomyositis"
    assert (unit["StateDirectory"], unit["StateDirectoryMode"], unit.get("ReadWritePaths")) == (
        ["dm-fhir"],
        ["0700"],
        None,
    )
    assert {"yes"} == {unit[name][0] for name in ("NoNewPrivileges", "PrivateTmp", "ProtectHome", "PrivateDevices")}
    assert (unit["ProtectSystem"], unit["CapabilityBoundingSet"]) == (["strict"], [""])
    assert (unit["Persistent"], unit["RandomizedDelaySec"]) == (["yes"], ["15min"])
    assert settings(typed("systemd", "--user", "root").out)["User"] == ["root"]


def test_its_user_is_let_into_the_folders_of_what_it_reads(typed: Callable[..., Ran], config: Path) -> None:
    said = typed("systemd", "--user", "fhir").out
    folders = [shlex.quote(str(config.parent)), shlex.quote(str(config.parent / "tables"))]
    assert f"#         chgrp fhir {' '.join(folders)} && chmod 0750 {' '.join(folders)}\n" in said


def test_a_path_may_have_any_letters(typed: Callable[..., Ran], tmp_path: Path) -> None:
    odd = tmp_path / 'a $1 \\ "b" 5 %' / "dm-fhir.toml"
    odd.parent.mkdir()
    odd.write_text(CONFIG, encoding="utf-8")
    [start] = settings(typed("systemd", at=odd).out)["ExecStart"]
    assert start.endswith(f' --config "{tmp_path}/a $$1 \\\\ \\"b\\" 5 %%/dm-fhir.toml" sync')


def test_what_systemd_hands_over_is_what_the_config_reads(
    typed: Callable[..., Ran], config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed = tmp_path / "handed"
    handed.mkdir()
    text = typed("systemd").out
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed))
    monkeypatch.setenv("MADRID_TOKEN", "the token")
    loaded = dict(line.split(":", 1) for line in settings(text)["LoadCredential"])
    assert loaded == {name: str(config.parent / path) for path, name in PRIVATE.items()}
    for name in loaded:
        (handed / name).write_text(f"handed over as {name}", encoding="utf-8")
    study = load_config(config)
    leon, madrid = study.sites
    assert study.pseudonym_key is not None
    assert leon.auth.private_key is not None
    assert madrid.auth.token is not None
    assert [study.pseudonym_key.read(), leon.auth.private_key.read(), madrid.auth.token.read()] == [
        "handed over as keys-pseudonym.key",
        "handed over as keys-leon.pem",
        "the token",
    ]
    assert (leon.tls.client_cert, leon.tls.client_key, leon.cohort.patients) == (
        handed / "tls-leon.crt",
        handed / "tls-leon.key",
        handed / "patients.txt",
    )
    assert settings(text)["EnvironmentFile"] == [str(config.with_suffix(".env"))]


@pytest.mark.parametrize("scheduler", ["systemd", "cron", "k8s"])
def test_no_secret_is_in_a_file(
    typed: Callable[..., Ran], config: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MADRID_TOKEN", "5ecret of madrid")
    for path in PRIVATE:
        (config.parent / path).parent.mkdir(exist_ok=True)
        (config.parent / path).write_text("5ecret of leon", encoding="utf-8")
    told = typed(scheduler)
    assert (told.code, "5ecret" in told.out + told.err) == (0, False)
    assert "MADRID_TOKEN" in told.out


def test_a_store_elsewhere_is_made_writable(typed: Callable[..., Ran], config: Path) -> None:
    config.write_text(CONFIG.replace("/var/lib/dm-fhir/dm-fhir.sqlite", "the store/dm.sqlite"), encoding="utf-8")
    told = typed("systemd").out
    unit = settings(told)
    assert (unit["ReadWritePaths"], unit.get("StateDirectory")) == ([f'"{config.parent / "the store"}"'], None)
    assert f"chown -R dm-fhir: '{config.parent / 'the store'}'" in told


def test_a_store_that_the_environment_names_is_named_again(
    typed: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DM_FHIR_STORE", "/srv/100 %/dm.sqlite")
    unit = settings(typed("systemd").out)
    assert unit["Environment"] == ['"DM_FHIR_STORE=/srv/100 %%/dm.sqlite"']
    assert unit["ReadWritePaths"] == ['"/srv/100 %%"']
    assert r"DM_FHIR_STORE='/srv/100 \%/dm.sqlite' " in typed("cron").out


OUTSIDE = """
[metrics]
file = "/var/lib/node exporter/dm-fhir.prom"
[notify]
command = ["mail", "-s", "dm-fhir", "team@example.org"]
webhook = "env:WEBHOOK"
webhook_token = "file:keys/webhook"
ca_bundle = "tls/webhook.pem"
"""


def test_metrics_and_messages_need_their_places_too(typed: Callable[..., Ran], config: Path) -> None:
    config.write_text(CONFIG + OUTSIDE, encoding="utf-8")
    told = typed("systemd").out
    unit = settings(told)
    assert unit["ReadWritePaths"] == ['"/var/lib/node exporter"']
    assert f"keys-webhook:{config.parent / 'keys' / 'webhook'}" in unit["LoadCredential"]
    assert f"'{config.parent / 'tls' / 'webhook.pem'}'" in told
    assert "# The config reads MADRID_TOKEN, WEBHOOK from the environment." in told
    assert "mail cannot gain rights" in told
    config.write_text(CONFIG + OUTSIDE.replace("/var/lib/node exporter/", "/var/lib/dm-fhir/"), encoding="utf-8")
    assert "ReadWritePaths" not in settings(typed("systemd").out)


def test_what_lies_in_a_home_can_be_read(typed: Callable[..., Ran], config: Path) -> None:
    config.write_text(CONFIG.replace("/var/lib/dm-fhir/", "/home/me/"), encoding="utf-8")
    assert settings(typed("systemd").out)["ProtectHome"] == ["read-only"]


def test_what_will_be_lost_is_said(typed: Callable[..., Ran], config: Path) -> None:
    config.write_text(CONFIG.replace("/var/lib/dm-fhir/", "/run/"), encoding="utf-8")
    said = typed("systemd").err
    assert "the store is at /run/dm-fhir.sqlite: files there go" in said


def test_a_store_beside_the_config_is_said(typed: Callable[..., Ran], config: Path) -> None:
    assert "in the folder of the store" not in typed("systemd").err
    config.write_text(CONFIG.replace("/var/lib/dm-fhir/", ""), encoding="utf-8")
    assert 'better [store] path = "/var/lib/dm-fhir/dm-fhir.sqlite"' in typed("systemd").err


def test_two_files_that_would_be_handed_over_under_one_name(typed: Callable[..., Ran], config: Path) -> None:
    config.write_text(CONFIG.replace("patients.txt", "tls-leon.key"), encoding="utf-8")
    refused = typed("systemd")
    assert (refused.code, "would both be handed over as tls-leon.key" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("etc/dm-fhir/dm-fhir.toml", "dm-fhir"),
        ("studies/Anifrolumab 2/dm-fhir.toml", "dm-fhir-anifrolumab-2"),
        ("etc/dm-fhir/jak.toml", "dm-fhir-jak"),
    ],
)
def test_studies_of_one_machine_have_names_of_their_own(
    typed: Callable[..., Ran], tmp_path: Path, path: str, name: str
) -> None:
    config = tmp_path / path
    config.parent.mkdir(parents=True)
    config.write_text(CONFIG, encoding="utf-8")
    wrote = [typed(scheduler, "-o", str(tmp_path / "out"), at=config) for scheduler in ("systemd", "cron", "k8s")]
    assert [ran.code for ran in wrote] == [0, 0, 0]
    found = sorted(one.name for one in (tmp_path / "out").iterdir())
    assert found == [name, f"{name}.cronjob.yaml", f"{name}.service", f"{name}.timer"]
    assert f"wrote {tmp_path / 'out' / name}.service" in wrote[0].out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cron", "--image", "x"], "--image is for k8s"),
        (["k8s", "--user", "me"], "--user is a number above 0"),
        (["k8s", "--user", "0"], "--user is a number above 0"),
        (["windows"], "is not one of 'systemd', 'cron', 'k8s'"),
        (["cron", "--every", "7m"], "must divide an hour or a day"),
    ],
)
def test_what_makes_no_sense_is_refused(typed: Callable[..., Ran], words: list[str], said: str) -> None:
    refused = typed(*words)
    assert (refused.code, refused.out, said in refused.err) == (2, "", True)


def test_a_place_that_cannot_be_written(typed: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = typed("cron", "-o", str(tmp_path / "file" / "below"))
    assert (refused.code, "cannot be written" in refused.err) == (2, True)


# The line of a crontab, as cron runs it.


def line_of(text: str) -> str:
    """The command of the only line that is no remark, as cron hands it to the shell."""
    [line] = [line for line in text.splitlines() if not line.startswith("#")]
    command = line.split(maxsplit=5)[5]
    return re.sub(r"(?<!\\)%", "\n", command).replace("\\%", "%")


@pytest.mark.parametrize("code", [0, 3])
def test_the_line_prints_only_what_did_not_end_well(
    typed: Callable[..., Ran], config: Path, tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin 100%" / "dm-fhir"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho Patient/7\necho err of "$*" >&2\nexit {code}\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    config.write_text(CONFIG.replace("/var/lib/dm-fhir/", "st%re/"), encoding="utf-8")
    (config.parent / "st%re").mkdir()
    done = subprocess.run(["/bin/sh", "-c", line_of(typed("cron").out)], capture_output=True, text=True, check=False)
    said = f"err of --config {config} sync\n"
    last = config.parent / "st%re" / "dm-fhir-a-study.last-sync"
    assert (last.read_text(encoding="utf-8"), stat.S_IMODE(last.stat().st_mode)) == (said, 0o600)
    assert (done.stdout, done.stderr) == (f"exit {code}\n{said}" if code else "", "")


def test_a_file_for_cron_d_names_its_user(typed: Callable[..., Ran]) -> None:
    mine, others = typed("cron").out, typed("cron", "--user", "dm-fhir").out
    assert shlex.split(others.splitlines()[-1], posix=False)[5] == "dm-fhir"
    assert others.splitlines()[-1].replace(" dm-fhir umask", " umask") == mine.splitlines()[-1]
    assert mine.endswith("}\n")


def test_a_file_for_cron_d_says_what_its_user_must_own(typed: Callable[..., Ran], config: Path) -> None:
    [said] = [line for line in typed("cron", "--user", "fhir").out.splitlines() if "chown fhir" in line]
    owned = shlex.split(said.partition("chown fhir ")[2])
    [key] = [path for path in owned if path.endswith("leon.pem")]
    assert str(Path(key).parent) in owned
    assert "chown" not in typed("cron").out
