"""Commands that end together with all that they started."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from medvial_rehearsal.gates import GateFailure

_GRACE_S = 10.0  # from SIGTERM to SIGKILL: the client itself gives an algorithm 5 s


def run_within(
    limit_s: float, what: str, command: Sequence[str], *, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process group of its own, which is ended with it.

    Args:
        limit_s: Seconds that it may take.
        what: Its name in a message.
        command: Program and arguments.
        stdin: What it reads.

    Raises:
        GateFailure: It takes longer.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(stdin, timeout=limit_s)
        except subprocess.TimeoutExpired:
            _end_group(process)
            raise GateFailure(
                f"{what} was still running after {limit_s:g} s",
                "Make the cases faster, or give them more time as --time-limit.",
            ) from None
        except BaseException:
            _end_group(process)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _end_group(process: subprocess.Popen[str]) -> None:
    """End a process and those that it started: politely, then at once."""
    with suppress(ProcessLookupError):  # when none is left
        os.killpg(process.pid, signal.SIGTERM)
        end = time.monotonic() + _GRACE_S
        while time.monotonic() < end:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
