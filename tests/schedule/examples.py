"""What `dm-fhir schedule` makes of deploy/dm-fhir.toml, were it installed in /opt and /etc. Run it to write deploy/ anew."""

import tomllib
from pathlib import Path

from dm_fhir import config
from dm_fhir.cli.schedule_cron import cron_files
from dm_fhir.cli.schedule_k8s import k8s_files
from dm_fhir.cli.schedule_run import Rhythm, rhythm, scheduled
from dm_fhir.cli.schedule_systemd import systemd_files

DEPLOY = Path(__file__).parents[2] / "deploy"
INSTALLED = Path("/etc/dm-fhir/dm-fhir.toml")
PROGRAM = Path("/opt/dm-fhir/bin/dm-fhir")


def examples(program: Path = PROGRAM) -> dict[str, str]:
    """Every example by its path below deploy/."""
    document = tomllib.loads((DEPLOY / "dm-fhir.toml").read_text(encoding="utf-8"))
    run = scheduled(config._build(document, INSTALLED))._replace(program=program)
    when: Rhythm = rhythm("1h", None, INSTALLED)
    cron = {f"cron.d/{name}": text for name, text in cron_files(run, when, "dm-fhir").items()}
    return {**systemd_files(run, when, "dm-fhir"), **cron, **k8s_files(run, when, None, None)}


if __name__ == "__main__":
    for name, text in examples().items():
        (DEPLOY / name).parent.mkdir(exist_ok=True)
        (DEPLOY / name).write_text(text, encoding="utf-8")
