"""The training engine on several processes: torchrun on one host, on two, and after a failure."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow  # each process imports Lightning

TOY = Path(__file__).parent / "toy_training.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TOLERANCE = 1e-5  # of weights around 1: sums of single precision in another order


def command(run, *options, processes=1, launcher=()):
    start = [sys.executable]
    if processes > 1 or launcher:
        start += ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
        start += launcher or ["--standalone"]
    return [*map(str, start), str(TOY), str(run), *options]


def train(run, *options, environment=None, **launch):
    result = subprocess.run(
        command(run, *options, **launch),
        env=ENVIRONMENT | (environment or {}),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result


def last(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=False)


def rows(run):
    header, *lines = (run / "log.csv").read_text().splitlines()
    return [
        dict(zip(header.split(","), map(float, line.split(",")), strict=True)) for line in lines
    ]


def assert_close(run, other, tolerance):
    one, two = last(run), last(other)
    for key in ("state_dict", "current_model_state"):
        for name, value in one[key].items():
            torch.testing.assert_close(two[key][name], value, rtol=0, atol=tolerance)
    for row, other_row in zip(rows(run), rows(other), strict=True):
        assert row == pytest.approx(other_row, abs=20 * tolerance)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    train(folder / "alone")
    return folder / "alone"


@pytest.fixture(scope="module")
def pair(alone):
    run = alone.parent / "pair"
    train(run, "batch_size=4", processes=2)
    return run


def test_two_processes_end_as_one_with_the_same_global_batch(alone, pair):
    assert_close(alone, pair, TOLERANCE)


def test_each_validation_sample_counts_once(pair):
    for row in rows(pair):
        assert row["valid/count"] == 7  # 4 and 3: unequal numbers of samples
        assert row["valid/indices"] == sum(range(7))


def test_the_longer_share_may_have_a_batch_more(alone):
    run = alone.parent / "unequal"
    train(run, "batch_size=3", "max_epochs=1", processes=2)  # 4 and 3: two batches and one
    assert rows(run)[0]["valid/count"] == 7


def test_lightning_starts_the_processes_where_nobody_else_did(alone, pair):
    run = alone.parent / "own"
    train(run, "batch_size=4", "devices=2")
    assert_close(pair, run, 0)


def test_torchrun_goes_on_after_a_process_was_killed(pair):
    run = pair.parent / "killed"
    result = train(
        run,
        "batch_size=4",
        processes=2,
        launcher=["--standalone", "--max-restarts=2"],
        environment={"TOY_DIES": "1,2"},
    )
    assert "Restored all states from the checkpoint" in result.stderr
    assert_close(pair, run, 0)


def test_a_run_of_two_processes_resumes_on_one(alone):
    run = alone.parent / "fewer"
    result = subprocess.run(
        command(run, "batch_size=4", processes=2),
        env=ENVIRONMENT | {"TOY_DIES": "0,2"},
        capture_output=True,
        timeout=240,
    )
    assert result.returncode
    assert last(run)["epoch"] == 1
    train(run, "--resume", "batch_size=8")
    assert_close(alone, run, TOLERANCE)


def test_all_processes_stop_at_the_same_epoch(alone):
    run = alone.parent / "early"
    options = ("batch_size=4", "max_epochs=30", "patience=1", "learning_rate=1e-12")
    train(run, *options, "ema_decay=0", processes=2)
    assert len(rows(run)) == 2


def test_sigterm_to_torchrun_ends_all(alone):
    run = alone.parent / "terminated"
    process = subprocess.Popen(
        command(run, "batch_size=4", "max_epochs=100000", "patience=100000", processes=2),
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)  # or they wait for each other: there are epochs for hours
    assert process.returncode != 0
    assert last(run)["epoch"] >= 0


HOSTS = ("medvial-host0", "medvial-host1")


def ip(*arguments, check=True):
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)


@pytest.fixture
def hosts():
    """Two network namespaces, joined by a cable."""
    if os.geteuid() or ip("netns", "add", HOSTS[0], check=False).returncode:
        pytest.skip("needs root and ip netns")
    try:
        ip("netns", "add", HOSTS[1])
        ip("link", "add", "mv0", "netns", HOSTS[0], "type", "veth",
           "peer", "name", "mv1", "netns", HOSTS[1])  # fmt: skip
        for number, host in enumerate(HOSTS):
            inside = ("-n", host)
            ip(*inside, "addr", "add", f"10.77.0.{number + 1}/24", "dev", f"mv{number}")
            ip(*inside, "link", "set", f"mv{number}", "up")
            ip(*inside, "link", "set", "lo", "up")
        yield HOSTS
    finally:
        for host in HOSTS:
            ip("netns", "del", host, check=False)


def test_two_hosts_end_as_one(hosts, alone, pair):
    run = alone.parent / "hosts"
    started = []
    for number, host in enumerate(hosts):
        launcher = ["--nnodes=2", f"--node-rank={number}"]
        launcher += ["--master-addr=10.77.0.1", "--master-port=29511"]
        line = command(run, "batch_size=4", processes=1, launcher=launcher)
        environment = ENVIRONMENT | {"GLOO_SOCKET_IFNAME": f"mv{number}"}
        started.append(
            subprocess.Popen(
                ["ip", "netns", "exec", host, *line],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    said = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert_close(alone, run, TOLERANCE)
    assert_close(pair, run, 0)
