"""Phantom echocardiograms: exact volumes, EchoNet-Dynamic's layout, every kind of file."""

import csv
import json

import cv2
import numpy as np
import pytest

from medvial.echonet.beats import find_beats
from medvial.echonet.volumes import disk_volume
from medvial.errors import InputError
from medvial.video import open_cine
from medvial_training.phantoms import echonet
from medvial_training.phantoms.echo_files import write_avi, write_dicom, write_mha, write_mp4
from medvial_training.phantoms.echo_heart import sample_heart
from medvial_training.phantoms.echo_screen import on_screen
from medvial_training.phantoms.echonet import make_cine, write_echonet


def test_volumes_from_the_true_masks():
    for seed in range(8):
        cine = make_cine(seed, frames=60, rhythm="sinus", draw=False)
        found = [disk_volume(cine.masks[k], spacing_cm=cine.spacing_cm) for k in cine.traced]
        exact = [cine.edv_ml, cine.esv_ml]
        assert [d.volume for d in found] == pytest.approx(exact, rel=0.03)
        assert [d.area_length for d in found] == pytest.approx(exact, rel=0.03)
        ef = 100 * (1 - found[1].volume / found[0].volume)
        assert ef == pytest.approx(cine.ef_percent, abs=1.5)


@pytest.mark.parametrize(("fps", "rate"), [(25, 45), (25, 110), (50, 75), (50, 170), (80, 120)])
def test_beats_and_ejection_fraction_from_the_true_masks(fps, rate):
    cine = make_cine(
        3, frames=round(3.2 * fps), fps=fps, heart_rate_bpm=rate, rhythm="sinus", draw=False
    )
    volumes = np.array([disk_volume(m, spacing_cm=cine.spacing_cm).volume for m in cine.masks])
    beats = find_beats(volumes, fps)
    inner = [k for k in cine.es_frames if 3 <= k < len(volumes) - 3]
    near = max(2, 0.08 * fps)
    assert all(min(abs(b.es - k) for b in beats) <= near for k in inner)
    ef = np.mean([100 * (1 - volumes[b.es] / volumes[b.ed]) for b in beats if b.complete])
    assert ef == pytest.approx(cine.ef_percent, abs=1.5)


def test_asked_for_is_what_is_drawn():
    cine = make_cine(
        5, height=96, width=120, frames=40, fps=40, edv_ml=120, ef_percent=35, rhythm="sinus"
    )
    assert cine.frames.shape == cine.masks.shape == (40, 96, 120)
    assert cine.frames.dtype == np.uint8
    assert cine.volumes_ml.max() == pytest.approx(120, rel=0.01)
    assert cine.ef_percent == pytest.approx(35, abs=1)


def test_same_seed_same_cine():
    first, again, other = (make_cine(seed, frames=3) for seed in (4, 4, 6))
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.masks, again.masks)
    assert (first.frames != other.frames).any()


def test_cavity_is_darker_than_the_wall_around_it():
    darker = 0
    for seed in range(10):
        cine = make_cine(seed, frames=2)
        mask = cine.masks[0].astype(np.uint8)
        ring = cv2.dilate(mask, np.ones((9, 9), np.uint8)) > cv2.dilate(mask, np.ones((3, 3)))
        darker += cine.frames[0][mask > 0].mean() + 15 < cine.frames[0][ring].mean()
    assert darker >= 9


def test_intensities_are_those_of_echonet_dynamic():
    frames = np.stack([make_cine(seed, frames=1).frames for seed in range(70)]).astype(float)
    assert frames.mean() == pytest.approx(32.5, abs=4)
    assert frames.std() == pytest.approx(50, abs=5)


def test_speckle_moves_with_the_heart():
    """Two end-diastoles look alike, end-diastole and end-systole do not."""
    cine = make_cine(11, frames=120, fps=50, heart_rate_bpm=60, rhythm="sinus")
    ed, es = cine.ed_frames[:2], cine.es_frames[0]
    first, second, small = (cine.frames[k].astype(float).ravel() for k in (*ed, es))
    assert np.corrcoef(first, second)[0, 1] > 0.9
    assert np.corrcoef(first, small)[0, 1] < np.corrcoef(first, second)[0, 1] - 0.05


def test_population():
    rng = np.random.default_rng(1)
    hearts = [sample_heart(rng) for _ in range(4000)]
    ef = np.array([heart.ef_percent for heart in hearts])
    edv = np.array([heart.edv_ml for heart in hearts])
    assert ef.mean() == pytest.approx(55.8, abs=1)
    assert ef.std() == pytest.approx(12.4, abs=1)
    assert (ef < 50).mean() == pytest.approx(0.224, abs=0.03)
    assert edv.mean() == pytest.approx(91, abs=4)
    assert np.corrcoef(ef, edv)[0, 1] == pytest.approx(-0.53, abs=0.06)


def test_rhythms_differ():
    spread = {}
    for rhythm in ("sinus", "atrial fibrillation", "ectopic"):
        cine = make_cine(2, frames=600, fps=50, heart_rate_bpm=80, rhythm=rhythm, draw=False)
        spread[rhythm] = np.std(np.diff(cine.es_frames)) / np.mean(np.diff(cine.es_frames))
    assert spread["sinus"] < 0.06 < 0.1 < min(spread["atrial fibrillation"], spread["ectopic"])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"height": 40}, "at least 64 x 64 pixels"),
        ({"fps": 1000}, "5 to 300 frames a second"),
        ({"ef_percent": 120}, "ejection fraction of 0 to 90 %"),
        ({"rhythm": "waltz"}, "one of the rhythms sinus"),
    ],
)
def test_unusable_arguments_are_refused(bad, message):
    with pytest.raises(InputError, match=message):
        make_cine(1, frames=2, **bad)


