"""Sites at work side by side, so many at a time; one that waits for its server gives its place to the next."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from dm_fhir.config import Site
from dm_fhir.fhir.budget import PATIENCE_SECONDS

_LOOK_EVERY_SECONDS = 0.2


def side_by_side(
    sites: Sequence[Site],
    one: Callable[[Site], None],
    most: int,
    heard: Callable[[str], float],
    look: Callable[[int], None],
) -> None:
    """Do `one` for each site, for `most` of them at a time. Raises what the first failure raised, and waits for no other then.

    `heard` says by the monotonic clock when the site's server was last heard of; where that is long ago the next site begins
    beside it. `look` is told now and then how many have ended. The threads are daemons: nobody waits for a server that hangs.
    """
    waiting, working, failures = deque(sites), dict[str, float](), list[BaseException]()
    changed = threading.Condition()

    def work(site: Site) -> None:
        try:
            one(site)
        except BaseException as error:  # noqa: BLE001  # it is raised again in the thread that waits
            failures.append(error)
        with changed:
            del working[site.name]
            changed.notify()

    def moving() -> int:
        since = time.monotonic() - PATIENCE_SECONDS
        return sum(max(begun, heard(name)) > since for name, begun in working.items())

    with changed:
        while (waiting or working) and not failures:
            while waiting and moving() < most:
                site = waiting.popleft()
                working[site.name] = time.monotonic()
                threading.Thread(target=work, args=(site,), daemon=True, name=site.name).start()
            look(len(sites) - len(waiting) - len(working))
            changed.wait(_LOOK_EVERY_SECONDS)
    if failures:
        raise failures[0]
    look(len(sites))
