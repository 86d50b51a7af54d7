"""A sync as a line of a crontab."""

import shlex
from pathlib import Path

from dm_fhir.cli.schedule_run import Rhythm, Scheduled


def cron_files(run: Scheduled, when: Rhythm, user: str | None) -> dict[str, str]:
    """The crontab by its name: one user's own, or with `user` one for /etc/cron.d."""
    given = f"DM_FHIR_STORE={shlex.quote(str(run.store))} " if run.store_is_given else ""
    sync = f"{given}{shlex.join([str(run.program), '--config', str(run.config), 'sync'])}"
    said = shlex.quote(str(_log(run)))
    line = f"umask 077; {sync} > /dev/null 2> {said} || {{ echo exit $?; cat {said}; }}"
    # cron makes a new line of every % that is not escaped.
    fields = f"{when.cron} {user} " if user else f"{when.cron} "
    return {run.name: "\n".join([*_remarks(run, when, user), fields + line.replace("%", "\\%"), ""])}


def _remarks(run: Scheduled, when: Rhythm, user: str | None) -> list[str]:
    place = f"cp {run.name} /etc/cron.d/" if user else "crontab -e, and add these lines"
    lines = [
        f"# dm-fhir sync, {when.words}, by the machine's clock: {run.title}",
        f"# Put in place: {place}",
        *(_permissions(run, user) if user else []),
        "# cron mails what a line prints, and this one prints only when the sync did not end with 0. MAILTO=somebody@example.org",
        "# above it says whom; without it the mail is the user's own. Printed is the log, which holds nothing of a patient; the last",
        f"# one is in {_log(run)}. The result names records, and is not for mail: dm-fhir status.",
        "# No flock is needed: a sync that finds another one at work ends at once with 11, and a killed one holds no lock.",
    ]
    if run.environment:
        lines += [
            f"# The config reads {', '.join(run.environment)} from the environment, which cron does not have. Put the secret into a",
            "# file of mode 0600 and name it file:PATH in the config: a crontab is no place for it.",
        ]
    return lines


def _permissions(run: Scheduled, user: str) -> list[str]:
    """What the user needs of the files: nobody hands it the keys."""
    files = run.private.values()
    keys = shlex.join(map(str, [*sorted({path.parent for path in files}), *files]))
    return [
        f"# {user} must be able to read {shlex.quote(str(run.config))}, and to write {shlex.quote(str(run.store.parent))}.",
        *([f"# cron hands over no keys, they are {user}'s own: chown {user} {keys}"] if keys else []),
    ]


def _log(run: Scheduled) -> Path:
    return run.store.parent / f"{run.name}.last-sync"
