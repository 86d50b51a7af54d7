"""Every benchmark, or those that are named; see docs/performance.md.

python benchmarks/bench.py                      all of them, about a quarter of an hour; prints Markdown
python benchmarks/bench.py --quick              less of everything, about four minutes
python benchmarks/bench.py scanning store       these only; what was found of the others before is kept
python benchmarks/bench.py --save               also into benchmarks/results/published.json and docs/performance.md
python benchmarks/bench.py --page               runs nothing: writes docs/performance.md from published.json

What was found is written into benchmarks/results/latest.json after each part. The exit code is 1 where a part could not be run.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import msgspec
from given import Bench
from machine import commit, this_machine
from page import page
from processes import RunFailed
from results import Part, Results, merged, read_results, write_results

_HERE = Path(__file__).parent
_WORK = _HERE / "build"  # not the temporary folder: that may be memory, and a store must be on a disk
_RESULTS = _HERE / "results"
LATEST, PUBLISHED = _RESULTS / "latest.json", _RESULTS / "published.json"
_DOCS = _HERE.parent / "docs" / "performance.md"
LAST_RUN = "## The last run\n"
#: Each part and its module, in whose `measure` it is.
PARTS = {
    "reading": "reading",
    "pulling": "pulling",
    "pushing": "pushing",
    "mapping": "mapping",
    "scanning": "scanning",
    "store": "storing",
    "start-up": "starting",
    "growth": "growing",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for, print what was found, and return the exit code."""
    options = _options(arguments)
    if options.page:
        _write_page(read_results(PUBLISHED))
        return 0
    names, began = options.parts or list(PARTS), time.monotonic()
    fresh, failed = [], []
    for name in names:
        _say(began, f"{name} ({len(fresh) + len(failed) + 1} of {len(names)})")
        try:
            fresh.append(_run(name, options.quick, began))
        except (RunFailed, OSError, subprocess.CalledProcessError) as error:
            failed.append(name)
            _say(began, f"{name} could not be run: {error}")
            continue
        write_results(LATEST, _with(LATEST, fresh))
    _say(began, f"done; not run: {', '.join(failed)}" if failed else "done")
    if fresh:
        sys.stdout.write(page(Results(this_machine(_HERE), tuple(fresh))))
    if fresh and options.save:
        write_results(PUBLISHED, _with(PUBLISHED, fresh))
        _write_page(read_results(PUBLISHED))
    return 1 if failed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}; all where none is named")
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--save", action="store_true", help="publish what was found")
    parser.add_argument("--page", action="store_true", help="only write the page of what was published")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.parts if name not in PARTS]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return options


def _run(name: str, is_quick: bool, since: float) -> Part:
    """One part in a folder of its own, which goes away again."""
    shutil.rmtree(_WORK, ignore_errors=True)
    _WORK.mkdir()
    when, load, began = datetime.now(UTC), os.getloadavg()[0], time.monotonic()
    try:
        found = import_module(PARTS[name]).measure(Bench(_WORK, is_quick, lambda text: _say(since, f"  {text}")))
    finally:
        shutil.rmtree(_WORK, ignore_errors=True)
    seconds = round(time.monotonic() - began, 1)
    return Part(name, f"{when:%Y-%m-%d %H:%M}", commit(), round(load, 1), seconds, is_quick, found)


def _with(file: Path, fresh: Sequence[Part]) -> Results:
    """What the file holds of this machine, with the fresh parts in it."""
    try:
        before = read_results(file)
    except (FileNotFoundError, msgspec.ValidationError):
        before = None
    return merged(before, this_machine(_HERE), fresh, list(PARTS))


def _write_page(results: Results) -> None:
    kept, heading, _ = _DOCS.read_text(encoding="utf-8").partition(LAST_RUN)
    _DOCS.write_text(f"{kept}{heading}\n{page(results)}", encoding="utf-8")


def _say(since: float, text: str) -> None:
    minutes, seconds = divmod(int(time.monotonic() - since), 60)
    sys.stderr.write(f"{minutes:02d}:{seconds:02d} {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
