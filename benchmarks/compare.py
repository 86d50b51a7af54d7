"""Which ratios became worse between two results, for somebody who has changed the code.

python benchmarks/compare.py                    the latest run against what is published
python benchmarks/compare.py BEFORE.json AFTER.json [--more-than 0.1]

Only ratios are compared, since they are worked out within one run. The exit code is 1 where one became worse by more than a tenth
(or `--more-than`), so a noisy hour shows too: run the part again before you believe it.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import LATEST, PUBLISHED
from page import said
from results import Ratio, Results, read_results


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each ratio that became worse, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", nargs="?", type=Path, default=PUBLISHED)
    parser.add_argument("after", nargs="?", type=Path, default=LATEST)
    parser.add_argument(
        "--more-than", type=float, default=0.1, metavar="SHARE", help="say nothing of less (default 0.1)"
    )
    options = parser.parse_args(arguments)
    lines = list(worse(read_results(options.before), read_results(options.after), options.more_than))
    sys.stdout.write("".join(f"{line}\n" for line in lines or ["nothing became worse"]))
    return 1 if lines else 0


def worse(before: Results, after: Results, more_than: float) -> Iterator[str]:
    """What of `before` became worse by more than that share, or is not there any more; of the parts that both have."""
    for part in after.parts:
        old_part = before.part(part.name)
        if old_part is None:
            continue
        if old_part.is_quick != part.is_quick:
            yield f"{part.name}: one was a quick run and one was not: not compared"
            continue
        new = {ratio.what: ratio for ratio in part.found.ratios}
        for old in old_part.found.ratios:
            if old.what not in new:
                yield f"{part.name}: {old.what}: was {said(old.value, old)}, is not there any more"
            elif loss(old, new[old.what]) > more_than:
                yield f"{part.name}: {old.what}: was {said(old.value, old)}, is {said(new[old.what].value, old)}"


def loss(before: Ratio, after: Ratio) -> float:
    """By which share of the former it is worse; below 0 where it is better."""
    change = after.value - before.value if before.better == "less" else before.value - after.value
    if not before.value:
        return float("inf") if change > 0 else 0.0
    return change / abs(before.value)


if __name__ == "__main__":
    sys.exit(main())
