"""Packing the model folder: the same content gives the same bytes."""

import os
import tarfile

import pytest

from medvial.errors import InputError
from medvial_rehearsal.archive.pack import pack_model


def make_model(folder, *, mode=0o644):
    (folder / "sub").mkdir(parents=True)
    for name in ("manifest.json", "b.onnx", "a", "sub/c"):
        (folder / name).write_text(name)
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
    pack_model(model, tmp_path / "m.tar.gz")
    with tarfile.open(tmp_path / "m.tar.gz") as archive:
        assert archive.getmember("./link").isfile()
        assert archive.extractfile("./link").read() == b"a"


def test_what_is_no_model_folder_is_told(tmp_path):
    with pytest.raises(InputError, match=r"manifest\.json at .*: run step 4"):
        pack_model(tmp_path, tmp_path / "m.tar.gz")
    model = make_model(tmp_path / "model")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="Expected to pack"):
        pack_model(model, tmp_path / "file" / "m.tar.gz")
    assert not list(tmp_path.glob("*.part"))
