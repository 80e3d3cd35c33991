"""How a program runs where only its exit code and its last line are looked at."""

import io
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from medvial.errors import InputError

INTERRUPTED = 130  # a shell's exit code for Ctrl-C
GRACE_S = 3.0  # from SIGTERM to a hard end; the platform kills after 5
_MESSAGE_LIMIT = 2000  # characters; the platform drops lines of 64 KiB


class Stopped(SystemExit):
    """SIGTERM has come."""


def run_program(job: Callable[[], object], on_kill: Callable[[], object] = lambda: None) -> int:
    """Run a job as a program: logs on standard output, SIGTERM ends it.

    A failure becomes one line on standard error; so does `sys.exit` in the middle of a job, which
    would pass for success. On SIGTERM the job is left by `Stopped`; where it is deep in a library
    that does not come back, the process ends by itself after `GRACE_S`.

    Args:
        job: What the program does.
        on_kill: Removes what the job would have removed, when it does not get to it.

    Returns:
        The exit code: 0, or 1 after a failure, 130 after Ctrl-C.
    """
    use_utf8()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s", force=True)
    _end_on_sigterm(on_kill)
    try:
        job()
    except KeyboardInterrupt:
        print_reason("interrupted")
        return INTERRUPTED
    except Stopped:
        raise
    except (Exception, SystemExit) as error:
        print_reason(describe_failure(error))
        return 1
    return 0


def describe_failure(error: BaseException) -> str:
    """One line for the user; the traceback of a failure that is not the user's goes to the log."""
    if not isinstance(error, InputError):
        traceback.print_exception(error, file=sys.stdout)
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        text = f"{text} The case needs more memory than the container may use.".strip()
    return f"{type(error).__name__}: {text}"[:_MESSAGE_LIMIT]


def print_reason(line: str) -> None:
    """Print the one line that the platform shows its user."""
    sys.stdout.flush()
    print(line, file=sys.stderr, flush=True)


def use_utf8() -> None:
    """Write UTF-8 only: any other byte, as a file name may have, ends the platform's log reader."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _end_on_sigterm(on_kill: Callable[[], object]) -> None:
    """End on SIGTERM, which a process with the id 1 would otherwise ignore."""
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGTERM, _stop)
    # Python runs its handler only between two of its own instructions; the interpreter writes to
    # this pipe at once, even while the main thread is inside a library.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    _leave_out_children()
    threading.Thread(target=_kill_later, args=(reader, on_kill), daemon=True).start()


def _kill_later(reader: int, on_kill: Callable[[], object]) -> None:
    while signal.SIGTERM not in os.read(reader, 64):
        pass
    time.sleep(GRACE_S)
    with suppress(Exception):
        on_kill()
    os._exit(128 + signal.SIGTERM)


def _leave_out_children() -> None:
    """A forked child shares the pipe: ending a worker of a pool must not end this process too."""

    def forget() -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        unblock()

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=forget)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise Stopped(128 + number)
