"""Tracks, the choice of the patient, crops and quality: known answers without any network."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from cines import write_video

from medvial.errors import InputError
from medvial.gait import search as search_module
from medvial.gait.ahead import read_ahead
from medvial.gait.blazepose import Circle, Pose, _circle, _region_to_frame, suppress, tiles
from medvial.gait.clothes import clothes
from medvial.gait.contact_sheet import contact_sheet
from medvial.gait.crop import CropOptions, crop_squares, crop_times, crops, cut
from medvial.gait.linking import join
from medvial.gait.motion import changed, moving_boxes, thumbnail, without
from medvial.gait.patient import at_box, overlap, people, rivals
from medvial.gait.person_quality import assess
from medvial.gait.search import Search
from medvial.gait.track import Sighting, Track, body_box
from medvial.gait.tracker import follow
from medvial.video import open_cine

HEIGHT, WIDTH = 120, 200


def walk(x0, x1, *, start=0.0, end=4.0, height=60.0, y=70.0, hz=5.0, worn=None):
    """Somebody whose box goes from x0 to x1 in even steps."""
    times = np.arange(start, end + 1e-9, 1 / hz)
    xs = np.interp(times, (start, end), (x0, x1))
    return Track([seen(t, x, y, height, worn) for t, x in zip(times, xs, strict=True)])


def seen(time_s, x, y=70.0, height=60.0, worn=None):
    box = (x - height / 5, y - height / 2, x + height / 5, y + height / 2)
    return Sighting(float(time_s), box, Circle(x, y, 0.55 * height, 0.0, 0.9), 0.99, worn)


def video(path, frames, **options):
    return open_cine(write_video(path, np.asarray(frames, np.uint8), **options))


def scene(count=30, box=(60, 12), speed=4, start=10):
    """A bright upright bar (height, width) that goes right, `speed` pixels a frame, on grey."""
    frames = np.full((count, HEIGHT, WIDTH, 3), 60, np.uint8)
    for t in range(count):
        left = start + speed * t
        frames[t, 50 : 50 + box[0], left : left + box[1]] = (200, 220, 180)
    return frames


class FakePose:
    """Finds bars of bright pixels, as BlazePose finds people."""

    def __init__(self, presence=0.98, most=None):
        self.presence = presence
        self.most = most  # people whom the detector shows of a region, the widest first
        self.detected = 0

    def _bars(self, frame):
        columns = np.flatnonzero((frame[..., 1] > 150).any(axis=0))
        for run in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1):
            if len(run) > 2:
                rows = np.flatnonzero((frame[:, run, 1] > 150).any(axis=1))
                yield run[0], rows[0], run[-1] + 1, rows[-1] + 1

    def detect_in(self, frame, regions, threshold=0.5):
        self.detected += len(regions)
        found = []
        for left, top, right, bottom in regions:
            bars = sorted(
                self._bars(frame[top:bottom, left:right]), key=lambda bar: bar[0] - bar[2]
            )
            for x0, y0, x1, y1 in bars[: self.most]:
                radius = 0.55 * (y1 - y0)
                found.append(Circle(left + (x0 + x1) / 2, top + (y0 + y1) / 2, radius, 0.0, 0.9))
        return suppress(found)

    def pose(self, frame, circle):
        bars = [
            (abs((x0 + x1) / 2 - circle.x), (x0, y0, x1, y1))
            for x0, y0, x1, y1 in self._bars(frame)
        ]
        distance, (x0, y0, x1, y1) = min(bars, default=(1e9, (0, 0, 1, 1)))
        points = np.full((33, 3), 0.9)
        points[:, 0], points[:, 1] = np.linspace(x0, x1, 33), np.linspace(y0, y1, 33)
        near = distance < circle.radius
        place = Circle((x0 + x1) / 2, (y0 + y1) / 2, 0.55 * (y1 - y0), 0.0, 0.9)
        return Pose(points, np.zeros((33, 3)), self.presence if near else 0.0, place)


# Geometry


@pytest.mark.parametrize(("height", "width"), [(994, 1768), (1920, 1080), (100, 900), (77, 77)])
def test_tiles_cover_the_frame_and_stay_inside(height, width):
    regions = tiles(height, width)
    assert regions[0] == (0, 0, width, height)
    covered = np.zeros((height, width), bool)
    for x0, y0, x1, y1 in regions[1:]:
        assert x1 - x0 == y1 - y0
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        covered[y0:y1, x0:x1] = True
    assert covered.all()
    if 0.5 < height / width < 2:
        assert len(regions) == 9


def test_one_circle_stays_of_each_person():
    first, again, other = (
        Circle(50, 60, 40, 0, 0.9),
        Circle(58, 66, 44, 0, 0.7),
        Circle(90, 60, 40, 0, 0.6),
    )
    assert suppress([other, again, first]) == [first, other]


def test_the_region_of_a_circle_is_upright_for_the_person():
    lying = _circle(np.array([50.0, 40.0]), np.array([80.0, 40.0]), 0.9)  # head to the right
    assert lying.radius == pytest.approx(30)
    assert lying.up == pytest.approx(np.pi / 2)
    to_frame = _region_to_frame(lying)
    assert to_frame @ [128, 128, 1] == pytest.approx([50, 40])
    top = to_frame @ [128, 0, 1]  # the middle of the region's upper side
    assert top == pytest.approx([50 + 30 * 1.25, 40])


def test_the_body_box_leaves_hidden_landmarks_out_and_adds_the_top_of_the_head():
    points = np.full((33, 3), 0.9)
    points[:, 0], points[:, 1] = np.linspace(100, 140, 33), np.linspace(200, 300, 33)
    points[5] = (900, 900, 0.05)
    pose = Pose(points, np.zeros((33, 3)), 1.0, Circle(120, 250, 55, 0, 1))
    assert body_box(pose) == pytest.approx((96, 192, 144, 301))


# Tracks


def test_a_steady_walk_is_neither_delayed_nor_shortened_by_smoothing():
    track = walk(20, 180)
    times = np.linspace(0, 4, 121)
    boxes = track.boxes_at(times, smooth_s=0.3)
    assert boxes[:, [0, 2]].mean(axis=1) == pytest.approx(20 + 40 * times, abs=0.01)
    assert boxes[:, 3] - boxes[:, 1] == pytest.approx(np.full(121, 60.0))


def test_gaps_are_filled_ends_go_on_for_a_moment_and_mistakes_are_left_out():
    track = walk(20, 180)
    kept = [each for each in track.sightings if not 1.1 < each.time_s < 2.3]
    kept[2] = seen(kept[2].time_s, 150)  # jumped to somebody else for one frame
    x = Track(kept).boxes_at(np.array([0.4, 1.7, 4.5, 9.0]))[:, [0, 2]].mean(axis=1)
    assert x == pytest.approx([36, 88, 200, 204], abs=1.5)


def test_one_sighting_is_a_box_that_stays():
    boxes = Track([seen(1.0, 50)]).boxes_at(np.array([0.0, 1.0, 7.0]))
    assert boxes == pytest.approx(np.tile([38, 40, 62, 100], (3, 1)))


def test_a_person_behind_a_pillar_stays_one_person():
    before, after = walk(20, 80, end=1.5), walk(120, 180, start=2.5, end=4)
    elsewhere = walk(190, 195, start=2.5, end=4, y=20, height=30)
    joined = join([elsewhere, after, before])
    assert sorted(len(track.sightings) for track in joined) == [8, 16]
    assert len(before.sightings) == 8  # what was given is not changed


BLUE, WHITE = (40.0, 60.0, 160.0, 30.0, 30.0, 40.0), (220.0, 220.0, 225.0, 90.0, 80.0, 70.0)


@pytest.mark.parametrize(("one", "other"), [(BLUE, WHITE), (None, None)], ids=["clothes", "speed"])
def test_tracks_that_changed_from_one_person_to_the_other_are_put_right(one, other):
    before, after = walk(20, 92, end=1.8, worn=one), walk(108, 180, start=2.2, worn=one)
    early, late = walk(100, 100, end=1.8, worn=other), walk(100, 100, start=2.2, worn=other)
    confused = [Track(before.sightings + late.sightings), Track(early.sightings + after.sightings)]
    walker, doctor = sorted(join(confused), key=lambda track: -track.path_px)
    assert walker.sightings == before.sightings + after.sightings
    assert doctor.sightings == early.sightings + late.sightings


def test_a_track_that_stops_at_somebody_is_parted_from_who_walks_on():
    before, after = walk(20, 92, end=1.8, worn=BLUE), walk(116, 180, start=2.4, worn=BLUE)
    doctor = walk(100, 100, start=2.0, worn=WHITE)  # whom the detector had not shown before
    joined = join([Track(before.sightings + doctor.sightings), after])
    assert [track.sightings for track in joined] == [
        before.sightings + after.sightings,
        doctor.sightings,
    ]


def test_who_turns_round_stays_one_person():
    there, back = walk(20, 120, end=2.0, worn=BLUE), walk(110, 20, start=2.2, worn=WHITE)
    track = Track(there.sightings + back.sightings)
    assert join([track]) == [track]


def test_nothing_of_somebody_who_moves_on_the_spot_is_left_out():
    usual, raised = (120.0,) * 6, (120.0,) * 3 + (210.0,) * 3  # a knee, with the wall behind it
    sightings = [seen(0.2 * k, 100, worn=raised if 12 <= k < 16 else usual) for k in range(28)]
    assert join([Track(sightings)]) == [Track(sightings)]


def test_a_single_sighting_on_somebodys_way_is_theirs():
    track = walk(20, 180)
    without_one = Track([each for each in track.sightings if each.time_s != 2.0])
    elsewhere = Track([seen(2.0, 20)])
    single = Track([each for each in track.sightings if each.time_s == 2.0])
    assert join([without_one, single, elsewhere]) == [track, elsewhere]


def test_clothes_are_the_colours_of_trunk_and_thighs():
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame[20:60, 90:110] = (200, 30, 40)
    frame[60:100, 90:110] = (10, 90, 170)
    points = np.zeros((33, 3))
    points[[11, 12], :2], points[[23, 24], :2] = ((98, 22), (102, 22)), ((98, 60), (102, 60))
    points[[25, 26], :2] = (96, 95), (104, 95)
    assert clothes(frame, points) == (200, 30, 40, 10, 90, 170)
    assert clothes(frame, points + np.array([500, 0, 0])) is None


# The patient


def test_the_walker_comes_before_a_larger_person_who_stands_and_a_farther_one_who_walks():
    patient, doctor, far = walk(20, 150), walk(100, 110, height=110), walk(20, 80, height=30)
    ranked = people([doctor, far, patient])
    assert ranked == [patient, far, doctor]
    assert rivals(ranked) == []
    assert rivals(people([patient, walk(30, 140, height=80)])) != []


def test_who_walks_slowly_or_enters_late_comes_before_who_stands_but_that_is_said():
    late, doctor = walk(190, 175, start=3.0, end=4.0), walk(80, 82, height=66)
    ranked = people([doctor, late])
    assert ranked == [late, doctor]
    assert rivals(ranked) == [doctor]


def test_of_two_who_walk_together_the_nearer_one_is_the_patient():
    patient, behind = walk(20, 150, y=74), walk(10, 170)
    ranked = people([behind, patient])
    assert ranked == [patient, behind]
    assert rivals(ranked) == [behind]
    assert people([behind, walk(20, 90, y=74)])[0] is behind  # slower: only passing
    assert people([behind, walk(150, 20, y=74)])[0] is behind  # the other way
    late = walk(100, 180, start=2.0, y=74)  # hidden before
    assert people([behind, late])[0] is late
    there, back = walk(20, 120, end=2.0), walk(110, 20, start=2.2)
    to_and_fro = Track(there.sightings + back.sightings)
    assert people([to_and_fro, walk(20, 90, y=74)])[0] is to_and_fro
    assert people([behind, walk(20, 150, y=71)])[0] is behind  # as near


def test_of_two_side_by_side_the_one_who_hides_the_other_is_the_patient():
    patient, behind = walk(20, 150), walk(10, 170)
    del behind.sightings[3:15:2]
    ranked = people([behind, patient])
    assert ranked == [patient, behind]
    assert rivals(ranked) == [behind]


def test_two_sightings_are_nobody_where_there_are_better_ones():
    glare = Track(walk(0, 190).sightings[::20])
    assert people([glare, walk(100, 101)]) != [glare]
    assert len(people([glare, walk(100, 101)])) == 1


def test_the_user_points_at_the_patient():
    patient, companion = walk(20, 150), walk(40, 190, y=60, height=90)
    ranked = people([patient, companion])
    assert ranked[0] is companion
    assert at_box(ranked, (10, 45, 35, 100))[0] is patient
    assert at_box(ranked, (140, 45, 165, 100), time_s=4.0)[0] is patient
    with pytest.raises(InputError, match=r"at 0\.5 s, found none there\. Boxes where people were"):
        at_box(ranked, (140, 45, 165, 100), time_s=0.5)
    with pytest.raises(InputError, match="x0 y0 x1 y1 in pixels, got 35 100 10 45"):
        at_box(ranked, (35, 100, 10, 45))


def test_overlap():
    assert overlap((0, 0, 4, 2), (2, 0, 6, 2)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 4, 2), (5, 0, 6, 2)) == 0


# From video to person


def test_a_person_is_followed_through_every_frame(tmp_path):
    cine = video(tmp_path / "a.avi", scene())
    person = follow(cine, FakePose())
    assert person.method == "pose"
    assert person.boxes.shape == (30, 4)
    truth = 10 + 4 * np.arange(30) + 6
    assert person.boxes[:, [0, 2]].mean(axis=1) == pytest.approx(truth, abs=3)
    assert assess(person).direction == "right"


def test_a_video_of_variable_rate_is_looked_at_by_its_time_stamps(tmp_path):
    pts = np.cumsum([0] + [20] * 20 + [120] * 9)
    frames = np.concatenate([scene(count=1, start=10 + ms // 10) for ms in pts])
    person = follow(video(tmp_path / "a.mkv", frames, pts=pts.tolist()), FakePose())
    assert person.frame_times_s == pytest.approx(pts / 1000)
    assert 0.1 <= np.diff(person.sampled_s).min() <= np.diff(person.sampled_s).max() <= 0.25
    assert person.boxes[:, [0, 2]].mean(axis=1) == pytest.approx(16 + pts / 10, abs=3)


def test_a_turned_video_gives_boxes_of_the_picture_as_it_is_seen(tmp_path):
    turned = np.rot90(scene(), -1, axes=(1, 2))  # stored lying; the file says: turn it back
    path = write_video(tmp_path / "a.mov", turned, codec="png", pix_fmt="rgb24", rotation=90)
    person = follow(open_cine(path), FakePose())
    assert (person.height, person.width) == (HEIGHT, WIDTH)
    assert person.boxes[15, [0, 2]].mean() == pytest.approx(76, abs=4)


def test_a_grey_video_is_taken(tmp_path):
    path = write_video(tmp_path / "a.avi", scene()[..., 1], codec="ffv1", pix_fmt="gray")
    assert follow(open_cine(path), FakePose()).method == "pose"


def test_what_moves_is_followed_where_nobody_is_recognised(tmp_path):
    person = follow(video(tmp_path / "a.avi", scene()), FakePose(presence=0.1))
    assert person.method == "motion"
    assert person.boxes[15, [0, 2]].mean() == pytest.approx(76, abs=6)
    assert "No person was recognised" in assess(person).warnings[0]


def test_the_whole_frame_is_the_last_resort(tmp_path):
    cine = video(tmp_path / "a.avi", np.full((20, HEIGHT, WIDTH, 3), 90))
    person = follow(cine, FakePose())
    assert person.method == "frame"
    assert (person.boxes == [0, 0, WIDTH, HEIGHT]).all()
    quality = assess(person, ("Frame 3 is damaged.",))
    assert not quality.good
    assert quality.warnings[0] == "Frame 3 is damaged."
    assert "the whole frame was taken" in quality.warnings[1]
    cut_out = [picture for _, picture in crops(cine, person, CropOptions(fps=5, size_px=40))]
    assert [picture.shape for picture in cut_out] == 4 * [(40, 40, 3)]


def test_a_camera_that_moves_shows_no_motion_of_a_person():
    rng = np.random.default_rng(0)
    thumbnails = [rng.integers(0, 255, (48, 80), np.uint8) for _ in range(12)]
    assert moving_boxes(thumbnails, 800) == []


def test_one_frame_is_a_video_without_a_walk(tmp_path):
    cine = video(tmp_path / "a.avi", scene(count=1))
    person = follow(cine, FakePose())
    assert person.boxes.shape == (1, 4)
    assert "one frame only" in assess(person).warnings[0]
    ((_, picture),) = crops(cine, person, CropOptions(size_px=32))
    assert picture.shape == (32, 32, 3)


def test_two_people_and_the_one_pointed_at(tmp_path):
    frames = scene()
    frames[:, 20:100, 170:190] = 200
    cine = video(tmp_path / "a.avi", frames[:22])
    person = follow(cine, FakePose())
    assert person.boxes[11, 0] < 100
    assert assess(person).other_people == 1
    pointed = follow(cine, FakePose(), patient_box=(165, 15, 195, 105))
    assert pointed.boxes[11, 0] > 150
    assert pointed.chosen_by_user
    with pytest.raises(InputError, match="Expected a person at the patient's box"):
        follow(cine, FakePose(), patient_box=(0, 0, 20, 20))


def test_the_detector_rests_where_nothing_changes():
    fake = FakePose()
    search = Search(fake)
    still = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    for k in range(10):
        search.look(k / 5, still)
    assert fake.detected == len(tiles(HEIGHT, WIDTH))
    moved = scene(count=10)[9]
    search.look(2.0, moved)
    assert fake.detected > len(tiles(HEIGHT, WIDTH))
    assert len(search.tracks) == 1


def test_who_walks_past_somebody_standing_stays_themselves(tmp_path):
    frames = scene(count=44)
    frames[:, 44:104, 96:108] = 210  # hidden for a while: one bar then, for the networks too
    fake = FakePose()
    person = follow(video(tmp_path / "a.avi", frames), fake)
    middles = person.boxes[:, [0, 2]].mean(axis=1)
    assert middles == pytest.approx(16 + 4 * np.arange(44), abs=12)
    (other,) = person.others
    assert other.path_px < 20


def test_who_stands_alone_is_looked_at_on_every_second_frame():
    fake, search = FakePose(), Search(None)
    search._blazepose = fake
    still = scene(count=1, start=80)[0]
    for k in range(16):
        search.look(k / 5, still)
    (track,) = search.tracks
    assert len(track.sightings) == 16
    assumed = [each.assumed for each in track.sightings]
    assert assumed[:6] == [False] * 6
    assert assumed[6:] == [True, False] * 5
    search.look(3.2, scene(count=1, start=90)[0])
    assert search.tracks == [track]
    assert len(track.sightings) == 17


def test_what_was_no_person_is_verified_once_a_second():
    fake, looked = FakePose(presence=0.1), []
    pose = fake.pose
    fake.pose = lambda frame, circle: looked.append(circle) or pose(frame, circle)
    search = Search(fake)
    for k in range(8):  # a flickering background has the detector look again and again
        frame = scene(count=1, start=80)[0]
        frame[:40, :60] += np.uint8(40 * (k % 2))
        search.look(k / 5, frame)
    assert search.tracks == []
    assert 1 <= len(looked) <= 4  # in 1.4 s, two circles


def test_a_person_is_looked_for_where_they_should_be():
    track = walk(20, 60, end=1.0)
    circle = search_module.predicted(track, 1.2)
    assert circle.x == pytest.approx(68)


def test_changes_of_known_people_do_not_count():
    before, after = thumbnail(scene()[0]), thumbnail(scene()[20])
    whole = (0, 0, WIDTH, HEIGHT)
    assert changed(before, after, whole, WIDTH) == pytest.approx(2 * 720 / 24000, abs=0.01)
    people_boxes = [(8, 48, 24, 112), (88, 48, 104, 112)]
    assert changed(before, after, whole, WIDTH, people_boxes) == 0


def test_the_frame_without_somebody_shows_what_is_beside_them():
    frame = np.zeros((50, 80, 3), np.uint8)
    frame[:, :30], frame[:, 30:40], frame[:, 40:] = 60, 250, 100
    empty = without(frame, [(30, -5, 40, 46)])
    assert empty[:46].max() == 100
    assert (np.diff(empty[10, :, 0].astype(int)) >= 0).all()
    assert (empty[46:] == frame[46:]).all()
    assert without(frame, [(-20, 0, 30, 50)])[10, 0, 0] == 250  # beside them on the right only
    assert (without(frame, [(100, 0, 120, 50), (0, 0, 80, 50)]).shape) == frame.shape


def test_a_detector_that_shows_one_person_a_look_finds_all():
    fake = FakePose(most=1)
    search = Search(fake)
    frames = scene(count=44, speed=2)
    frames[:, 40:108, 150:170] = 215  # wider: the one whom the detector shows
    for k in range(0, 44, 6):
        search.look(k / 30, frames[k])
    walker, doctor = sorted(search.tracks, key=lambda track: track.sightings[0].circle.x)
    assert len(walker.sightings) == len(doctor.sightings) == 8
    assert walker.path_px > 60
    assert doctor.path_px < 5


def test_landmarks_of_two_at_once_are_nobody_while_one_of_them_is_found():
    fake, search = FakePose(), Search(None)
    real, mixed = Circle(85, 76, 35, 0, 0.9), Circle(62, 78, 40, 0, 0.7)
    boxes = {real: (75, 95), mixed: (50, 90)}

    def pose(frame, circle):
        points = np.full((33, 3), 0.9)
        points[:, 0] = np.linspace(*boxes[circle], 33)
        points[:, 1] = np.linspace(44, 108, 33)
        return Pose(points, np.zeros((33, 3)), 0.95, circle)

    fake.pose = pose
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    (found,) = search._others(fake, 0.0, frame, [real, mixed], [])
    assert found.circle == real
    (found,) = search._others(fake, 0.2, frame, [mixed], [])  # by themselves they are somebody
    assert found.circle == mixed


# Crops


def person_of(track, *, fps=30.0, seconds=4.0, method="pose", **changes):
    times = np.arange(round(seconds * fps)) / fps
    values = {
        "track": track,
        "method": method,
        "others": (),
        "rivals": (),
        "chosen_by_user": False,
        "sampled_s": np.arange(0, seconds, 0.2),
        "frame_times_s": times,
        "height": HEIGHT,
        "width": WIDTH,
    }
    return SimpleNamespace(**(values | changes))


def test_a_crop_is_black_beyond_the_frame():
    frame = np.full((HEIGHT, WIDTH, 3), 77, np.uint8)
    crop = cut(frame, np.array([0.0, 60.0, 40.0]), 20)
    assert (crop[:, :10] == 0).all()
    assert (crop[:, 10:] == 77).all()
    assert (cut(frame, np.array([-500.0, 60.0, 40.0]), 20) == 0).all()


def test_one_size_for_the_whole_video_or_the_bodys_own():
    track = Track([seen(t, 100, height=40 + 10 * t) for t in np.arange(0, 4, 0.2)])
    person, times = person_of(track), np.array([0.0, 3.8])
    fixed = crop_squares(person, times, CropOptions(scale="fixed", margin=0.1))
    smooth = crop_squares(person, times, CropOptions(scale="smooth", margin=0.1))
    assert fixed[0, 2] == fixed[1, 2]
    assert smooth[:, 2] == pytest.approx([48, 93.6], abs=0.5)


def test_moments_are_those_in_sight_or_all():
    person = person_of(walk(20, 100, start=1.0, end=3.0))
    assert crop_times(person, CropOptions(fps=10))[[0, -1]] == pytest.approx([1, 3])
    everything = crop_times(person, CropOptions(fps=10, in_sight=False))
    assert everything[[0, -1]] == pytest.approx([0, 3.9])


@pytest.mark.parametrize("rate", [7, 25, 30, 60])
def test_any_rate_becomes_the_crops_rate(tmp_path, rate):
    count = 2 * rate + 1
    frames = np.zeros((count, 48, 64, 3), np.uint8)
    frames += (60 * np.arange(count) / rate).astype(np.uint8)[:, None, None, None]
    cine = video(tmp_path / "a.avi", frames, rate=rate)
    person = follow(cine, FakePose())
    times, pictures = zip(*crops(cine, person, CropOptions(fps=10, size_px=16)), strict=True)
    assert person.method == "frame"
    assert times == pytest.approx(np.arange(21) / 10)
    middle = np.stack(pictures)[:, 8, 8, 0].astype(float)
    assert middle == pytest.approx(60 * np.array(times), abs=60 * 0.5 / rate + 1.1)


def test_a_variable_rate_becomes_even(tmp_path):
    pts = [0, 40, 80, 120, 160, 400, 640, 680, 720, 760, 800]
    frames = (
        np.zeros((11, 48, 64, 3), np.uint8)
        + (np.array(pts) // 5).astype(np.uint8)[:, None, None, None]
    )
    cine = video(tmp_path / "a.mkv", frames, pts=pts)
    person = follow(cine, FakePose(), sampled_hz=25)
    options = CropOptions(fps=12.5, size_px=16, in_sight=False)
    times, pictures = zip(*crops(cine, person, options), strict=True)
    nearest = [min(pts, key=lambda p, t=t: (abs(p - 1000 * t), p)) for t in times]
    assert [picture[8, 8, 0] for picture in pictures] == [p // 5 for p in nearest]


# Quality and the sheet


LARGE = {"height": 400, "width": 900}


def test_a_good_walk_has_no_warnings():
    quality = assess(person_of(walk(100, 700, end=3.8, y=200, height=150), **LARGE))
    assert quality.good
    assert quality.found_part == 1
    assert quality.path_heights == pytest.approx(600 * 0.9 / 150, rel=0.06)
    assert quality.as_json()["in_sight_s"] == [0.0, 3.8]


def test_what_is_wrong_is_said():
    track = walk(100, 700, end=3.8, y=200, height=150)
    gap = Track([each for each in track.sightings if not 1.1 < each.time_s < 2.7])
    other = walk(200, 500, y=200, height=140)
    quality = assess(person_of(gap, others=(other,), rivals=(other,), **LARGE))
    told = " ".join(quality.warnings)
    assert "found in 60 % of the frames" in told
    assert "out of sight for 1.6 s" in told
    assert "could be the patient" in told
    assert "Another person comes close" in told
    cut_off = assess(person_of(walk(20, 180, y=115, end=3.8)))
    assert cut_off.cut_off_part == 1
    short = assess(person_of(walk(90, 95, end=1.0)))
    assert any("in sight for 1.0 s" in text for text in short.warnings)
    assert any("60 pixels high" in text for text in short.warnings)
    assert any("seen from the side" in text for text in short.warnings)
    damaged = assess(person_of(track, sampled_s=np.arange(0, 2, 0.2)))
    assert "Only 1.8 s of 4.0 s" in damaged.warnings[0]


def test_the_sheet_shows_the_patient_in_green(tmp_path):
    cine = video(tmp_path / "a.avi", scene())
    sheet = contact_sheet(cine, follow(cine, FakePose()), count=6, columns=3)
    assert sheet.shape == (2 * (192 + 160 + 6), 3 * 326, 3)
    green = (sheet[..., 1] > 150) & (sheet[..., 0] < 80) & (sheet[..., 2] < 80)
    assert green.sum() > 500


# Reading ahead


def test_reading_ahead_gives_the_same_and_ends_its_thread():
    assert list(read_ahead(iter(range(50)))) == list(range(50))
    reader = read_ahead(iter(range(10**6)))
    assert next(reader) == 0
    reader.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_an_error_comes_out_in_its_place():
    def items():
        yield 1
        raise InputError("frame 2 is damaged")

    reader = read_ahead(items())
    assert next(reader) == 1
    with pytest.raises(InputError, match="frame 2"):
        next(reader)
