"""A sync as a systemd service that may do little, and the timer that starts it."""

import shlex
from pathlib import Path

from dm_fhir.cli.schedule_run import Rhythm, Scheduled

_STATE = Path("/var/lib")
#: Folders that are everybody's.
_SYSTEM = set(map(Path, ("/", "/etc", "/usr/local/etc", "/opt", "/srv")))
_HOMES = tuple(map(Path, ("/home", "/root", "/run/user")))


def systemd_files(run: Scheduled, when: Rhythm, user: str) -> dict[str, str]:
    """The unit and its timer, by file name."""
    return {f"{run.name}.service": _service(run, user), f"{run.name}.timer": _timer(run, when)}


def _service(run: Scheduled, user: str) -> str:
    command = [str(run.program), "--config", str(run.config), "sync"]
    return "\n".join(
        [
            f"# /etc/systemd/system/{run.name}.service: one sync. {run.name}.timer starts it.",
            *_put_in_place(run, user),
            "",
            "[Unit]",
            f"Description=dm-fhir sync: {_literal(run.title)}",
            "Wants=network-online.target",
            "After=network-online.target",
            "# A sync that ends with anything but 0 or 130 is a failed unit. To start another one then: OnFailure=NAME.service",
            "",
            "[Service]",
            "Type=oneshot",
            f"ExecStart={' '.join(_quoted(word).replace('$', '$$') for word in command)}",
            "# The log is what it says on stderr. The result on stdout names records, and the journal is no place for those.",
            "StandardOutput=null",
            "StandardError=journal",
            f"User={user}",
            *([f"Environment={_quoted(f'DM_FHIR_STORE={run.store}')}"] if run.store_is_given else []),
            *_secrets(run),
            *_writable(run),
            "UMask=0077",
            "# A run that is told to stop ends with 130, and the next one goes on from there.",
            "SuccessExitStatus=130",
            "TimeoutStopSec=60",
            "Nice=10",
            "",
            "# It reads its config, writes its store, speaks to its servers, and can do nothing else.",
            "NoNewPrivileges=yes",
            "CapabilityBoundingSet=",
            "ProtectSystem=strict",
            *_homes(run),
            "PrivateTmp=yes",
            "PrivateDevices=yes",
            "ProtectClock=yes",
            "ProtectControlGroups=yes",
            "ProtectHostname=yes",
            "ProtectKernelLogs=yes",
            "ProtectKernelModules=yes",
            "ProtectKernelTunables=yes",
            "ProtectProc=invisible",
            "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
            "RestrictNamespaces=yes",
            "RestrictRealtime=yes",
            "RestrictSUIDSGID=yes",
            "LockPersonality=yes",
            "RemoveIPC=yes",
            "KeyringMode=private",
            "SystemCallArchitectures=native",
            "SystemCallFilter=@system-service",
            "SystemCallFilter=~@privileged @resources",
            "SystemCallErrorNumber=EPERM",
            "",
        ]
    )


def _put_in_place(run: Scheduled, user: str) -> list[str]:
    beside = [path for path in (run.config, *run.public) if path.is_relative_to(run.config.parent)]
    folders = {run.config.parent, *(path.parent for path in beside)} - _SYSTEM
    readable, entered = shlex.join(map(str, beside)), shlex.join(sorted(map(str, folders)))
    return [
        f"# Once:   useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin {user}",
        f"#         chgrp {user} {readable}",
        f"#         chmod 0640 {readable}",
        *([f"#         chgrp {user} {entered} && chmod 0750 {entered}"] if folders else []),
        *([] if _is_state(run) else [f"#         chown -R {user}: {shlex.quote(str(run.store.parent))}"]),
        *([f"#         {user} must be able to write {run.metrics}, where the metrics go"] if run.metrics else []),
        f"#         systemctl daemon-reload && systemctl enable --now {run.name}.timer",
        f"# Try:    systemctl start {run.name}.service; journalctl -u {run.name}.service",
    ]


def _secrets(run: Scheduled) -> list[str]:
    """The keys stay root's: systemd reads them, and hands them to this run alone."""
    lines = [f"LoadCredential={name}:{_literal(str(path))}" for name, path in run.private.items()]
    if run.environment:
        lines += [
            f"# The config reads {', '.join(run.environment)} from the environment. NAME=value lines, mode 0600, root's;",
            "# file: secrets are better: what is in the environment, other processes of the same user can read.",
            f"EnvironmentFile={_literal(str(run.config.with_suffix('.env')))}",
        ]
    return lines


def _writable(run: Scheduled) -> list[str]:
    """The store's folder and that of the metrics, nothing else; and what that means for a program that is told of the end."""
    store = run.store.parent
    lines = [f"ReadWritePaths={_quoted(str(store))}"]
    if _is_state(run):
        lines = [f"StateDirectory={_quoted(str(store.relative_to(_STATE)))}", "StateDirectoryMode=0700"]
    if run.metrics and not run.metrics.is_relative_to(store):
        lines.append(f"ReadWritePaths={_quoted(str(run.metrics))}")
    if run.tells:
        lines += [
            f"# [notify] command runs under the rules of this unit: {_literal(run.tells)} cannot gain rights (setgid, as mail servers'",
            "# own sendmail needs) nor write elsewhere. Where it must: a webhook, or OnFailure= another unit.",
        ]
    return lines


def _is_state(run: Scheduled) -> bool:
    return run.store.parent.is_relative_to(_STATE) and run.store.parent != _STATE


def _homes(run: Scheduled) -> list[str]:
    """Nobody's home is seen, unless something that the run needs is there."""
    inside = [
        path
        for path in (run.program, run.config, run.store, *run.public, run.metrics)
        if path and any(map(path.is_relative_to, _HOMES))
    ]
    if not inside:
        return ["ProtectHome=yes"]
    return [
        f"# Not yes, because of {_literal(str(inside[0]))}: better under /opt, /etc and /var/lib.",
        "ProtectHome=read-only",
    ]


def _timer(run: Scheduled, when: Rhythm) -> str:
    return "\n".join(
        [
            f"# /etc/systemd/system/{run.name}.timer: {when.words}, by the machine's clock.",
            "",
            "[Unit]",
            f"Description=dm-fhir sync, {when.words}: {_literal(run.title)}",
            "",
            "[Timer]",
            f"OnCalendar={when.calendar}",
            "# Not everybody at the same moment; what was missed while the machine was off is done when it is on again.",
            f"RandomizedDelaySec={when.delay_minutes}min",
            "Persistent=yes",
            "",
            "[Install]",
            "WantedBy=timers.target",
            "",
        ]
    )


def _literal(text: str) -> str:
    """As it stands: % begins a specifier in a unit."""
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """One word of a line, in quotes where it needs them."""
    word = _literal(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{word}"' if not word or set(word) & set(" \t'\"\\;") else word
