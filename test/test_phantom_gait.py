"""Phantoms of gait: exact joints, people as published, scores by the item's rule, every file."""

import colorsys
import csv
import json
from collections import Counter, defaultdict

import numpy as np
import pytest

from medvial.errors import InputError
from medvial.gait.openpose import read_openpose
from medvial.gait.skeletons import BODY_25, clean
from medvial.video import open_cine
from medvial_training.phantoms import gait
from medvial_training.phantoms.gait import (
    make_leg_agility,
    make_walker,
    write_leg_agility,
    write_walking,
)
from medvial_training.phantoms.gait_agility import (
    SCORE_SHARES,
    rule,
    sample_scores,
    sample_trial,
)
from medvial_training.phantoms.gait_files import (
    write_openpose_folder,
    write_openpose_zip,
    write_video,
)
from medvial_training.phantoms.gait_walk import sample_walker

JOINT = BODY_25.indices


def joint(joints, name):
    return joints[:, JOINT[name]]


def forwards(phantom):
    return 1 if phantom.facing == "right" else -1


@pytest.mark.parametrize(("seed", "asd"), [(1, True), (2, False), (3, True), (4, False), (5, True)])
def test_walk_from_the_joints(seed, asd):
    """Cadence, step length and trunk angle are those that were asked for."""
    phantom = make_walker(seed, asd, fps=100, clip_s=8, height=180, width=1280, draw=False)
    joints, walker = phantom.joints_m, phantom.walker
    heels = {side: joint(joints, f"{side}_heel")[:, 0] for side in ("left", "right")}
    apart = forwards(phantom) * (heels["right"] - heels["left"])
    contacts = {}
    for side, sign in (("right", 1), ("left", -1)):
        ahead = sign * apart
        peaks = (
            (ahead[1:-1] > ahead[:-2])
            & (ahead[1:-1] >= ahead[2:])
            & (ahead[1:-1] > 0.5 * ahead.max())
        )
        contacts[side] = (np.flatnonzero(peaks) + 1) / phantom.fps
    strides = np.concatenate([np.diff(times) for times in contacts.values()])
    assert 120 / strides.mean() == pytest.approx(phantom.cadence, rel=0.01)
    for side, times in contacts.items():
        truth = phantom.contacts_s[side]
        assert all(abs(truth - time).min() < 0.1 * strides.mean() for time in times[1:-1])
    hip = joint(joints, "mid_hip")
    way = abs(hip[-1, 0] - hip[0, 0])
    steps = phantom.cadence / 60 * (len(hip) - 1) / phantom.fps
    assert way / steps == pytest.approx(walker.step_m, rel=0.05)
    trunk = joint(joints, "neck") - hip
    angle = np.degrees(np.arctan2(forwards(phantom) * trunk[:, 0], trunk[:, 1]))
    assert angle.mean() == pytest.approx(walker.trunk_deg, abs=0.6)


def test_joints_in_pixels_are_those_in_metres():
    phantom = make_walker(7, True, draw=False)
    for name in ("mid_hip", "neck"):  # in the middle of the body, where pixels per metre are given
        metres, pixels = joint(phantom.joints_m, name), joint(phantom.patient.joints_px, name)
        np.testing.assert_allclose(
            np.diff(pixels, axis=0), phantom.px_per_m * np.diff(metres[:, :2], axis=0) * (1, -1),
            atol=0.35,
        )  # fmt: skip


def test_a_standing_foot_stands():
    """Toes that carry slide by less than a tenth of the hip's way, and no foot is in the floor."""
    for seed in range(8):
        phantom = make_walker(seed, bool(seed % 2), fps=50, clip_s=4, draw=False)
        times, cycle_s = np.arange(len(phantom.joints_m)) / 50, 120 / phantom.cadence
        hip = joint(phantom.joints_m, "mid_hip")[:, 0]
        for side, contacts in phantom.contacts_s.items():
            toe = joint(phantom.joints_m, f"{side}_big_toe")
            for contact in contacts[contacts < times[-1] - cycle_s / 2]:
                stance = (times > contact + 0.12 * cycle_s) & (times < contact + 0.48 * cycle_s)
                assert np.ptp(toe[stance, 0]) < 0.1 * np.ptp(hip[stance])
                assert toe[stance, 1].max() < 0.04
        assert phantom.joints_m[..., 1].min() > -0.02


