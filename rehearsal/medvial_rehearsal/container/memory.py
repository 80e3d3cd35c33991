"""How much memory a container takes, watched from outside."""

import contextlib
import re
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

_CGROUPS = (  # cgroup 1 and 2, with Docker's own driver and with systemd's
    "/sys/fs/cgroup/memory/docker/{id}",
    "/sys/fs/cgroup/memory/system.slice/docker-{id}.scope",
    "/sys/fs/cgroup/docker/{id}",
    "/sys/fs/cgroup/system.slice/docker-{id}.scope",
)
_INTERVAL_S = 0.02
_STATS_INTERVAL_S = 0.5
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


@dataclass(frozen=True)
class Memory:
    """The most that a container took, in bytes."""

    peak: int
    """Anonymous and shared memory: what cannot be given back. 0 if it was never seen."""
    peak_with_cache: int = 0
    """The kernel's own high-water mark, with cached files; 0 where it is not known."""
    source: str = "not seen"
    """How `peak` was measured."""

    def __str__(self) -> str:
        text = f"{self.peak / 1e6:.0f} MB ({self.source}"
        if self.peak_with_cache:
            text += f"; {self.peak_with_cache / 1e6:.0f} MB with cached files"
        return text + ")"


def memory_in_use(container_id: str) -> int | None:
    """Anonymous and shared bytes of a container now; None where its cgroup cannot be seen."""
    folder = _cgroup(container_id)
    return _held(folder) if folder else None


class MemoryWatch:
    """Watch a container's memory in the background, from its start to its end.

    The numbers come from the container's cgroup every 20 ms. Where that is on another machine, as
    with Docker Desktop, `docker stats` is asked instead, about once in 2 s: short peaks are missed.
    """

    def __init__(self, container_id: str) -> None:
        self._id = container_id
        self._ended = threading.Event()
        self._memory = Memory(0)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> Memory:
        """End the watch and return what was seen."""
        self._ended.set()
        self._thread.join(timeout=10)
        return self._memory

    def _watch(self) -> None:
        misses = 0
        while not self._ended.is_set():
            folder = _cgroup(self._id)
            if folder:
                self._look(folder)
            elif not self._memory.peak:
                misses += 1
            if misses > 1 / _INTERVAL_S:  # not to be seen for a second
                self._ask_docker()
                self._ended.wait(_STATS_INTERVAL_S)
            self._ended.wait(_INTERVAL_S)

    def _look(self, folder: Path) -> None:
        held, mark = _held(folder), _high_water_mark(folder)
        if held is None:
            return
        old = self._memory
        self._memory = Memory(
            max(old.peak, held), max(old.peak_with_cache, mark), "its cgroup, every 20 ms"
        )

    def _ask_docker(self) -> None:
        command = ["docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", self._id]
        result = subprocess.run(command, capture_output=True, text=True)
        match = re.match(r"([\d.]+)(B|KiB|MiB|GiB)", result.stdout)
        if match:
            used = int(float(match[1]) * _UNITS[match[2]])
            self._memory = Memory(max(self._memory.peak, used), 0, "docker stats, every 2 s")


def _cgroup(container_id: str) -> Path | None:
    folders = (Path(pattern.format(id=container_id)) for pattern in _CGROUPS)
    return next((folder for folder in folders if (folder / "memory.stat").is_file()), None)


def _held(folder: Path) -> int | None:
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
    except OSError:  # it has just ended
        return None
    values = dict(line.split() for line in lines)
    anonymous = values.get("total_rss", values.get("anon", "0"))
    return int(anonymous) + int(values.get("total_shmem", values.get("shmem", "0")))


def _high_water_mark(folder: Path) -> int:
    for name in ("memory.max_usage_in_bytes", "memory.peak"):
        with contextlib.suppress(OSError, ValueError):
            return int((folder / name).read_text())
    return 0
