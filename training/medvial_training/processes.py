"""Processes that work for this one."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of processes that end with this one, also where it is killed.

    They start fresh, since threads of libraries do not survive a fork.

    Args:
        workers: Number of processes.
    """
    context = get_context("forkserver")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """Watch the parent: a worker waits for work at a queue that its death does not close."""
    Thread(target=_watch, name="parent", daemon=True).start()


def _watch() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
