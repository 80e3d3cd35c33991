"""The images, for real: built, run under the platform's limits, compared, exported."""

import hashlib
import json
import re
import shutil
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest
from synthetic import engine_answers

from medvial_rehearsal.archive.image import load_image, only_entry, read_archive

ROOT = Path(__file__).parent.parent
TASKS = sorted(p.parent.name for p in ROOT.glob("algorithms/*/process.py"))
BUDGET_MB = 300  # of the slim image as .tar.gz

SOCKETS = {
    "inputs": [{"slug": "case", "kind": "Anything", "relative_path": "case.json"}],
    "outputs": [{"slug": "report", "kind": "Anything", "relative_path": "sub/report.json"}],
}

pytestmark = pytest.mark.docker


def run(*command, cwd=ROOT, timeout=900):
    return subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=timeout
    )


@pytest.fixture(scope="module", autouse=True)
def engine():
    if not engine_answers():
        pytest.skip("no Docker engine answers")


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    """A repository with one task, `stub`, whose image does what its case asks."""
    root = tmp_path_factory.mktemp("repository")
    for name in ("build.sh", "test.sh", "export.sh", ".dockerignore"):
        shutil.copy(ROOT / name, root / name)
    (root / "setup.sh").touch()
    (root / ".venv").symlink_to(ROOT / ".venv")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "shared", root / "shared", ignore=ignore)
    folder = root / "algorithms" / "stub"
    (folder / "test" / "input").mkdir(parents=True)
    (folder / "model").mkdir()
    for name in ("Dockerfile", "common.sh"):
        shutil.copy(ROOT / "algorithms" / name, root / "algorithms" / name)
    shutil.copy(ROOT / "algorithms" / "cldetection" / "requirements.txt", folder)
    (folder / "sockets.json").write_text(json.dumps({"interfaces": [SOCKETS]}))
    shutil.copy(ROOT / "test" / "stub_process.py", folder / "process.py")
    (folder / "model" / "weights").write_text("w")
    sums = {"weights": hashlib.sha256(b"w").hexdigest()}
    manifest = {"task": "stub", "config": {}, "files": sums}
    (folder / "model" / "manifest.json").write_text(json.dumps(manifest))
    for path in root.rglob("*.py"):
        path.chmod(0o600)  # a clone made with a strict umask
    built = run(root / "build.sh", cwd="/")
    assert built.returncode == 0, built.stdout + built.stderr
    yield root
    run("docker", "image", "rm", "--force", "medvial-stub:latest")


@pytest.fixture
def rehearse(stub, tmp_path):
    """Run test.sh on a case; `expected` replaces parts of what the stub should report."""

    def rehearse_case(case=None, expected=None, options=(), **others):
        (tmp_path / "input").mkdir()
        (tmp_path / "input" / "case.json").write_text(json.dumps({"value": 1.25} | (case or {})))
        report = {"sub/report.json": REPORT | cgroup_limits() | (expected or {})} | others
        (tmp_path / "expected_output.json").write_text(json.dumps(report))
        return run(stub / "test.sh", "stub", "--test-dir", tmp_path, *options, cwd="/")

    return rehearse_case


REPORT = {
    "value": 1.25,
    "user": 1000,
    "home": "/home/algorithm",
    "writable": ["/tmp", "/output"],
    "network": False,
    "capabilities": "0" * 16,
    "no_new_privileges": "1",
    "shm_mib": 64,
    "data_gib": 7,
}


def cgroup_limits():
    return {"memory.max": 8 << 30, "pids.max": 256}


def left_behind(stub):
    return list((stub / "build").iterdir())


def test_an_image_runs_under_all_limits_of_the_platform(rehearse, stub):
    result = rehearse()
    assert result.returncode == 0, result.stdout + result.stderr
    assert "C15 passed the expected outputs, within the tolerances: sub/report.json: identical" in (
        words(result.stdout)
    )
    assert re.search(r"stub: passed; \d+\.\d s from docker run to the result", result.stdout)
    assert not left_behind(stub)