def test_boxes_hold_the_joints_and_what_is_drawn():
    phantom = make_walker(11, False, bystander=False, height=240, width=426)
    seen = phantom.patient.visible > 0.99
    assert seen.any()
    box, joints = phantom.patient.boxes_px[seen], phantom.patient.joints_px[seen]
    assert (joints >= box[:, None, :2] - 1).all()
    assert (joints <= box[:, None, 2:] + 1).all()
    # The picture changes where the person is, and little elsewhere.
    frames = phantom.frames.astype(float).mean(axis=-1)
    change = np.abs(frames - np.median(frames, axis=0))
    frame = int(np.flatnonzero(seen)[0])
    x0, y0, x1, y1 = phantom.patient.boxes_px[frame].astype(int)
    inside = change[frame, y0:y1, x0:x1].mean()
    outside = change[frame, : y0 - 2].mean()
    assert inside > 3 * outside


def test_people_come_and_go():
    kinds = {"enters": 0, "leaves": 0, "inside": 0, "company": 0}
    for seed in range(40):
        phantom = make_walker(seed, True, draw=False, fps=5)
        visible = phantom.patient.visible
        assert visible.max() > 0.9
        kinds["enters"] += visible[0] < 0.5
        kinds["leaves"] += visible[-1] < 0.5
        kinds["inside"] += visible.min() > 0.99
        kinds["company"] += phantom.bystander is not None
        hidden = np.isnan(phantom.patient.boxes_px).any(axis=1)
        np.testing.assert_array_equal(hidden, visible == 0)
    assert min(kinds.values()) >= 4


def test_population():
    rng = np.random.default_rng(1)
    asd = [sample_walker(rng, True) for _ in range(2000)]
    other = [sample_walker(rng, False) for _ in range(2000)]
    for walkers, speed, step, trunk in ((asd, 0.9, 0.58, 12), (other, 1.15, 0.62, 6)):
        assert np.mean([w.speed_m_s for w in walkers]) == pytest.approx(speed, abs=0.04)
        assert np.mean([w.step_m for w in walkers]) == pytest.approx(step, abs=0.02)
        assert np.mean([w.trunk_deg for w in walkers]) == pytest.approx(trunk, abs=1)
    assert {w.disease for w in other} == {"control", "DHS", "LCS", "HipOA"}
    necks = {d: np.mean([w.neck_deg for w in other if w.disease == d]) for d in ("DHS", "control")}
    assert necks["DHS"] > necks["control"] + 30


def test_same_seed_same_video():
    first, again, other = (make_walker(seed, True, clip_s=0.3) for seed in (4, 4, 6))
    np.testing.assert_array_equal(first.frames, again.frames)
    assert (first.frames != other.frames).any()
    visits = [make_walker(4, True, video=k, clip_s=0.3, draw=False) for k in (1, 2)]
    assert visits[0].walker == visits[1].walker
    assert visits[0].look == visits[1].look
    assert visits[0].joints_m[0, 0, 0] != visits[1].joints_m[0, 0, 0]


def redness(phantom, part):
    """Red against blue of the shirt, or of the upper half of the room."""
    if part == "clothes":
        return phantom.look.shirt[0] - phantom.look.shirt[2]
    wall = phantom.frames[0, :20].astype(float).mean(axis=(0, 1))
    return wall[0] - wall[2]


