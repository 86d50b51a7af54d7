"""A sync as a Kubernetes CronJob, with the volume that keeps its store."""

import json
import shlex
from pathlib import Path

from dm_fhir import __version__
from dm_fhir.cli.schedule_run import Rhythm, Scheduled
from dm_fhir.secret import CREDENTIALS, credential_name

_CONFIG = Path("/etc/dm-fhir")
_CREDENTIALS = "/run/dm-fhir/credentials"
_STATE = "/var/lib/dm-fhir"
_PROGRAM = "/opt/dm-fhir/bin/dm-fhir"
_SILENT = ("/bin/sh", "-c", 'exec "$@" > /dev/null', "sh")
#: Nobody in particular, the same as in the Containerfile.
_USER = 10001


def k8s_files(run: Scheduled, when: Rhythm, user: int | None, image: str | None) -> dict[str, str]:
    """The manifest, by its name."""
    parts = [_remarks(run, when), _volume_claim(run), ["---"], _cron_job(run, when, user or _USER, image)]
    return {f"{run.name}.cronjob.yaml": "\n".join([line for part in parts for line in part] + [""])}


def _remarks(run: Scheduled, when: Rhythm) -> list[str]:
    secrets = [
        *((name, str(path)) for name, path in run.private.items()),
        *((name, "FILE") for name in run.environment),
    ]
    return [
        f"# dm-fhir sync, {when.words}: {run.title}",
        "# Once, with the image that deploy/Containerfile makes:",
        _create(f"configmap {run.name}", [(name, str(path)) for name, path in _public(run).items()]),
        *([_create(f"secret generic {run.name}", secrets)] if secrets else []),
        f"#   kubectl apply -f {run.name}.cronjob.yaml",
        f"# Try:  kubectl create job --from=cronjob/{run.name} {run.name}-by-hand",
    ]


def _create(what: str, files: list[tuple[str, str]]) -> str:
    return " \\\n#     ".join(
        [f"#   kubectl create {what}", *(f"--from-file={shlex.quote(f'{name}={path}')}" for name, path in files)]
    )


def _volume_claim(run: Scheduled) -> list[str]:
    return [
        "apiVersion: v1",
        "kind: PersistentVolumeClaim",
        "metadata:",
        f"  name: {run.name}",
        "spec:",
        '  # A disk, no network share: SQLite\'s locks do not hold on NFS. With mode = "bulk" a whole export must fit in too.',
        "  accessModes: [ReadWriteOnce]",
        "  resources:",
        "    requests: {storage: 10Gi}",
    ]


def _cron_job(run: Scheduled, when: Rhythm, user: int, image: str | None) -> list[str]:
    return [
        "apiVersion: batch/v1",
        "kind: CronJob",
        "metadata:",
        f"  name: {run.name}",
        "spec:",
        f"  schedule: {_text(when.cron)}",
        f"  timeZone: {_text(run.zone)}",
        "  # A sync locks its store anyway; this saves the pod that would end with 11.",
        "  concurrencyPolicy: Forbid",
        "  startingDeadlineSeconds: 600",
        "  successfulJobsHistoryLimit: 3",
        "  failedJobsHistoryLimit: 5",
        "  jobTemplate:",
        "    spec:",
        "      # The schedule is what tries again: a partial pull is not mended by asking at once.",
        "      backoffLimit: 0",
        "      template:",
        "        metadata:",
        f"          labels: {{app.kubernetes.io/name: {run.name}}}",
        "        spec:",
        "          restartPolicy: Never",
        "          terminationGracePeriodSeconds: 60",
        "          automountServiceAccountToken: false",
        "          enableServiceLinks: false",
        "          securityContext:",
        "            runAsNonRoot: true",
        f"            runAsUser: {user}",
        f"            runAsGroup: {user}",
        f"            fsGroup: {user}",
        "            # Not at each start: it would open the store to the group, and such a store is refused.",
        "            fsGroupChangePolicy: OnRootMismatch",
        "            seccompProfile: {type: RuntimeDefault}",
        "          containers:",
        "            - name: sync",
        f"              image: {_text(image or f'dm-fhir:{__version__}')}",
        "              # The log is what it says on stderr. The result on stdout names records, and is not for the cluster's log.",
        f"              command: {_text([*_SILENT, _PROGRAM])}",
        f"              args: {_text(['--log-format', 'json', '--config', str(_inside(run, run.config)), 'sync'])}",
        "              env:",
        *(f"                - {line}" for line in _environment(run)),
        "              securityContext:",
        "                allowPrivilegeEscalation: false",
        "                readOnlyRootFilesystem: true",
        "                capabilities: {drop: [ALL]}",
        "              resources:",
        "                requests: {cpu: 100m, memory: 256Mi}",
        "                limits: {memory: 2Gi}",
        "              volumeMounts:",
        *(f"                - {line}" for line in _mounts(run)),
        "          volumes:",
        *(f"            - {line}" for line in _volumes(run)),
    ]


def _environment(run: Scheduled) -> list[str]:
    handed = [f"{{name: {CREDENTIALS}, value: {_CREDENTIALS}}}"] if run.private else []
    return [
        f"{{name: DM_FHIR_STORE, value: {_STATE}/store/dm-fhir.sqlite}}",
        *handed,
        *(
            f"{{name: {name}, valueFrom: {{secretKeyRef: {{name: {run.name}, key: {name}}}}}}}"
            for name in run.environment
        ),
    ]


def _mounts(run: Scheduled) -> list[str]:
    """Every file where the config looks for it, and the folders to write in."""
    return [
        f"{{name: store, mountPath: {_STATE}}}",
        "{name: tmp, mountPath: /tmp}",
        *(
            [f"{{name: store, mountPath: {_text(str(_inside(run, run.metrics)))}, subPath: metrics}}"]
            if run.metrics
            else []
        ),
        *([f"{{name: private, mountPath: {_CREDENTIALS}, readOnly: true}}"] if run.private else []),
        *(
            f"{{name: config, mountPath: {_text(str(_inside(run, path)))}, subPath: {name}, readOnly: true}}"
            for name, path in _public(run).items()
        ),
    ]


def _volumes(run: Scheduled) -> list[str]:
    items = ", ".join(f"{{key: {name}, path: {name}}}" for name in run.private)
    private = f"{{name: private, secret: {{secretName: {run.name}, defaultMode: 0440, items: [{items}]}}}}"
    return [
        f"{{name: store, persistentVolumeClaim: {{claimName: {run.name}}}}}",
        "{name: tmp, emptyDir: {sizeLimit: 1Gi}}",
        *([private] if run.private else []),
        f"{{name: config, configMap: {{name: {run.name}}}}}",
    ]


def _public(run: Scheduled) -> dict[str, Path]:
    """The config and the other files that are no secret, by their names in the ConfigMap."""
    return {credential_name(path, run.config.parent): path for path in (run.config, *run.public)}


def _inside(run: Scheduled, path: Path) -> Path:
    """Where the file is in the container: beside the config as it is here, elsewhere under its own path."""
    folder = run.config.parent
    return _CONFIG / path.relative_to(folder) if path.is_relative_to(folder) else path


def _text(value: object) -> str:
    """JSON is YAML too."""
    return json.dumps(value, ensure_ascii=False)
