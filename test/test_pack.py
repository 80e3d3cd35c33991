"""Packing the model folder: the same content gives the same bytes."""

import logging
import os
import tarfile

import pytest

from medvial.errors import InputError
from medvial.models import ModelFolder
from medvial_rehearsal.archive.model_gates import ModelContext, check_model
from medvial_rehearsal.archive.pack import pack_model


def make_model(folder, *, mode=0o644):
    (folder / "sub").mkdir(parents=True)
    for name in ("b.onnx", "a", "sub/c"):
        (folder / name).write_text(name)
    ModelFolder.seal(folder, task="unheard_of", config={})
    for name in ("manifest.json", "b.onnx", "a", "sub/c"):
        (folder / name).chmod(mode)
        os.utime(folder / name, (mode, mode))
    return folder


def test_a_model_is_packed_without_the_hosts_traces(tmp_path):
    pack_model(make_model(tmp_path / "one"), tmp_path / "1.tar.gz")
    pack_model(make_model(tmp_path / "two", mode=0o600), tmp_path / "sub" / "2.tar.gz")
    assert (tmp_path / "1.tar.gz").read_bytes() == (tmp_path / "sub" / "2.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "1.tar.gz", "r:gz") as archive:
        members = archive.getmembers()
    assert [m.name for m in members] == ["./a", "./b.onnx", "./manifest.json", "./sub/c"]
    assert {(m.mode, m.uid, m.gid, m.mtime, m.uname) for m in members} == {(0o644, 0, 0, 0, "")}


def test_links_become_files(tmp_path):
    model = make_model(tmp_path / "model")
    (model / "link").symlink_to(model / "a")
    ModelFolder.seal(model, task="unheard_of", config={})
    pack_model(model, tmp_path / "m.tar.gz")
    with tarfile.open(tmp_path / "m.tar.gz") as archive:
        assert archive.getmember("./link").isfile()
        assert archive.extractfile("./link").read() == b"a"


def test_hidden_files_are_neither_sealed_nor_packed(tmp_path, caplog):
    """A desktop puts .DS_Store back: an archive that held it would never pass."""
    model = make_model(tmp_path / "model")
    for name in (".DS_Store", "sub/.DS_Store", ".cache/c"):
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).touch()
    sealed = ModelFolder.seal(model, task="unheard_of", config={})
    assert set(sealed.manifest.files) == {"a", "b.onnx", "sub/c"}
    with caplog.at_level(logging.WARNING):
        pack_model(model, tmp_path / "m.tar.gz")
    assert "does not list them: .DS_Store, .cache/c, sub/.DS_Store" in caplog.text
    outcomes = {
        outcome.gate: outcome for outcome in check_model(ModelContext(tmp_path / "m.tar.gz"))
    }
    assert outcomes["B4"].found == "a model of unheard_of: a, b.onnx, sub/c"


def test_what_the_platform_unpacks_opens(tmp_path):
    pack_model(make_model(tmp_path / "model"), tmp_path / "m.tar.gz")
    with tarfile.open(tmp_path / "m.tar.gz") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    opened = ModelFolder.open(tmp_path / "unpacked", task="unheard_of")
    assert (opened.path / "sub" / "c").read_text() == "sub/c"


def test_a_file_that_is_missing_or_elsewhere_is_not_packed(tmp_path):
    model = make_model(tmp_path / "model")
    (model / "sub" / "c").unlink()
    with pytest.raises(InputError, match=r"sub/c, which the manifest lists, got no such file"):
        pack_model(model, tmp_path / "m.tar.gz")
    (tmp_path / "c").write_text("sub/c")
    (model / "sub" / "c").symlink_to(tmp_path / "c")
    with pytest.raises(InputError, match=r"sub/c in the model folder, got a link to .*/c\."):
        pack_model(model, tmp_path / "m.tar.gz")
    assert not list(tmp_path.glob("m.tar.gz*"))


def test_what_is_no_model_folder_is_told(tmp_path):
    with pytest.raises(InputError, match=r"manifest\.json at .*: run step 4"):
        pack_model(tmp_path, tmp_path / "m.tar.gz")
    model = make_model(tmp_path / "model")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Expected to pack"):
        pack_model(model, tmp_path / "file" / "m.tar.gz")
    assert not list(tmp_path.glob("*.part"))