@pytest.mark.parametrize("part", ["clothes", "background"])
def test_only_a_shortcut_gives_the_label_away(part):
    labels = np.arange(40) % 2 == 0
    found = {}
    for shortcut in ("none", part):
        options = {"shortcut": shortcut, "draw": part == "background", "bystander": False}
        people = [
            make_walker([3, k], bool(label), clip_s=0.05, height=90, width=160, **options)
            for k, label in enumerate(labels)
        ]
        colours = [redness(phantom, part) for phantom in people]
        found[shortcut] = np.corrcoef(colours, labels)[0, 1]
    assert found[part] > 0.8
    assert abs(found["none"]) < 0.35


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"height": 40}, "at least 64 x 64 pixels"),
        ({"fps": 1000}, "5 to 240 frames a second"),
        ({"shortcut_share": 2}, "share of 0 to 1"),
    ],
)
def test_unusable_arguments_are_refused(bad, message):
    with pytest.raises(InputError, match=message):
        make_walker(1, True, **bad)
    with pytest.raises(InputError, match="score of 0 to 4, got 7"):
        make_leg_agility(1, 7, None)
    with pytest.raises(InputError, match=r"limp of 0 to 0\.5"):
        sample_walker(np.random.default_rng(1), True, limp=3.0)


@pytest.mark.parametrize(
    ("criteria", "score"),
    [
        ((0, 0, 0, 0), 0),
        ((1, 0, 0, 0), 1),
        ((2, 0, 0, 0), 1),
        ((3, 0, 0, 0), 2),
        ((5, 0, 0, 0), 2),
        ((6, 0, 0, 0), 3),
        ((1, 1, 0, 0), 3),
        ((0, 0, 2, 0), 2),
        ((2, 0, 0, 3), 3),
    ],
)
def test_rule_of_the_item(criteria, score):
    assert rule(*criteria) == score


@pytest.mark.parametrize("score", [0, 1, 2, 3])
def test_trials_show_their_score(score):
    """Interruptions, slowing and decrement read from the taps give the score by the rule."""
    rng = np.random.default_rng(score)
    for _ in range(60):
        trial = sample_trial(rng, score)
        levels = (trial.slowing_level, trial.decrement_level)
        assert rule(trial.interruptions, trial.arrests, *levels) == score
        assert len(trial.peaks_s) == 10
        ends, begins = (trial.peaks_s + k * trial.durations_s / 2 for k in (1, -1))
        gaps = begins[1:] - ends[:-1]
        assert (gaps > 0.3).sum() == trial.interruptions
        assert (gaps > 1.2).sum() == trial.arrests
        rate = 1 / trial.durations_s.mean()
        assert rate == pytest.approx(2 * (1, 0.82, 0.62, 0.4)[trial.slowing_level], rel=0.25)
        falls = trial.amplitudes_deg[-1] < 0.8 * trial.amplitudes_deg[:1].mean()
        assert falls == (trial.decrement_level > 0)


def test_score_4_can_barely_do_it():
    trial = sample_trial(np.random.default_rng(1), 4)
    assert 2 <= len(trial.peaks_s) <= 5
    assert trial.amplitudes_deg.max() < 7


def test_scores_have_the_shares_of_the_source():
    scores = sample_scores(np.random.default_rng(1), 200)
    for leg in (0, 1):
        shares = np.bincount(scores[:, leg], minlength=5) / 200
        np.testing.assert_allclose(shares, SCORE_SHARES, atol=0.006)
    assert 0.4 < np.corrcoef(scores.T)[0, 1] < 0.9


def test_knees_rise_with_the_taps():
    phantom = make_leg_agility(5, 1, 0, second_person=False)
    for leg in ("left", "right"):
        trial = phantom.trials[leg]
        knee = -joint(phantom.joints_px, f"{leg}_knee")[:, 1]
        during = slice(round(trial.start_s * 30), round(trial.end_s * 30))
        assert np.corrcoef(knee[during], phantom.elevation_deg[leg][during])[0, 1] > 0.97
        other = phantom.trials["right" if leg == "left" else "left"]
        assert trial.end_s < other.start_s or other.end_s < trial.start_s
        top = np.rint(trial.peaks_s * 30).astype(int)
        assert phantom.elevation_deg[leg][top] == pytest.approx(trial.amplitudes_deg, rel=0.06)


