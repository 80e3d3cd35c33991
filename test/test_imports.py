"""The import rule: algorithms -> shared <- training, shared <- rehearsal."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"medvial_training", "medvial_rehearsal"}
VIDEO = {"av", "pydicom", "gdcm"}
VIDEO_MODULES = re.compile(r"video|.+_cine|dicom.*")  # for them, and imported by their users only
HEAVY = {"lightning", "pandas", "matplotlib", "sklearn", "mlflow", "jsonargparse"}
TORCH_ALLOWED = re.compile(
    r"model|torch_network|unet|r2plus1d|gradient_network|(image|pytorchvideo)_networks"
)


def imports(path):
    """Names of all modules a file imports anywhere, and of those at its top level."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {"all": set(), "top": set()}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        found["all"].update(names)
        if node in tree.body:
            found["top"].update(names)
    return found


def files(folder):
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found
    return [pytest.param(p, id=str(p.relative_to(ROOT))) for p in found]


@pytest.mark.parametrize("path", files("shared"))
def test_shared_stands_alone(path):
    roots = {name.split(".")[0] for name in imports(path)["all"]}
    assert not roots & (OURS | HEAVY)
    if not VIDEO_MODULES.fullmatch(path.stem):
        assert not roots & VIDEO
    if not TORCH_ALLOWED.fullmatch(path.stem):
        top = {name.split(".")[0] for name in imports(path)["top"]}
        assert not top & {"torch", "torchvision", "pytorchvideo", "safetensors", "onnxruntime"}


@pytest.mark.parametrize("path", files("algorithms"))
def test_algorithms_use_shared_only(path):
    assert not OURS & {name.split(".")[0] for name in imports(path)["all"]}


@pytest.mark.parametrize("path", files("rehearsal"))
def test_rehearsal_uses_shared_only(path):
    roots = {name.split(".")[0] for name in imports(path)["all"]}
    assert not roots & ({"medvial_training", "torch", "torchvision", "scipy"} | HEAVY)


@pytest.mark.parametrize("path", files("training"))
def test_training_does_not_use_rehearsal(path):
    assert "medvial_rehearsal" not in {name.split(".")[0] for name in imports(path)["all"]}


@pytest.mark.parametrize("path", files("shared"))
def test_tasks_do_not_import_each_other(path):
    tasks = {p.name for p in (ROOT / "algorithms").iterdir() if (p / "process.py").is_file()}
    parts = path.relative_to(ROOT / "shared" / "medvial").parts
    own = parts[0] if parts[0] in tasks else None
    for name in imports(path)["all"]:
        pieces = name.split(".")
        if pieces[0] == "medvial" and len(pieces) > 1 and pieces[1] in tasks:
            assert pieces[1] == own


def test_the_container_program_starts_without_torch_and_video_readers():
    process = ROOT / "algorithms" / "cldetection" / "process.py"
    code = (
        "import sys, runpy; "
        "sys.modules.update(dict.fromkeys(('torch', 'av', 'pydicom', 'SimpleITK', 'scipy'))); "
        f"runpy.run_path({str(process)!r}, run_name='not_main')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
