"""A tiny grid of walking experiments."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from walking_data import CONFIG, read_rows, write_walks

from medvial.errors import InputError
from medvial_training.fit import FitArgs
from medvial_training.tasks.gait.prepare import prepare
from medvial_training.tasks.gait.systems import FoldOptions
from medvial_training.tasks.gait.walking import grid as grid_module
from medvial_training.tasks.gait.walking import grid_figure, read_video
from medvial_training.tasks.gait.walking.grid import grid

FIT = FitArgs(max_epochs=1, batch_size=4, mlflow=False, progress=False, accelerator="cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Walks of 2 s."""
    folder = tmp_path_factory.mktemp("grid")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read_video, "_networks", lambda _: None)
        source = write_walks(folder / "raw", patients=8)
        prepare(source, folder / "data", walking=CONFIG, folds=FoldOptions(k=2), workers=1)
    return folder / "data" / "walking"


def run(data, out, **options):
    options = {"networks": ("compact_r2plus1d",), "clip_s": (1.0,), "clip_frames": (4,)} | options
    grid(data, out, fit=FIT, fusions=False, **options)
    return read_rows(out / "grid.csv")


def test_a_grid_is_drawn_and_goes_on(data, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "medvial_training")
    weights = "compact_r2plus1d_1s_4/fold_1/walking.safetensors"
    monkeypatch.setattr(grid_module, "_scores", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path)
    monkeypatch.undo()
    trained = (tmp_path / weights).stat().st_mtime_ns
    rows = run(data, tmp_path, clip_s=(1.0, 3.0), clip_frames=(4, 1, 4))
    assert (tmp_path / weights).stat().st_mtime_ns == trained
    assert [row["cell"] for row in rows] == [
        *("compact_r2plus1d_1s_4", "compact_r2plus1d_1s_1"),
        *("compact_r2plus1d_3s_4", "compact_r2plus1d_3s_1"),
    ]
    assert rows[0]["patients"] == "8"
    assert 0 <= float(rows[0]["auroc_low"]) <= float(rows[0]["auroc"]) <= 1
    assert "Choose more or larger frames" in rows[1]["refused"]
    for row in rows[2:]:
        assert "Expected videos of 3 s or more" in row["refused"]
        assert (row["shorter_videos"], row["videos"], row["patients"]) == ("8", "8", "")
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "grid.html").read_text()
    assert "The best of many cells is too good" in page
    assert "Not possible. Expected videos of 3 s or more" in page
    assert f"1s_4: AUROC {float(rows[0]['auroc']):.3f} (95 %" in caplog.text
    assert "Not possible: Expected videos of 3 s or more" in caplog.text


def interrupted(*_):
    raise KeyboardInterrupt


def test_a_grid_has_the_cells_asked_for():
    cells = list(grid_module._cells(CONFIG, ("x3d", "s3d"), (2.0, 0.0), (8, 4), True))
    assert [cell.name for cell in cells] == [
        *("x3d_2s_8", "x3d_2s_4", "x3d_0s_8", "x3d_0s_4"),
        *("s3d_2s_8", "s3d_2s_4", "s3d_0s_8", "s3d_0s_4"),
        *("single_frame_2s_8", "early_2s_8", "late_2s_8"),
    ]
    assert (cells[-1].config.fusion, cells[-1].config.clip_s) == ("late", 2.0)


def test_a_grid_without_cells_is_refused(data, tmp_path):
    with pytest.raises(InputError, match="got no cell"):
        run(data, tmp_path, clip_s=())


@pytest.mark.parametrize(
    ("clip_s", "clip_frames", "different", "shorter"),
    [(1.0, 4, 4, 0), (1.0, 64, 8, 0), (1.95, 4, 4, 0), (4.0, 4, 3, 8), (0.0, 4, 4, 0)],
)
def test_what_the_videos_have_for_clips(data, clip_s, clip_frames, different, shorter):
    """Stored 8 times a second."""
    config = dataclasses.replace(CONFIG, clip_s=clip_s, clip_frames=clip_frames)
    seen = grid_module._seen(data, config)
    assert (seen.videos, seen.shorter, seen.frames) == (8, shorter, different)


def test_a_mistake_is_told_and_not_kept(tmp_path):
    """Only a network that is too deep for its clips is left out of the grid."""
    data, out = tmp_path / "data", tmp_path / "grid"
    data.mkdir()
    config = dataclasses.asdict(dataclasses.replace(CONFIG, labels=("ASD", "ASD_not")))
    (data / "config.json").write_text(json.dumps(config))
    for _ in range(2):
        with pytest.raises(InputError, match=r"Expected the manifest .*videos\.csv"):
            grid(data, out, networks=("compact_r2plus1d",), clip_frames=(4,), fit=FIT)
    assert not list(out.rglob("*.json"))


def test_the_picture_has_a_panel_a_network():
    table = pd.DataFrame(
        {
            "model": ["resnet", "resnet", "early fusion"],
            "clip_s": [1.0, 2.0, 1.0],
            "clip_frames": [8, 8, 8],
            "auroc": [0.7, np.nan, 0.6],
            "auroc_low": [0.6, np.nan, 0.5],
            "auroc_high": [0.8, np.nan, 0.7],
        }
    )
    figure = grid_figure.grid_figure(table, "auroc", phantom=True)
    assert [axes.get_title() for axes in figure.axes] == ["resnet", "early fusion"]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["0.70\n0.60–0.80", "not\npossible"]
    assert "PHANTOMS" in figure.get_suptitle()
    figure.canvas.draw()
    title = figure._suptitle.get_window_extent()
    assert figure.bbox.x0 <= title.x0
    assert title.x1 <= figure.bbox.x1
