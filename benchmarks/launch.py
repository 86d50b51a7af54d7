"""Starts one program, waits for its end, and writes what it took; small, since a program is charged with what its starter held.

python -I -S launch.py USAGE STDOUT STDERR PROGRAM [ARGUMENT …]
USAGE gets wall seconds, processor seconds, peak KiB and exit code.
"""

import os
import sys
import time

_WRITTEN = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def main(usage: str, out: str, err: str, *command: str) -> None:
    """The program inherits everything but its output."""
    into = [(os.POSIX_SPAWN_OPEN, stream, path, _WRITTEN, 0o600) for stream, path in ((1, out), (2, err))]
    began = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=into)
    _, status, used = os.wait4(pid, 0)
    wall = time.perf_counter() - began
    with open(usage, "w", encoding="ascii") as file:
        code = os.waitstatus_to_exitcode(status)
        file.write(f"{wall} {used.ru_utime + used.ru_stime} {used.ru_maxrss} {code}")


if __name__ == "__main__":
    main(*sys.argv[1:])
