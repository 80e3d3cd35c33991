"""The model folder: sealed, verified, loaded."""

import json
import os

import pytest

from medvial.cldetection import Config
from medvial.errors import InputError
from medvial.models import MANIFEST, ModelFolder, load_network, onnx_options, sha256
from medvial.outputs import write_json


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"weights")
    ModelFolder.seal(tmp_path, task="cldetection", config={"height": 64})
    return tmp_path


def test_what_is_sealed_opens(folder):
    opened = ModelFolder.open(folder, task="cldetection")
    assert list(opened.manifest.files) == ["model.onnx"]
    assert opened.manifest.config == {"height": 64}


def test_an_altered_file_is_found(folder):
    (folder / "model.onnx").write_bytes(b"weighty")
    with pytest.raises(InputError, match=r"model\.onnx with sha256 .* the file was altered"):
        ModelFolder.open(folder, task="cldetection")


def test_a_missing_file_is_found(folder):
    (folder / "model.onnx").unlink()
    with pytest.raises(InputError, match=r"model\.onnx, which the manifest lists"):
        ModelFolder.open(folder, task="cldetection")


def test_an_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"manifest\.json at .*, got nothing\. Upload or mount"):
        ModelFolder.open(tmp_path / "none", task="cldetection")


def test_another_tasks_model_is_refused(folder):
    with pytest.raises(InputError, match=r"a model of gait in .*, got one of cldetection"):
        ModelFolder.open(folder, task="gait")


def test_a_model_may_have_subfolders(tmp_path):
    for name in ("fold_0/w.bin", "fold_0/manifest.json", "fold_0/.DS_Store", ".git/x", "w.part"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "fold_0").chmod(0o700)
    ModelFolder.seal(tmp_path, task="cldetection", config={})
    opened = ModelFolder.open(tmp_path, task="cldetection")
    assert list(opened.manifest.files) == ["fold_0/manifest.json", "fold_0/w.bin"]
    assert (tmp_path / "fold_0").stat().st_mode & 0o777 == 0o755
    (tmp_path / "fold_0" / "w.bin").write_text("other")
    with pytest.raises(InputError, match=r"fold_0/w\.bin with sha256 .* the file was altered"):
        ModelFolder.open(tmp_path, task="cldetection")


def rewrite(folder, **fields):
    """Change fields of a manifest."""
    write_json(folder / MANIFEST, json.loads((folder / MANIFEST).read_text()) | fields)


@pytest.mark.parametrize(
    "name",
    [
        *("../../etc/passwd", "sub/../../x", "sub/../model.onnx", "/etc/passwd", "//etc/passwd"),
        *("..", ".", "", "./model.onnx", "sub//x", "sub/"),
    ],
)
def test_a_manifest_cannot_point_outside(folder, name):
    rewrite(folder, files={name: "0"})
    with pytest.raises(InputError, match="plain file names"):
        ModelFolder.open(folder, task="cldetection")


@pytest.mark.parametrize(
    "fields",
    [
        *({"files": None}, {"files": ["model.onnx"]}, {"files": {"model.onnx": 5}}),
        *({"task": 3}, {"config": [1]}, {"training": None}, {"metrics": "x"}),
    ],
)
def test_a_manifest_of_other_types_is_refused(folder, fields):
    rewrite(folder, **fields)
    with pytest.raises(InputError, match=rf"manifest\.json, got others in {next(iter(fields))}\."):
        ModelFolder.open(folder, task="cldetection")


@pytest.mark.parametrize("content", ["[]", "3", "null", '{"files": {}}'])
def test_what_is_no_manifest_is_refused(folder, content):
    (folder / MANIFEST).write_text(content)
    with pytest.raises(InputError, match=r"fields of a manifest in .*manifest\.json"):
        ModelFolder.open(folder, task="cldetection")


def test_links_out_of_the_folder_are_refused(tmp_path):
    folder, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "w.bin").write_bytes(b"weights")
    (folder / "sub").symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(InputError, match=r"model/sub, which the manifest lists, got a folder"):
        ModelFolder.seal(folder, task="cldetection", config={})
    (folder / "sub").rename(folder / ".sub")
    ModelFolder.seal(folder, task="cldetection", config={})
    (folder / ".sub").rename(folder / "sub")
    rewrite(folder, files={"sub/w.bin": sha256(elsewhere / "w.bin")})
    with pytest.raises(InputError, match=r"sub/w\.bin in the model folder, got a link to"):
        ModelFolder.open(folder, task="cldetection")
    (folder / "sub").unlink()
    (folder / "again").symlink_to("again")
    with pytest.raises(InputError, match=r"again, which the manifest lists, got no such file"):
        ModelFolder.seal(folder, task="cldetection", config={})


def test_a_configuration_of_another_version_is_refused(folder):
    opened = ModelFolder.open(folder, task="cldetection")
    with pytest.raises(InputError, match=r"missing: \['architecture'"):
        opened.config(Config)


def test_files_that_no_backend_reads_are_named(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"")
    opened = ModelFolder.seal(tmp_path, task="cldetection", config={})
    with pytest.raises(InputError, match=r"Expected model\.onnx with ONNX Runtime, or"):
        load_network(opened, lambda: None)


def test_a_file_that_the_manifest_does_not_list_is_not_used(folder):
    rewrite(folder, files={})
    opened = ModelFolder.open(folder, task="cldetection")
    with pytest.raises(InputError, match=r"Expected model\.onnx with ONNX Runtime, or"):
        load_network(opened, lambda: None)
    with pytest.raises(InputError, match=r"Expected notes\.json in .*, got no such entry"):
        opened.read_json("notes.json")


def test_a_strict_umask_does_not_lock_the_container_out(tmp_path):
    old = os.umask(0o077)
    try:
        target = tmp_path / "model"
        target.mkdir()
        (target / "model.onnx").write_bytes(b"weights")
        ModelFolder.seal(target, task="cldetection", config={})
    finally:
        os.umask(old)
    assert target.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in target.iterdir()} == {0o644}


def test_an_unknown_backend_is_refused(folder, monkeypatch):
    monkeypatch.setenv("MEDVIAL_BACKEND", "tensorflow")
    with pytest.raises(InputError, match="onnx or torch, got 'tensorflow'"):
        load_network(ModelFolder.open(folder, task="cldetection"), lambda: None)


@pytest.mark.parametrize(("cores", "threads"), [({5}, 1), ({0, 2}, 2), ({0, 1, 2, 3}, 0)])
def test_a_network_takes_the_cores_that_it_may_use(monkeypatch, cores, threads):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    assert onnx_options().intra_op_num_threads == threads  # 0: as ONNX Runtime thinks best
