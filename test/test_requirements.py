"""The lock files agree, so that the container runs what training was checked with."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCKS = sorted(ROOT.glob("algorithms/*/requirements*.txt"))
PIN = re.compile(r"^([a-z0-9._-]+)==([^ \\;]+)(?: ; (.+?))? \\$", re.MULTILINE)
LOCK_OF_GAIT = ROOT / "algorithms" / "gait" / "requirements-gpu.txt"


def pins(path):
    """Version by (package, environment marker)."""
    found = {(name, marker): version for name, version, marker in PIN.findall(path.read_text())}
    assert found, path
    return found


@pytest.mark.parametrize("path", LOCKS, ids=lambda p: str(p.relative_to(ROOT)))
def test_an_image_holds_the_versions_of_the_root_lock(path):
    root = {}
    for (name, _), version in pins(ROOT / "requirements.txt").items():
        root.setdefault(name, set()).add(version)
    for (name, _), version in pins(path).items():
        assert version in root[name], f"{name}=={version}, {sorted(root[name])} in the root lock"


@pytest.mark.parametrize("path", LOCKS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_pin_has_a_hash_and_every_wish_a_pin(path):
    text = path.read_text()
    for block in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in block, block
    wishes = re.findall(r"^([a-zA-Z0-9._-]+)", path.with_suffix(".in").read_text(), re.MULTILINE)
    assert {w.lower() for w in wishes} <= {name for name, _ in pins(path)}
    assert not re.search(r"https?://|/(home|root|tmp|work)/", text)


@pytest.mark.parametrize("task", sorted({p.parent for p in LOCKS}), ids=lambda p: p.name)
def test_the_slim_image_has_no_torch_and_the_other_cuda_12_6(task):
    slim = {name for name, _ in pins(task / "requirements.txt")}
    assert "onnxruntime" in slim
    assert not slim & {"torch", "triton"}
    gpu = {name: version for (name, _), version in pins(task / "requirements-gpu.txt").items()}
    assert gpu["torch"].startswith("2.7.1")
    assert gpu["nvidia-cuda-runtime-cu12"].startswith("12.6.")


def test_the_gpu_image_of_gait_serves_forests_too():
    """A model folder of the kinematic kind has an ONNX file alone."""
    assert "onnxruntime" in {name for name, _ in pins(LOCK_OF_GAIT)}
