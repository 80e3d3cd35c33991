"""A container program for the tests: reports what it may do, and misbehaves as its case asks."""

import json
import os
import resource
import socket
import sys
import time
from pathlib import Path

CGROUP = ("/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids")
LIMITS = ("memory.max", "memory.limit_in_bytes", "pids.max")


def writable(folder):
    probe = Path(folder, "probe")
    try:
        probe.write_text("")
    except OSError:
        return False
    probe.unlink()
    return True


def reaches_network():
    try:
        socket.create_connection(("1.1.1.1", 53), timeout=2).close()
    except OSError:
        return False
    return True


def limits():
    values = {}
    for name in LIMITS:
        for folder in CGROUP:
            path = Path(folder, name)
            if path.is_file():
                values[name.replace("limit_in_bytes", "max")] = int(path.read_text())
    return values


def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(field + ":"))


def main():
    case = json.loads(Path("/input/case.json").read_text())
    if not Path("/opt/ml/model/manifest.json").is_file():
        sys.exit("InputError: Expected a model folder")
    shm = os.statvfs("/dev/shm")
    report = {
        "value": case["value"],
        "user": os.getuid(),
        "home": os.environ["HOME"],
        "writable": [
            p
            for p in ("/", "/opt/app", "/input", "/opt/ml/model", "/tmp", "/output")
            if writable(p)
        ],
        "network": reaches_network(),
        "capabilities": status("CapEff"),
        "no_new_privileges": status("NoNewPrivs"),
        "shm_mib": shm.f_blocks * shm.f_frsize >> 20,
        "data_gib": resource.getrlimit(resource.RLIMIT_DATA)[0] >> 30,
        **limits(),
    }
    folder = Path("/output/sub")
    folder.mkdir(mode=0o700)  # not for the host's user to remove
    if "skip" not in case:
        (folder / "report.json").write_text(json.dumps(report))
    for name in case.get("extra", []):
        Path("/output", name).write_text("1")
    time.sleep(case.get("sleep", 0))
    print(case.get("stderr", ""), end="", file=sys.stderr)
    print("done")
    sys.exit(case.get("exit", 0))


if __name__ == "__main__":
    main()