def test_a_difference_within_the_tolerance_passes_and_is_printed(rehearse):
    result = rehearse(expected={"value": 1.2495})
    assert result.returncode == 0, result.stdout + result.stderr
    assert "largest difference 0.0005 at value" in words(result.stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"expected": {"value": 2.0}}, "sub/report.json: value expected 2, got 1.25: off by 0.75"),
        ({"case": {"skip": 1}}, "sub/report.json was not produced"),
        ({"case": {"extra": ["more.json"]}}, "not declared: more.json"),
        ({"case": {"stderr": "careful\n"}}, "wrote to standard error: careful The platform shows"),
        ({"case": {"exit": 3}}, "exit code 3"),
        (
            {"model_sha256": "0" * 64},
            "expected_output.json was made with other weights Run step 4 again.",
        ),
    ],
)
def test_whatever_differs_fails(rehearse, stub, arguments, message):
    result = rehearse(**arguments)
    assert result.returncode == 1
    assert message in words(result.stdout)
    assert re.search(r"stub: FAILED after \d+\.\d s", result.stdout)
    work = kept(result)
    (log,) = work.glob("*-reference/stdout.txt")
    assert log.read_text() == "done\n"
    clear(work)


def words(text):
    """A table's text without its line breaks."""
    return " ".join(text.split())


def kept(result):
    """The folder with what a failed test wrote."""
    return Path(re.search(r"what the runs wrote is in (.*)", result.stdout)[1])


def clear(work):
    """Remove a kept run: folders that the image's user made are not the host's to remove."""
    command = ["docker", "run", "--rm", "--user", "0", "--entrypoint", "rm", "--volume"]
    run(*command, f"{work}:/work", "medvial-stub:latest", "-rf", "/work/00-reference/output")
    shutil.rmtree(work)


def containers():
    names = run("docker", "ps", "--all", "--format", "{{.Names}}").stdout.split()
    return [name for name in names if name.startswith("medvial-rehearse-")]


def test_a_container_that_hangs_is_killed_and_fails(rehearse):
    before = containers()
    started = time.monotonic()
    result = rehearse(case={"sleep": 300}, options=["--time-limit", 2])
    assert time.monotonic() - started < 60
    assert result.returncode == 1
    assert "C5 failed within the time limit still running after 2 s, and was killed" in (
        words(result.stdout)
    )
    assert set(containers()) <= set(before)
    clear(kept(result))


