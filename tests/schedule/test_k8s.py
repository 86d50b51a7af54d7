"""The CronJob is one that Kubernetes takes, that may do little, and in which the config finds everything."""

from __future__ import annotations

import copy
import json
import posixpath
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from tests.schedule.conftest import CONFIG, PRIVATE

from dm_fhir import __version__

if TYPE_CHECKING:
    from tests.schedule.conftest import Ran

SCHEMA = json.loads(Path(__file__).with_name("kubernetes.schema.json").read_text(encoding="utf-8"))
Manifest = Callable[..., list[Any]]


@pytest.fixture
def manifest(typed: Callable[..., Ran]) -> Manifest:
    """The documents of the manifest that is printed, each checked."""

    def read(*words: str) -> list[Any]:
        documents = list(yaml.safe_load_all(typed("k8s", *words).out))
        for document in documents:
            jsonschema.validate(document, SCHEMA)
        return documents

    return read


def pod_of(cron_job: Any) -> Any:
    return cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def test_one_sync_at_a_time_on_a_volume_of_its_own(manifest: Manifest) -> None:
    claim, job = manifest("--at", "02:30")
    spec, pod = job["spec"], pod_of(job)
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == ("30 2 * * *", "Europe/Madrid", "Forbid")
    assert (spec["jobTemplate"]["spec"]["backoffLimit"], pod["restartPolicy"]) == (0, "Never")
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["store"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"] == "dm-fhir-a-study"


def test_it_may_do_little(manifest: Manifest) -> None:
    _, job = manifest()
    pod, [container] = pod_of(job), pod_of(job)["containers"]
    assert (pod["automountServiceAccountToken"], pod["securityContext"]["runAsNonRoot"]) == (False, True)
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert container["resources"]["limits"] == {"memory": "2Gi"}
    written = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert written == ["/var/lib/dm-fhir", "/tmp"]  # noqa: S108
    assert pod_of(manifest("--user", "1234")[1])["securityContext"]["runAsUser"] == 1234


def test_what_names_records_stays_out_of_the_clusters_log(manifest: Manifest) -> None:
    [container] = pod_of(manifest()[1])["containers"]
    program = ["/bin/sh", "-c", 'echo $0 result; echo "log of $*" >&2; exit 3', "of"]
    assert container["command"][-1] == "/opt/dm-fhir/bin/dm-fhir"
    done = subprocess.run([*container["command"][:-1], *program, *container["args"]], capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (3, "", f"log of {' '.join(container['args'])}\n")


def test_the_config_finds_everything_where_it_looks(manifest: Manifest, config: Path) -> None:
    _, job = manifest()
    pod, [container] = pod_of(job), pod_of(job)["containers"]
    env = {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}
    assert container["args"] == ["--log-format", "json", "--config", "/etc/dm-fhir/dm-fhir.toml", "sync"]
    # In a folder of its own: the volume's is the group's to write, and a store in such a folder is refused.
    assert posixpath.dirname(env["DM_FHIR_STORE"]) == "/var/lib/dm-fhir/store"
    assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
    mounts = {one["mountPath"]: (one["name"], one.get("subPath")) for one in container["volumeMounts"]}
    assert {path: mount for path, mount in mounts.items() if mount[0] == "config"} == {
        "/etc/dm-fhir/dm-fhir.toml": ("config", "dm-fhir.toml"),
        "/etc/dm-fhir/tables/leon.toml": ("config", "tables-leon.toml"),
        "/etc/ssl/leon.pem": ("config", "etc-ssl-leon.pem"),
    }
    [secret] = [volume["secret"] for volume in pod["volumes"] if volume["name"] == "private"]
    assert {(item["key"], item["path"]) for item in secret["items"]} == {(name, name) for name in PRIVATE.values()}
    assert mounts[env["CREDENTIALS_DIRECTORY"]] == ("private", None)
    assert env["MADRID_TOKEN"] == {"secretKeyRef": {"name": secret["secretName"], "key": "MADRID_TOKEN"}}


def test_the_commands_above_it_make_what_it_needs(typed: Callable[..., Ran], manifest: Manifest, config: Path) -> None:
    text = typed("k8s").out
    remarks = "\n".join(
        line.removeprefix("#").strip().rstrip("\\") for line in text.splitlines() if line.startswith("#")
    )
    made = dict(re.findall(r"--from-file='?([^=\s']+)=([^'\n]+)'?", remarks))
    made = {name: path.strip() for name, path in made.items()}
    _, job = manifest()
    [container] = pod_of(job)["containers"]
    needed = {one["subPath"] for one in container["volumeMounts"] if "subPath" in one}
    needed |= set(PRIVATE.values()) | {"MADRID_TOKEN"}
    assert made.keys() == needed
    assert made["keys-leon.pem"] == str(config.parent / "keys" / "leon.pem")


def test_metrics_go_onto_the_volume_of_the_store(manifest: Manifest, config: Path) -> None:
    config.write_text(CONFIG + '[metrics]\nfile = "/var/lib/exporter/dm-fhir.prom"\n', encoding="utf-8")
    [container] = pod_of(manifest()[1])["containers"]
    assert {"name": "store", "mountPath": "/var/lib/exporter", "subPath": "metrics"} in container["volumeMounts"]


def test_without_any_secret_there_is_no_volume_for_them(manifest: Manifest, config: Path) -> None:
    head = CONFIG.partition('client_cert = "')[0].replace('pseudonym_key = "file:keys/pseudonym.key"', "")
    config.write_text(head, encoding="utf-8")
    _, job = manifest()
    pod, [container] = pod_of(job), pod_of(job)["containers"]
    assert [volume["name"] for volume in pod["volumes"]] == ["store", "tmp", "config"]
    assert [one["name"] for one in container["env"]] == ["DM_FHIR_STORE"]


def test_sites_in_several_zones_run_by_utc(manifest: Manifest, config: Path) -> None:
    config.write_text(
        CONFIG.replace('name = "madrid"', 'name = "madrid"\ntimezone = "Atlantic/Canary"'), encoding="utf-8"
    )
    assert manifest()[1]["spec"]["timeZone"] == "Etc/UTC"


def test_the_image_is_this_version_or_as_asked(manifest: Manifest) -> None:
    def image(*words: str) -> str:
        return str(pod_of(manifest(*words)[1])["containers"][0]["image"])

    assert (image(), image("--image", "mine/dm-fhir:1")) == (f"dm-fhir:{__version__}", "mine/dm-fhir:1")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("concurrencyPolicy",), "Never"),
        (("concurencyPolicy",), "Forbid"),
        (("jobTemplate", "spec", "template", "spec", "restartPolicy"), "Always"),
        (("jobTemplate", "spec", "template", "spec", "containers", 0, "volumeMounts", 0, "mountPath"), "relative"),
        (("jobTemplate", "spec", "template", "spec", "containers", 0, "securityContext", "runAsNotRoot"), True),
    ],
)
def test_the_schema_refuses_what_kubernetes_would(manifest: Manifest, path: tuple[Any, ...], value: object) -> None:
    wrong = copy.deepcopy(manifest()[1])
    part = wrong["spec"]
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMA)
