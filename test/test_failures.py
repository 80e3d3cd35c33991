"""What works on a desk and fails on the platform: a broken image each, and the gate that tells."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from synthetic import engine_answers

from medvial.models import ModelFolder
from medvial_rehearsal.container.plan import CASE, SERVER
from medvial_rehearsal.rehearse import rehearse

ROOT = Path(__file__).parent.parent
BASE = "medvial-cldetection:latest"
GOOD = "medvial-failures:latest"
GOOD_SERVER = "medvial-failures:invoke"
SOCKETS = {
    "interfaces": [
        {
            "inputs": [{"slug": "scan", "kind": "Image", "relative_path": "images/scan"}],
            "outputs": [
                {"slug": "bright-share", "kind": "Float", "relative_path": "bright-share.json"},
                {
                    "slug": "bright",
                    "kind": "Segmentation",
                    "relative_path": "images/bright",
                    "like": "scan",
                },
            ],
        }
    ]
}
DOCKERFILE = f"""
FROM {BASE}
USER 0
COPY . /opt/app/
RUN chmod -R a+rX /opt/app
USER 1000:1000
"""
INVOKE = "ENV MEDVIAL_API_METHOD=invoke\nLABEL org.grand-challenge.api-method=invoke"
SHARE = 0.25  # of the pixels is bright, by construction

pytestmark = pytest.mark.docker


def build(tag, dockerfile, folder=None):
    command = ["docker", "build", "--quiet", "--tag", tag, "--file", "-"]
    command.append(str(folder)) if folder else command.__setitem__(slice(-2, None), ["-"])
    result = subprocess.run(command, input=dockerfile, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return tag


@pytest.fixture(scope="module", autouse=True)
def engine():
    if not engine_answers():
        pytest.skip("no Docker engine answers")


@pytest.fixture(scope="module")
def good():
    """The image that does everything right; all others are one layer on it."""
    if subprocess.run(["docker", "image", "inspect", BASE], capture_output=True).returncode:
        subprocess.run([str(ROOT / "build.sh"), "cldetection"], check=True)
    yield GOOD
    names = subprocess.run(
        ["docker", "image", "ls", "--quiet", GOOD.split(":")[0]], capture_output=True, text=True
    ).stdout.split()
    subprocess.run(["docker", "image", "rm", "--force", *names], capture_output=True)


@pytest.fixture(scope="module")
def algorithm(good, tmp_path_factory):
    """An algorithm folder with a case, its model, and its good image."""
    root = tmp_path_factory.mktemp("rehearsal")
    context, folder = root / "context", root / "failures"
    ignore = shutil.ignore_patterns("__pycache__", "cldetection", "echonet")
    shutil.copytree(ROOT / "shared" / "medvial", context / "medvial", ignore=ignore)
    (folder / "model").mkdir(parents=True)
    for place in (context, folder):
        shutil.copy(ROOT / "test" / "stub_threshold.py", place / "process.py")
        (place / "sockets.json").write_text(json.dumps(SOCKETS))
    build(good, DOCKERFILE, context)
    build(GOOD_SERVER, f"FROM {good}\n{INVOKE}\n")
    (folder / "model" / "threshold.json").write_text("100")
    ModelFolder.seal(folder / "model", task="stub", config={})
    scan = folder / "test" / "input" / "images" / "scan"
    scan.mkdir(parents=True)
    pixels = np.zeros((3, 20, 30), np.uint8)  # (z, y, x)
    pixels[:, :10, :15] = 200
    pixels[0, 0, 0], pixels[1, 19, 0] = 0, 200  # no symmetry, the same share
    image = SimpleITK.GetImageFromArray(pixels)
    image.SetSpacing((0.5, 0.5, 1.0))
    SimpleITK.WriteImage(image, str(scan / "scan.mha"), True)
    z_y_x = np.argwhere(pixels > 100).mean(axis=0)
    described = {
        "size": [30, 20, 3],
        "spacing_mm": [0.5, 0.5, 1.0],
        "origin_mm": [0.0, 0.0, 0.0],
        "direction": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        "pixel_type": "uint8",
        "labels": {"0": 1350, "1": 450},
        "centroids": {"1": z_y_x[::-1].round(3).tolist()},
    }
    expected = {"bright-share.json": SHARE, "images/bright/output.mha": {"image": described}}
    (folder / "test" / "expected_output.json").write_text(json.dumps(expected))
    (folder / "test" / "tolerances.json").write_text('{"bright-share.json": {"": 0.001}}')
    return folder


@pytest.fixture
def ask(algorithm, tmp_path):
    """Ask single gates about the stub with a failure; gives what each found."""

    def ask_gates(failure, gates="", *, layer="", **options):
        tag = f"medvial-failures:{failure.replace(' ', '-').replace('/', '').lower()}"
        build(tag, f'FROM {GOOD}\nENV FAILURE="{failure}"\n{layer}\n') if failure else None
        path = tmp_path / "outcomes.json"
        image = tag if failure else GOOD
        code = rehearse(str(algorithm), image=image, only=(gates,), json=path, **options)
        outcomes = {o["gate"]: o for o in json.loads(path.read_text())}
        for outcome in outcomes.values():
            outcome["text"] = f"{outcome['found']} {outcome['mend']}"
        return code, outcomes

    return ask_gates


def test_the_good_images_pass_everything(algorithm, tmp_path):
    path = tmp_path / "outcomes.json"
    assert rehearse(str(algorithm), json=path) == 0
    outcomes = json.loads(path.read_text())
    assert {o["gate"] for o in outcomes} == {*CASE, *SERVER}
    # No videos.
    assert {o["gate"] for o in outcomes if o["status"] != "passed"} == {"E5", "E6"}
    assert not list((algorithm.parent / "build").iterdir())


@pytest.mark.parametrize(
    ("failure", "gate", "message"),
    [
        ("writes home", "C12", "writes outside of /output and /tmp"),
        ("downloads", "C13", "runs with a network only"),
        ("shared memory", "C9", "fails with 64 MB of /dev/shm, and runs with half of the memory"),
        ("any file", "C1", "inputs.json"),
        ("NaN", "D1", "NaN, which JSON does not have"),
        ("text", "D2", "'0.5' is not of type 'number'"),
        ("float mask", "D3", "as uint8, got float32"),
        (
            "no spacing",
            "D7",
            "bright is not like scan: spacing [1.0, 1.0, 1.0] instead of",
        ),
        ("two masks", "C2", "images/bright holds 2 images instead of one"),
        ("path from slug", "C2", "bright-share.json was not produced"),
        ("debug file", "C2", "not declared: debug.json"),
        ("only mha", "C10", "not enough values to unpack"),
        ("baked in /tmp", "C1", "No such file or directory: '/tmp/baked.json'"),
        ("swallowed", "E1", "exit code 0 and no output: a failure was swallowed"),
        ("swallowed", "E4", "a failure was swallowed"),
        ("any model", "B6", "damaged model: exit code 0 with bright-share.json"),
        ("stderr", "C3", "wrote to standard error: UserWarning: careful"),
        ("progress bar", "C4", "carriage returns, as progress bars write them"),
        ("latin-1", "C4", "standard output is not UTF-8 at byte 2"),
        ("long line", "C4", "a line of 70000 bytes"),
        ("key of inputs.json", "C14", "fails with socket: "),
        ("random", "C7", "bright-share.json: "),
        ("deaf", "E10", "still running 5 s after SIGTERM"),
    ],
)
def test_a_run_that_would_fail_there_fails_here(ask, failure, gate, message):
    layer = "USER 0\nRUN echo 1 > /tmp/baked.json\nUSER 1000" if "baked" in failure else ""
    code, outcomes = ask(failure, gate, layer=layer)
    assert (code, outcomes[gate]["status"]) == (1, "failed")
    assert message in outcomes[gate]["text"]
    assert outcomes[gate]["mend"]


def test_a_case_too_large_for_the_memory(ask):
    code, outcomes = ask("memory", "C6", memory=1.5)
    assert (code, outcomes["C6"]["status"]) == (1, "failed")
    assert "ran out of 1.5 GiB: exit code 1" in outcomes["C6"]["found"]
    assert "choose an instance with more memory" in outcomes["C6"]["mend"]


def test_a_case_that_takes_too_long(ask):
    code, outcomes = ask("slow", "C5", time_limit=3)
    assert (code, outcomes["C5"]["status"]) == (1, "failed")
    assert "still running after 3 s, and was killed" in outcomes["C5"]["found"]


def test_a_cuda_build_newer_than_the_platforms_driver(ask):
    site = "/opt/venv/lib/python3.11/site-packages/torch"
    version = "__version__ = \\'2.9.0\\'\\ncuda: str = \\'13.0\\'\\n"
    layer = f"USER 0\nRUN mkdir {site} && touch {site}/__init__.py && printf "
    layer += f'"{version}" > {site}/version.py\nUSER 1000'.replace("\\'", "'")
    code, outcomes = ask("cuda", "H1", layer=layer)
    assert (code, outcomes["H1"]["status"]) == (1, "failed")
    assert "PyTorch is built for CUDA 13.0" in outcomes["H1"]["found"]
    assert "CUDA 12.6 with sm_75" in outcomes["H1"]["mend"]


@pytest.mark.parametrize(("off", "status"), [(1e-8, "passed"), (0.1, "failed")])
def test_results_are_compared_with_tolerances(ask, algorithm, tmp_path, off, status):
    shutil.copytree(algorithm / "test", tmp_path / "test")
    path = tmp_path / "test" / "expected_output.json"
    expected = json.loads(path.read_text())
    path.write_text(json.dumps(expected | {"bright-share.json": SHARE + off}))
    _, outcomes = ask("", "C15", test_dir=tmp_path / "test")
    assert outcomes["C15"]["status"] == status
    if status == "failed":
        assert "expected 0.35, got 0.25: off by 0.1, tolerance" in outcomes["C15"]["found"]


@pytest.mark.parametrize(
    ("name", "layer", "message"),
    [
        ("workdir", "WORKDIR /home/algorithm", "can't open file '/home/algorithm/process.py'"),
        ("entrypoint", 'ENTRYPOINT ["./process"]', "Docker could not start"),
    ],
)
def test_an_entrypoint_that_does_not_start(ask, name, layer, message):
    code, outcomes = ask(name, "C1", layer=layer)
    assert (code, outcomes["C1"]["status"]) == (1, "failed")
    assert message in outcomes["C1"]["text"]


@pytest.mark.parametrize(
    ("failure", "gate", "message"),
    [
        ("status 200", "F5", "answered 200"),
        ("redirect", "F3", "/health redirects to /health/ with status 302"),
        ("other port", "F2", "listens on 0.0.0.0:8080"),
        ("other port", "F3", "/health did not answer 200 within 5 s"),
        ("case before", "F6", "mirrored in x: "),
        ("model in invoke", "F10", "reads /opt/ml/model in /invoke: 500"),
        ("grows", "F11", "MB in the second"),
        ("stderr", "F8", "wrote to standard error: UserWarning: careful"),
        ("swallowed", "F7", "answered 201 to an empty /input"),
    ],
)
def test_a_server_that_would_fail_there_fails_here(ask, failure, gate, message):
    limit = 5 if failure == "other port" else 60
    code, outcomes = ask(failure, gate, layer=INVOKE, health_limit=limit)
    assert (code, outcomes[gate]["status"]) == (1, "failed")
    assert message in outcomes[gate]["text"]
    assert outcomes[gate]["mend"]


def test_a_server_without_its_label_is_taken_for_a_command(ask):
    """As the platform does: it waits for an end that never comes."""
    layer = INVOKE.replace("method=invoke", "method=exec")
    layer = layer.replace("ENV MEDVIAL_API_METHOD=exec", "ENV MEDVIAL_API_METHOD=invoke")
    _, outcomes = ask("no label", "C5,F1", layer=layer, time_limit=3)
    assert outcomes["C5"]["status"] == "failed"
    assert "still running after 3 s" in outcomes["C5"]["found"]
    assert outcomes["F1"]["status"] == "not run"
