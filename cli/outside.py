"""What the world outside hears when a run has ended, however it ended: the file of metrics, and whoever is to be told.

Nothing here changes how a run ended. What cannot be written or sent is a warning.
"""

import os
import shlex
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec

from dm_fhir.cli.voice import Voice
from dm_fhir.config import DEFAULT_NAME, NOTIFIED_OF, Config, Metrics, Notify
from dm_fhir.errors import DmFhirError
from dm_fhir.secret import CREDENTIALS, Secret, secrets_in
from dm_fhir.sync.metrics import LastRun, metrics_text
from dm_fhir.sync.notification import RECOVERED, Message, Told, is_due, message

_MODES = {"owner": 0o600, "group": 0o640, "all": 0o644}
#: Another run is at work, and the file is that run's to write.
_LOCKED = 11
_COMMAND_SECONDS = 30
#: Whoever stopped the run waits for it to end.
_COMMAND_SECONDS_IF_INTERRUPTED = 2
_INTERRUPTED = 130


def tell_outside(config: Config, voice: Voice, db: sqlite3.Connection | None, last: LastRun) -> None:
    """Write the metrics, and tell people if it is due. `db` is None where the store cannot be opened.

    Somebody who watches the run on a terminal sees how it ends: then nobody is told.
    """
    if config.metrics is not None and last.exit_code != _LOCKED:
        _write_metrics(config, config.metrics, voice, db, last)
    if config.notify is not None and not sys.stderr.isatty():
        _tell_people(config, config.notify, voice, db, last)


def program_of(config: Path) -> str:
    """How a command line begins, so that what is said can be typed as it stands."""
    return "dm-fhir" if str(config) == DEFAULT_NAME else f"dm-fhir --config {shlex.quote(str(config))}"


def message_of(config: Config, db: sqlite3.Connection | None, last: LastRun) -> Message:
    """What is said of this run. Its commands name the config by its whole path: the reader is somewhere else."""
    path = config.path.resolve()
    try:
        return message(db, config.sites, last, program_of(path), str(path))
    except (sqlite3.Error, ValueError):  # the store may be what is wrong
        return message(None, (), last, program_of(path), str(path))


def send(config: Config, notify: Notify, told: Message) -> dict[str, str | None]:
    """Tell everybody whom the config names. By way of telling: what was wrong with it, None where it worked."""
    found: dict[str, str | None] = {}
    if notify.command:
        found[f"command {Path(notify.command[0]).name}"] = _run(notify.command, told, config)
    if notify.webhook is not None:
        found["webhook"] = _post(notify, told)
    return found


def _write_metrics(
    config: Config, metrics: Metrics, voice: Voice, db: sqlite3.Connection | None, last: LastRun
) -> None:
    try:
        text = metrics_text(db, config.sites, last)
    except (sqlite3.Error, ValueError) as error:
        voice.warn(f"the store cannot be read for the metrics: {type(error).__name__}", "metrics_failed")
        text = metrics_text(None, (), last)
    try:
        _write(metrics.file, text.encode(), _MODES[metrics.readable_by])
    except OSError as error:
        voice.warn(f"{metrics.file} cannot be written: {error.strerror}", "metrics_failed")


def _tell_people(config: Config, notify: Notify, voice: Voice, db: sqlite3.Connection | None, last: LastRun) -> None:
    word, memory = NOTIFIED_OF.get(last.exit_code, "failed"), _memory(config)
    known = _remembered(memory)
    if is_due(word, known.get(last.command), last.ended, notify):
        ways = send(config, notify, message_of(config, db, last))
        for way, trouble in ways.items():
            if trouble:
                voice.warn(f"nobody was told by {way}: {trouble}", "notification_failed")
            else:
                voice.note(f"told by {way}: {word}", "notification_sent", state=word)
        if all(ways.values()):
            return  # nobody has heard of it: the next run tries again
        known[last.command] = Told(word, last.ended)
    if word == RECOVERED:
        known.pop(last.command, None)
    _remember(memory, known, voice)


def _run(command: tuple[str, ...], told: Message, config: Config) -> str | None:
    """Run the command with the text on its standard input; what was wrong, None if it ended with 0.

    It sees none of the variables in which the config keeps secrets.
    """
    facts = {
        f"DM_FHIR_{name.upper()}": "" if value is None else str(value)
        for name, value in told.document.items()
        if name in _FACTS
    }
    inherited = {name: value for name, value in os.environ.items() if name not in _secret_variables(config)}
    environment = inherited | facts | {"DM_FHIR_SUBJECT": told.subject}
    seconds = _COMMAND_SECONDS_IF_INTERRUPTED if told.document["exit_code"] == _INTERRUPTED else _COMMAND_SECONDS
    quiet = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, env=environment,
            cwd=config.path.resolve().parent, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        return f"{command[0]} cannot be run: {error.strerror}"
    try:
        process.communicate(told.text.encode(), timeout=seconds)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            return f"it had not ended after {seconds} s"
        raise
    return f"it ended with {process.returncode}" if process.returncode else None


_FACTS = ("command", "state", "exit_code", "run")


def _post(notify: Notify, told: Message) -> str | None:
    from dm_fhir.fhir.webhook import post

    webhook, token = notify.webhook, notify.webhook_token
    try:
        address = webhook.read() if isinstance(webhook, Secret) else webhook or ""
        post(address, msgspec.json.encode(told.document), token.read() if token else None, notify.tls)
    except DmFhirError as error:
        return error.message
    return None


def _secret_variables(config: Config) -> set[str]:
    """The variables in which secrets are, and the one that says in which folder a service manager has put the others."""
    return {CREDENTIALS, *(one.place.partition(":")[2] for one in secrets_in(config) if one.file is None)}


def _memory(config: Config) -> Path:
    """What people were told is kept beside the store: the store itself may be what is wrong."""
    return config.store_path.with_name(config.store_path.name + ".told")


def _remembered(memory: Path) -> dict[str, Told]:
    try:
        return msgspec.json.decode(memory.read_bytes(), type=dict[str, Told])
    except (OSError, msgspec.MsgspecError):
        return {}


def _remember(memory: Path, known: dict[str, Told], voice: Voice) -> None:
    if known == _remembered(memory):
        return
    try:
        _write(memory, msgspec.json.encode(known), 0o600)
    except OSError as error:
        voice.warn(f"{memory} cannot be written: {error.strerror}; people may be told twice", "notification_failed")


def _write(path: Path, data: bytes, mode: int) -> None:
    """In one step: whoever reads it finds the old file or the new one, and may read it whatever the umask is."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
