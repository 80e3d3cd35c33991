"""Folders that are replaced whole: nothing of anybody's is lost by it."""

import pytest

from medvial.errors import InputError
from medvial.models import ModelFolder
from medvial.outputs import check_replaceable, replace_folder
from medvial_training.exported import exported
from medvial_training.tasks.video.export import write_export


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path.parent


def test_what_lies_beside_the_target_stays(tmp_path):
    target = write(tmp_path / "model" / "a.txt", "old")
    part = write(tmp_path / "model.part" / "b.txt", "new")
    write(tmp_path / "model.old" / "mine.txt", "mine")
    replace_folder(part, target)
    assert sorted(p.name for p in tmp_path.rglob("*.txt")) == ["b.txt", "mine.txt"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "model.old"]


def test_the_old_folder_comes_back_where_there_is_no_new_one(tmp_path):
    target = write(tmp_path / "model" / "a.txt", "old")
    with pytest.raises(OSError, match="No such file"):
        replace_folder(tmp_path / "none", target)
    assert (target / "a.txt").read_text() == "old"


def test_only_model_folders_and_empty_ones_are_replaced(tmp_path):
    check_replaceable(tmp_path / "new")
    check_replaceable(tmp_path)
    check_replaceable(write(tmp_path / "model" / "manifest.json", "{}"))
    with pytest.raises(InputError, match="which would be replaced, got other files"):
        check_replaceable(tmp_path / "model" / "manifest.json")


@pytest.mark.parametrize("out", ["precious", "."])
def test_export_refuses_a_folder_of_other_things(tmp_path, monkeypatch, out):
    thesis = write(tmp_path / "precious" / "thesis.txt", "thesis") / "thesis.txt"
    monkeypatch.chdir(thesis.parent if out == "." else tmp_path)
    where = type(tmp_path)(out)
    with pytest.raises(InputError, match=f"at {thesis.parent}, which would be replaced"):
        write_export(tmp_path / "run", where, tmp_path / "data")
    assert [p.name for p in thesis.parent.iterdir()] == ["thesis.txt"]


def test_an_export_is_whole_or_not_there(tmp_path):
    source = write(tmp_path / "source" / "a.txt", "weights")
    ModelFolder.seal(source, task="any", config={}, training={}, metrics={})
    write(source / "notes.txt", "no part of the model")
    folder, target = ModelFolder.open(source, task="any"), tmp_path / "to" / "model"

    def export(text, error=None):
        with exported(folder, target) as part:
            assert [path.name for path in part.iterdir()] == ["a.txt"]
            write(part / "b.txt", text)
            if error:
                raise error
            ModelFolder.seal(part, task="any", config={}, training={}, metrics={})

    export("first")
    with pytest.raises(InputError, match="disagree"):
        export("second", InputError("they disagree"))
    assert (target / "b.txt").read_text() == "first"
    export("third")
    assert (target / "b.txt").read_text() == "third"
    assert [path.name for path in target.parent.iterdir()] == ["model"]
    (target / "manifest.json").unlink()
    with pytest.raises(InputError, match="which would be replaced, got other files"):
        export("fourth")
    assert (target / "b.txt").read_text() == "third"
