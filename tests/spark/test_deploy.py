"""What deploy/ has for Spark: one Kubernetes object needs the other, and both images are of one version."""

import re
from pathlib import Path

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_job_finds_what_it_names() -> None:
    objects = {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "dm-fhir-spark.yaml").read_text("utf-8"))}
    pod = objects["Job"]["spec"]["template"]
    (driver,) = pod["spec"]["containers"]
    (settings,) = objects["ConfigMap"]["data"].values()
    conf = dict(line.split() for line in settings.splitlines())
    assert conf["spark.kubernetes.container.image"] == driver["image"]
    assert conf["spark.driver.host"] == objects["Service"]["metadata"]["name"]
    ports = {port["port"] for port in objects["Service"]["spec"]["ports"]}
    assert ports == {int(conf["spark.driver.port"]), int(conf["spark.driver.blockManager.port"])}
    assert objects["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    account = objects["ServiceAccount"]["metadata"]["name"]
    assert account == pod["spec"]["serviceAccountName"] == objects["RoleBinding"]["subjects"][0]["name"]
    assert objects["RoleBinding"]["roleRef"]["name"] == objects["Role"]["metadata"]["name"]
    volumes = {one["name"] for one in pod["spec"]["volumes"]}
    assert {one["name"] for one in driver["volumeMounts"]} == volumes
    assert pod["spec"]["securityContext"]["runAsUser"] == 10001


def test_the_image_has_what_the_job_starts() -> None:
    text = (DEPLOY / "Containerfile.spark").read_text("utf-8")
    assert "USER 10001:10001" in text
    (versions,) = {frozenset(re.findall(r"^ARG SPARK=(\S+)$", text, re.MULTILINE))}
    assert len(versions) == 1
    for copied in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.MULTILINE)[0].split():
        assert "*" in copied or (DEPLOY.parent / copied).is_file()