def test_what_is_found_is_near_what_is_there():
    phantom = make_leg_agility(8, 0, 2, second_person=True)
    found = [k for k, place in enumerate(phantom.patient) if place >= 0]
    own = np.stack([phantom.people[k][phantom.patient[k]] for k in found])
    there = own[..., 2] > 0
    error = np.hypot(*np.moveaxis(own[..., :2] - phantom.joints_px[found], -1, 0))[there]
    assert np.sqrt((error**2).mean() / 2) == pytest.approx(1.5, rel=0.05)
    assert 0.01 < 1 - there.mean() < 0.06
    assert {len(people) for people in phantom.people} >= {1, 2}
    assert set(phantom.patient[found]) == {0, 1}


def test_unrated_leg_stays_down():
    phantom = make_leg_agility(3, None, 1)
    assert phantom.trials["left"] is None
    assert phantom.elevation_deg["left"].max() == 0


def test_another_size_shows_the_same_recording():
    large = make_leg_agility(2, 1, 1)
    small = make_leg_agility(2, 1, 1, height=480, width=270)
    np.testing.assert_allclose(small.joints_px * 2, large.joints_px, atol=1.01)


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_openpose_files_round_trip(tmp_path, form):
    phantom = make_leg_agility(8, 4, None, second_person=True)
    path = tmp_path / ("a_LA_1.zip" if form == "zip" else "a_LA_1Json")
    write = write_openpose_zip if form == "zip" else write_openpose_folder
    write(path, "a_LA_1", phantom.people)
    people = read_openpose(path)
    assert people.skeleton.name == "BODY_25"
    np.testing.assert_array_equal(people.frames, np.arange(len(phantom.people)))
    assert people.counts.tolist() == [len(expected) for expected in phantom.people]
    for frame, expected in enumerate(phantom.people):
        for one in clean(expected):  # the reader may have them in another order
            found = (np.allclose(one, p, atol=6e-4, equal_nan=True) for p in people.points[frame])
            assert any(found)


def test_film_of_a_recording():
    phantom = make_leg_agility(4, None, None, height=240, width=136)
    frames = np.stack(list(phantom.film()))
    assert frames.shape == (len(phantom.people), 240, 136, 3)
    assert frames.dtype == np.uint8


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def walking_set(tmp_path_factory):
    out = tmp_path_factory.mktemp("walking")
    write_walking(out, 7, seed=3, clip_s=0.4, height=90, width=160)
    return out


def test_walking_set(walking_set):
    names = sorted(path.name for path in walking_set.iterdir())
    tables = ["PhantomFrames.csv", "PhantomJoints.npz", "PhantomTruth.csv", "labels.csv", "videos"]
    assert names == ["PHANTOM.json", *tables]
    marker = json.loads((walking_set / "PHANTOM.json").read_text(encoding="utf-8"))
    assert marker["phantom"] is True
    assert "nothing about clinical accuracy" in marker["description"]
    rows, truth = (table(walking_set / name) for name in ("labels.csv", "PhantomTruth.csv"))
    assert [row["video"] for row in rows] == [row["video"] for row in truth]
    joints = np.load(walking_set / "PhantomJoints.npz")
    for row, exact in zip(rows, truth, strict=True):
        assert (row["label"] == "ASD") == (row["disease"] == "ASD")
        with open_cine(walking_set / "videos" / row["video"]) as cine:
            assert cine.info.fps == pytest.approx({"A": 30, "B": 25, "C": 50}[row["site"]])
            count = sum(1 for _ in cine)
        assert joints[row["video"].removesuffix(".mp4")].shape == (count, 25, 2)
        assert int(exact["frames"]) == count
        boxes = [b for b in table(walking_set / "PhantomFrames.csv") if b["video"] == row["video"]]
        assert [int(b["frame"]) for b in boxes] == list(range(count))


