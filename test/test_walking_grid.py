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
from medvial_training.tasks.gait.walking import read_video
from medvial_training.tasks.gait.walking.grid import grid

FIT = FitArgs(max_epochs=1, batch_size=4, mlflow=False, progress=False, accelerator="cpu")


@pytest.mark.slow
def test_a_grid_is_drawn_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(read_video, "_networks", lambda _: None)
    source = write_walks(tmp_path / "raw", patients=8)
    prepare(source, tmp_path / "data", walking=CONFIG, folds=FoldOptions(k=2), workers=1)
    options = {"fit": FIT, "depth": 18, "clip_s": (1.0,)}
    data, out = tmp_path / "data" / "walking", tmp_path / "grid"
    grid(data, out, networks=("compact_r2plus1d",), clip_frames=(4, 1), **options)
    rows = read_rows(out / "grid.csv")
    assert [row["cell"] for row in rows] == [
        *("compact_r2plus1d_1s_4", "compact_r2plus1d_1s_1"),
        *("single_frame_1s_4", "early_1s_4", "late_1s_4"),
    ]
    refused = [bool(row["refused"]) for row in rows]
    assert refused == [False, True, False, False, False]
    assert {row["patients"] for row in rows if not row["refused"]} == {"8"}
    assert (out / "grid.png").read_bytes().startswith(b"\x89PNG")
    assert "The best of many cells is too good" in (out / "grid.html").read_text()
    trained = (out / "early_1s_4" / "fold_1" / "walking.safetensors").stat().st_mtime_ns
    grid(data, out, networks=("compact_r2plus1d",), clip_frames=(4,), **options)
    assert (out / "early_1s_4" / "fold_1" / "walking.safetensors").stat().st_mtime_ns == trained
    assert len(read_rows(out / "grid.csv")) == 4


def test_a_mistake_is_told_and_not_kept(tmp_path):
    """Only a network that is too deep for its clips is left out of the grid."""
    data, out = tmp_path / "data", tmp_path / "grid"
    data.mkdir()
    config = dataclasses.asdict(dataclasses.replace(CONFIG, labels=("ASD", "ASD_not")))
    (data / "config.json").write_text(json.dumps(config))
    for _ in range(2):
        with pytest.raises(InputError, match=r"Expected the manifest .*folds\.csv"):
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
    figure = grid_module.grid_figure(table, "auroc", phantom=True)
    assert [axes.get_title() for axes in figure.axes] == ["resnet", "early fusion"]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["0.70\n0.60–0.80", "too short"]
    assert "PHANTOMS" in figure.get_suptitle()
