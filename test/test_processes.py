"""Worker processes and what becomes of them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PARENT = """
import os
from medvial_training.processes import worker_pool

if __name__ == "__main__":
    pool = worker_pool(2)
    tasks = [pool.submit(os.getpid) for _ in range(8)]
    print(*{task.result() for task in tasks}, flush=True)
    pool.submit(__import__("time").sleep, 60).result()
"""


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert workers
        assert parent.pid not in workers
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        end = time.monotonic() + 10
        while any(map(is_running, workers)) and time.monotonic() < end:
            time.sleep(0.05)
        left = [pid for pid in workers if is_running(pid)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left
