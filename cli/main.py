"""The command `dm-fhir`: its global options, its commands by name, and how an error leaves the house.

A command's module is imported only when it runs, so that --help answers at once.
"""

import os
import signal
import sys
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from dm_fhir import __version__
from dm_fhir.cli.ending import ENDING, Ending

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: Every command: where it lives and what it does.
COMMANDS = {
    "demo": "The whole loop on invented patients, against a real FHIR server started on loopback.",
    "init": "Write a commented dm-fhir.toml.",
    "doctor": "What works at each site, what degrades, and what to ask the hospital for.",
    "keys": "Make a key pair for a login, and show what the hospital needs of it.",
    "pull": "Read the cohort from the servers, or from files, into the store.",
    "import": "Read scores kept in a spreadsheet or a REDCap export into the store.",
    "map": "The mapping tables: which code means what, what they do not know, what another table would change.",
    "compute": "Turn the store into cases and outcomes.",
    "push": "Write the outcomes onto the servers.",
    "sync": "Pull, compute and push under a lock: the line a scheduler runs.",
    "schedule": "The files by which systemd, cron or Kubernetes run the sync.",
    "backup": "Copy the store, also while a sync is writing it.",
    "restore": "Put a copy of the store back in its place.",
    "status": "What is complete until when, and what needs attention.",
    "runs": "Past runs: when, how long, how they ended.",
    "audit": "Who ran what, whose data was read, which resources were written, and when.",
    "failed": "Every query that is not complete, and the command that mends it.",
    "notify": "Try the way in which people are told how runs end.",
    "support-bundle": "What somebody who helps needs to know, in one file without anything of a patient.",
    "quarantine": "What was set aside: list it, look at it, acknowledge it.",
    "explain": "The way of one number, from the outcome back to the record it came from.",
    "findings": "What was unusual in the records, and how to mend it.",
    "validate": "Every fault of FHIR files, case series, mapping tables and configs, with its line.",
    "report": "An HTML page: patients, outcomes, the paper's sentences.",
    "export": "The case series out: one document, tables, a workbook, Parquet or FHIR; pseudonymised.",
    "merge": "The case series of many sites into one.",
}


#: The commands whose last line on stdout says how they ended, whatever happens.
_CLOSED = ("pull", "import", "compute", "push", "sync", "status", "failed")
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


class _Lazy(click.Group):
    """The commands, imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name.replace("-", "_")
        command: click.Command = import_module(f"dm_fhir.cli.{module}").command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Click's own would import every command to ask what it does."""
        from click.shell_completion import CompletionItem

        commands = [CompletionItem(name, help=does) for name, does in COMMANDS.items() if name.startswith(incomplete)]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "DM_FHIR", "max_content_width": 120},
)
@click.option(
    "--config", type=click.Path(path_type=Path), default=Path("dm-fhir.toml"), show_default=True,
    help="The study's config; also $DM_FHIR_CONFIG.",
)  # fmt: skip
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@click.option("-q", "--quiet", is_flag=True, help="Say only results, warnings and errors.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How stderr is written.",
)
@click.version_option(__version__, prog_name="dm-fhir")
@click.pass_context
def main(ctx: click.Context, config: Path, verbose: bool, quiet: bool, log_format: str) -> None:
    """From a hospital's FHIR R4 server to a dermatomyositis case series, its outcomes, and back.

    \b
    Begin with:       dm-fhir demo
    For your study:   dm-fhir init, then doctor, pull, compute, report
    On a schedule:    dm-fhir sync

    \b
    Exit codes: 0 complete, 1 failed, 2 usage or configuration, 3 partial, 4 server
    unavailable, 5 login refused, 7 conflict on push, 11 locked, 130 interrupted.
    """
    from dm_fhir.cli.voice import Voice

    voice = Voice(verbose=verbose, quiet=quiet, as_json=log_format == "json")
    ending = ctx.obj if isinstance(ctx.obj, Ending) else Ending()
    ending.voice = voice  # whoever says the last word wants to hear how
    ctx.meta[ENDING] = ending
    ctx.obj = (config, voice)


def run() -> NoReturn:
    """Run the command line and leave with its exit code. Whatever it makes is its user's alone, whichever library makes it."""
    os.umask(0o077)
    for number in _INTERRUPTS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # whoever started it in the background may want that
            signal.signal(number, _interrupt)
    code = call(sys.argv[1:])
    for number in _INTERRUPTS:  # all is done, and while Python takes itself down there is nobody left to hear them
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


def call(arguments: list[str]) -> int:
    """Run one command line inside this process and give its exit code; tests of tables use it too."""
    from dm_fhir.errors import DmFhirError, unexpected

    ending = Ending()
    try:
        code = main.main(arguments, prog_name="dm-fhir", standalone_mode=False, obj=ending)
    except click.ClickException as error:
        error = _misplaced(error)
        if not (ending.voice and ending.voice.as_json):
            error.show()
            return _ended(arguments, ending, error.exit_code, error.format_message())
        return _failed(arguments, ending, error.exit_code, error.format_message())
    except (click.Abort, KeyboardInterrupt):
        return _failed(arguments, ending, 130, "interrupted; what was finished is kept, continue with the same command")
    except DmFhirError as error:
        return _failed(arguments, ending, error.exit_code, str(error))
    except Exception as error:  # noqa: BLE001  # the last resort: a traceback's text and values may be a patient's
        internal = unexpected(error)
        return _failed(arguments, ending, internal.exit_code, internal.message, internal.frames)
    return code if isinstance(code, int) else 0


def _misplaced(error: click.ClickException) -> click.ClickException:
    """The same error; of an option of ours behind the command's name it says where it belongs."""
    if not isinstance(error, click.NoSuchOption) or not any(error.option_name in one.opts for one in main.params):
        return error
    name = error.option_name
    return click.UsageError(f"{name} goes before the command's name: dm-fhir {name} …", ctx=error.ctx)


def _failed(arguments: list[str], ending: Ending, exit_code: int, text: str, frames: tuple[str, ...] = ()) -> int:
    """Say why on stderr, in the way that was asked for."""
    from dm_fhir.cli.voice import Voice

    (ending.voice or Voice()).last_word(text, exit_code, list(frames))
    return _ended(arguments, ending, exit_code, text)


def _ended(arguments: list[str], ending: Ending, exit_code: int, text: str) -> int:
    """A command that could not do its work still has its last line, or its object for machines."""
    command, as_json = next((name for name in arguments if name in COMMANDS), ""), "--json" in arguments
    if as_json or command in _CLOSED:
        ending.close(command, exit_code, text, as_json=as_json)
    return exit_code


def _interrupt(_: int, __: FrameType | None) -> None:
    """The first signal ends what is under way; another one must not disturb that end, which takes but a moment."""
    for number in _INTERRUPTS:
        signal.signal(number, _heard_already)  # not ignored: a command that is started now would ignore it too
    raise KeyboardInterrupt


def _heard_already(_: int, __: FrameType | None) -> None:
    return


if __name__ == "__main__":
    run()