def test_patients_are_groups(walking_set):
    """Two to four videos a patient, of one label, one site and one body."""
    rows = table(walking_set / "labels.csv")
    truth = {row["video"]: row for row in table(walking_set / "PhantomTruth.csv")}
    patients = sorted({row["patient"] for row in rows})
    assert len(patients) == 7
    for patient in patients:
        own = [row for row in rows if row["patient"] == patient]
        assert 2 <= len(own) <= 4
        assert len({(row["label"], row["site"]) for row in own}) == 1
        assert len({(truth[r["video"]]["height_m"], truth[r["video"]]["shirt"]) for r in own}) == 1
    assert {row["label"] for row in rows} == {"ASD", "ASD_not"}
    assert {row["site"] for row in rows} == {"A", "B", "C"}


def test_a_site_gives_the_label_away(tmp_path):
    """Ten patients a site: nine of A have the deformity, one of B, five of C; a shirt a site."""
    size = {"clip_s": 0.1, "height": 64, "width": 96, "least_videos": 1, "most_videos": 1}
    write_walking(tmp_path, 30, seed=3, shortcut="site", shortcut_share=0.9, **size)
    rows, truth = (table(tmp_path / name) for name in ("labels.csv", "PhantomTruth.csv"))
    found, hues = Counter(), defaultdict(list)
    for row, exact in zip(rows, truth, strict=True):
        found[row["site"], row["label"]] += 1
        red, green, blue = (int(value) / 255 for value in exact["shirt"].split())
        hues[row["site"]].append(colorsys.rgb_to_hsv(red, green, blue)[0])
    assert found == {
        **{("A", "ASD"): 9, ("A", "ASD_not"): 1, ("B", "ASD"): 1, ("B", "ASD_not"): 9},
        **{("C", "ASD"): 5, ("C", "ASD_not"): 5},
    }
    for site, hue in {"A": 0.83, "B": 0.58, "C": 0.02}.items():
        apart = (np.array(hues[site]) - hue + 0.5) % 1 - 0.5
        assert np.abs(apart).max() < 0.06


def test_leg_agility_set(tmp_path):
    write_leg_agility(tmp_path, 3, seed=2, videos=1, video_height=120, workers=2)
    rows, truth = (table(tmp_path / name) for name in ("labels.csv", "PhantomTruth.csv"))
    assert list(rows[0]) == ["VideoId", "subject", "mds_updrs_left", "mds_updrs_right"]
    assert len({row["subject"] for row in rows}) == 3
    for row in rows:
        assert len(read_openpose(tmp_path / "openpose" / f"{row['VideoId']}.zip").frames) > 60
        for leg in ("left", "right"):
            exact = [t for t in truth if t["VideoId"] == row["VideoId"] and t["leg"] == leg]
            score = row[f"mds_updrs_{leg}"]
            assert [t["score"] for t in exact] == ([] if score == "X" else [score])
    assert [path.stem for path in (tmp_path / "videos").iterdir()] == [rows[0]["VideoId"]]


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_same_seed_same_files(walking_set, tmp_path):
    options = ["--patients", "7", "--seed", "3", "--clip_s", "0.4", "--height", "90"]
    rest = ["--width", "160", "--subjects", "1", "--workers", "1", "--form", "folder"]
    assert gait.main(["--out", str(tmp_path), *options, *rest]) == 0
    assert files(tmp_path / "walking") == files(walking_set)
    assert list((tmp_path / "leg_agility" / "openpose").glob("*Json/*_000000000000_keypoints.json"))


def test_odd_sides_and_no_patients_are_refused(tmp_path, capsys):
    assert gait.main(["--out", str(tmp_path), "--patients", "1"]) == 1
    assert "at least two patients" in capsys.readouterr().err
    assert gait.main(["--out", str(tmp_path), "--width", "321"]) == 1
    assert "even sides for MP4, got 321 x 180" in capsys.readouterr().err
    with pytest.raises(InputError, match="even sides for MP4, got 65 x 64"):
        write_video(tmp_path / "a.mp4", [np.zeros((64, 65, 3), np.uint8)], 25, (64, 65))