@pytest.fixture(scope="module")
def phantom_set(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantoms") / "set"
    write_echonet(out, count=3, seed=2, mean_frames=28, workers=2)
    return out


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_set_has_the_layout_of_echonet_dynamic(phantom_set):
    names = sorted(str(p.relative_to(phantom_set)) for p in phantom_set.rglob("*.*"))
    videos = [f"Videos/0XPHANTOM{n:05d}.avi" for n in (1, 2, 3)]
    assert names == [
        *("FileList.csv", "PHANTOM.json", "PhantomTruth.csv"),
        *videos,
        "VolumeTracings.csv",
    ]
    marker = json.loads((phantom_set / "PHANTOM.json").read_text(encoding="utf-8"))
    assert marker["phantom"] is True
    assert "nothing about clinical accuracy" in marker["description"]
    rows = table(phantom_set / "FileList.csv")
    assert {row["Split"] for row in rows} == {"TRAIN", "VAL", "TEST"}
    for row in rows:
        edv, esv, ef = (float(row[key]) for key in ("EDV", "ESV", "EF"))
        assert ef == pytest.approx(100 * (edv - esv) / edv, abs=1e-9)
        with open_cine(phantom_set / "Videos" / f"{row['FileName']}.avi") as cine:
            assert cine.info.fps == pytest.approx(float(row["FPS"]), rel=1e-6)
            assert sum(1 for _ in cine) == int(row["NumberOfFrames"])


def test_tracings_give_the_listed_volumes(phantom_set):
    spacing = {
        row["FileName"]: float(row["SpacingCm"]) for row in table(phantom_set / "PhantomTruth.csv")
    }
    lines = table(phantom_set / "VolumeTracings.csv")
    assert list(lines[0]) == ["FileName", "X1", "Y1", "X2", "Y2", "Frame"]
    for row in table(phantom_set / "FileList.csv"):
        name = row["FileName"]
        own = [line for line in lines if line["FileName"] == f"{name}.avi"]
        assert len(own) == 42
        found = []
        for part in (own[:21], own[21:]):
            assert len({line["Frame"] for line in part}) == 1
            ends = np.array([[float(line[k]) for k in ("X1", "Y1", "X2", "Y2")] for line in part])
            polygon = np.concatenate([ends[1:, :2], ends[:0:-1, 2:]])
            mask = np.zeros((112, 112), np.uint8)
            cv2.fillPoly(mask, [np.rint(polygon).astype(np.int32)], 1)
            length = np.hypot(*(ends[0, 2:] - ends[0, :2])) * spacing[name]
            area = cv2.contourArea(polygon.astype(np.float32)) * spacing[name] ** 2
            found.append(8 * area**2 / (3 * np.pi * length))
        assert max(found) == pytest.approx(float(row["EDV"]), rel=0.03)
        assert min(found) == pytest.approx(float(row["ESV"]), rel=0.03)


def test_same_seed_same_files(phantom_set, tmp_path):
    arguments = ["--out", str(tmp_path), "--count", "3", "--seed", "2", "--mean_frames", "28"]
    assert echonet.main([*arguments, "--workers", "1"]) == 0
    for path in (p for p in phantom_set.rglob("*.*")):
        again = tmp_path / path.relative_to(phantom_set)
        assert again.read_bytes() == path.read_bytes(), path.name


def test_no_videos_is_refused(tmp_path, capsys):
    assert echonet.main(["--out", str(tmp_path), "--count", "0"]) == 1
    assert "at least one video" in capsys.readouterr().err


@pytest.fixture(scope="module")
def small_cine():
    return make_cine(9, height=96, width=128, frames=6, fps=40)


@pytest.mark.parametrize("compression", ["none", "jpeg"])
def test_dicom_of_a_whole_screen(small_cine, tmp_path, compression):
    screen = on_screen(small_cine)
    write_dicom(
        tmp_path / "screen.dcm",
        screen.frames,
        small_cine.fps,
        spacing_cm=small_cine.spacing_cm,
        region=screen.region,
        ecg=screen.ecg,
        heart_rate_bpm=70,
        compression=compression,
    )
    with open_cine(tmp_path / "screen.dcm") as cine:
        info, frames = cine.info, np.stack(list(cine))
    assert info.fps == pytest.approx(40)
    assert info.heart_rate_bpm == 70
    assert info.spacing_mm == pytest.approx((10 * small_cine.spacing_cm,) * 2)
    x0, y0, x1, y1 = info.region
    assert (y1 - y0, x1 - x0) == (96, 128)
    drawn = frames[:, y0:y1, x0:x1].astype(float).reshape(6, 96, 128, -1).mean(axis=-1)
    assert np.abs(drawn - small_cine.frames).mean() < (0.01 if compression == "none" else 4)


def test_image_stack_and_videos(small_cine, tmp_path):
    write_mha(tmp_path / "a.mha", small_cine.frames, small_cine.fps, small_cine.spacing_cm)
    write_mp4(tmp_path / "a.mp4", small_cine.frames, small_cine.fps)
    write_avi(tmp_path / "a.avi", small_cine.frames, small_cine.fps)
    for name, error in (("a.mha", 0.001), ("a.mp4", 5), ("a.avi", 3)):
        with open_cine(tmp_path / name) as cine:
            frames = np.stack(list(cine)).astype(float)
            assert cine.info.fps == pytest.approx(40, rel=0.01)
        assert (
            np.abs(frames.reshape(6, 96, 128, -1).mean(axis=-1) - small_cine.frames).mean() < error
        )


def test_odd_sides_are_refused_for_mp4(tmp_path):
    with pytest.raises(InputError, match="even sides for MP4, got 65 x 64"):
        write_mp4(tmp_path / "a.mp4", np.zeros((2, 64, 65), np.uint8), 50)
