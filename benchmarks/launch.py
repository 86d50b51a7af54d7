"""Starts one program, waits for its end, and writes what it took; small, since a program is charged with what its starter held.

python -I -S launch.py USAGE STDOUT STDERR PROGRAM [ARGUMENT …]
USAGE gets wall seconds, processor seconds, peak KiB and exit code; also of what it started and did not wait for.
"""

import ctypes
import os
import sys
import time

_WRITTEN = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
_PR_SET_CHILD_SUBREAPER = 36  # of Linux: whoever loses its starter becomes ours


def main(usage: str, out: str, err: str, *command: str) -> None:
    """The program inherits everything but its output."""
    into = [(os.POSIX_SPAWN_OPEN, stream, path, _WRITTEN, 0o600) for stream, path in ((1, out), (2, err))]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=into)
    _, status, used = os.wait4(pid, 0)
    wall = time.perf_counter() - began
    seconds, peak_kib = used.ru_utime + used.ru_stime, used.ru_maxrss
    try:
        while True:
            _, _, more = os.wait4(-1, 0)
            seconds, peak_kib = seconds + more.ru_utime + more.ru_stime, max(peak_kib, more.ru_maxrss)
    except ChildProcessError:
        pass
    with open(usage, "w", encoding="ascii") as file:
        file.write(f"{wall} {seconds} {peak_kib} {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