def test_a_stopped_test_leaves_no_container(stub, tmp_path):
    before = set(containers())
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "case.json").write_text('{"value": 1, "sleep": 300}')
    (tmp_path / "expected_output.json").write_text("{}")
    command = [str(stub / "test.sh"), "stub", "--test-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while set(containers()) <= before and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not set(containers()) <= before
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    assert set(containers()) <= before
    for work in left_behind(stub):
        clear(work)


def test_an_empty_model_folder_fails(stub, tmp_path):
    for name in ("input", "model"):
        (tmp_path / name).mkdir()
    (tmp_path / "input" / "case.json").write_text('{"value": 1}')
    (tmp_path / "expected_output.json").write_text('{"a": 1}')
    result = run(
        stub / "test.sh", "stub", "--test-dir", tmp_path, "--model", tmp_path / "model", cwd="/"
    )
    assert result.returncode == 1
    assert "InputError: Expected a model folder" in words(result.stdout)
    clear(kept(result))


def test_a_case_without_expected_output_is_told(stub, tmp_path):
    (tmp_path / "input").mkdir()
    result = run(stub / "test.sh", "stub", "--test-dir", tmp_path)
    assert result.returncode != 0
    assert "expected_output.json, found none: run step 4" in result.stderr


def test_a_missing_image_is_told(stub):
    result = run(stub / "test.sh", "stub", "--gpu")
    assert result.returncode != 0
    assert "Expected the image medvial-stub:gpu, found none: run build.sh first" in result.stderr


def saved_image(path):
    archive = read_archive(path)
    return load_image(archive, only_entry(archive))


def test_export_is_checked_and_the_same_twice(stub, tmp_path):
    archives = []
    for name in ("a", "b"):
        result = run(stub / "export.sh", "stub", "--no-build", "--out", tmp_path / name, cwd="/")
        assert result.returncode == 0, result.stdout + result.stderr
        found = sorted(p.name for p in (tmp_path / name).iterdir())
        assert found == ["model.tar.gz", "stub.cdx.json", "stub.tar.gz"]
        archives.append([(tmp_path / name / file).read_bytes() for file in found])
    assert archives[0] == archives[1]
    image = saved_image(tmp_path / "a" / "stub.tar.gz")
    assert image.tag == "medvial-stub:latest"
    manifest = image.manifest
    assert (manifest["task"], manifest["api_method"], manifest["gpu"]) == ("stub", "exec", False)
    assert manifest["resources"] == {"memory_gb": 8}
    assert hashlib.sha256(archives[0][2]).hexdigest() in result.stdout.replace("\n", "")
    (export,) = json.loads((stub / "export" / "ledger.json").read_text())["exports"]
    assert (export["image_id"], export["archive"]) == (image.image_id, "stub.tar.gz")
    assert image.tree.digest() == export["tree_sha256"]


def test_an_export_that_the_check_refuses_leaves_no_archive(stub, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(stub / "algorithms" / "stub" / "model", model)
    (model / "weights").write_text("other")
    out = tmp_path / "out"
    result = run(stub / "export.sh", "stub", "--no-build", "--model", model, "--out", out)
    assert result.returncode != 0
    assert "altered after it was sealed" in result.stdout
    assert result.stderr.endswith("out/model.tar.gz must not be uploaded\n")
    assert not list(out.glob("*.tar.gz"))


@pytest.fixture(scope="module", params=TASKS)
def task(request):
    """A real task with its image built."""
    built = run(ROOT / "build.sh", request.param)
    assert built.returncode == 0, built.stdout + built.stderr
    return request.param


def test_the_image_holds_what_it_needs_and_nothing_else(task):
    (found,) = json.loads(run("docker", "image", "inspect", f"medvial-{task}:latest").stdout)
    config = found["Config"]
    assert (found["Os"], found["Architecture"]) == ("linux", "amd64")
    assert config["User"] == "1000:1000"
    assert config["Entrypoint"] == ["python", "process.py"]
    assert config["WorkingDir"] == "/opt/app"
    assert config["Labels"]["org.grand-challenge.api-method"] == "exec"
    assert {"PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"} <= set(config["Env"])
    oci = "org.opencontainers.image"
    assert config["Labels"][f"{oci}.title"] == f"medvial-{task}"
    described = (ROOT / "algorithms" / task / "process.py").read_text().split("\n")[0]
    assert config["Labels"][f"{oci}.description"] == described.strip('"')
    commit = run("git", "log", "-1", "--format=%ct").stdout
    created = datetime.fromisoformat(config["Labels"][f"{oci}.created"])
    assert created.timestamp() <= int(commit)
    listing = run(
        "docker",
        "run",
        "--rm",
        "--network",
        "none",
        "--entrypoint",
        "find",
        f"medvial-{task}:latest",
        "/opt",
        "/home",
        "/input",
        "/output",
    ).stdout
    assert "/opt/app/process.py" in listing
    unwanted = r"app/.*(__pycache__|/test/)|\.safetensors$|\.pt$|/pip/|medvial_training|"
    unwanted += "site-packages/torch/"  # SciPy has a folder torch/ of its own
    assert not [line for line in listing.splitlines() if re.search(unwanted, line)]


def test_the_task_passes_in_its_container(task):
    result = run(ROOT / "test.sh", task)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"passed; [\d.]+ s", result.stdout)  # how long: benchmarks/container.py


def test_a_result_moved_beyond_its_tolerance_fails(task, tmp_path):
    shutil.copytree(ROOT / "algorithms" / task / "test", tmp_path / "test")
    path = tmp_path / "test" / "expected_output.json"
    expected = json.loads(path.read_text())
    path.write_text(
        re.sub(r"(\d+\.\d+)", lambda m: str(float(m[1]) + 5), json.dumps(expected), count=1)
    )
    result = run(ROOT / "test.sh", task, "--test-dir", tmp_path / "test")
    assert result.returncode == 1
    assert "off by 5, tolerance" in words(result.stdout)
    shutil.rmtree(kept(result), ignore_errors=True)


def test_the_export_of_a_task_is_within_its_budget(task, tmp_path):
    result = run(ROOT / "export.sh", task, "--no-build", "--out", tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    image = tmp_path / f"{task}.tar.gz"
    assert image.stat().st_size <= BUDGET_MB * 1e6
    assert saved_image(image).tag == f"medvial-{task}:latest"
    assert f"a model of {task}: " in result.stdout
    assert f"loads on the CPU: algorithms/{task}/process.py loads it" in result.stdout


@pytest.mark.slow
def test_a_second_build_gives_the_same_files(tmp_path):
    """From nothing, on no layer of the first one: only times may differ."""
    digests = []
    for name in ("first", "second"):
        image = f"medvial-test-tree:{name}"
        arguments = ["--platform", "linux/amd64", "--build-arg", f"TASK={TASKS[0]}"]
        arguments += ["--file", ROOT / "algorithms" / "Dockerfile", "--tag", image]
        network = [] if "bridge" in run("docker", "network", "ls").stdout else ["--network", "host"]
        built = run("docker", "build", "--no-cache", *arguments, *network, ROOT)
        assert built.returncode == 0, built.stdout + built.stderr
        assert run("docker", "save", image, "--output", tmp_path / name).returncode == 0
        run("docker", "image", "rm", image)
        digests.append(saved_image(tmp_path / name).tree.digest())
    assert digests[0] == digests[1]
