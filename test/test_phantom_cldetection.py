"""Phantom cephalograms: textbook proportions, drawn landmarks, the challenge's form."""

import json
import tracemalloc

import numpy as np
import pytest
import SimpleITK

from medvial.errors import InputError
from medvial.stacks import open_stack
from medvial_training.phantoms import cldetection
from medvial_training.phantoms.cephalogram_atlas import LANDMARKS, STRUCTURES
from medvial_training.phantoms.cephalogram_draw import Exposure, draw_film
from medvial_training.phantoms.cephalogram_shape import (
    Head,
    build_head,
    mean_landmarks,
    sample_head,
    sample_landmarks,
)
from medvial_training.phantoms.cldetection import (
    make_phantom,
    scaled_mm,
    write_phantoms,
    write_test_stack,
)

INDEX = {name: index for index, name in enumerate(LANDMARKS)}
HEIGHT, WIDTH = 300, 236
MM_PER_PX = 0.2


def at(points, name):
    return points[INDEX[name]]


def angle(points, a, vertex, b):
    """Angle at `vertex`, degrees, from the scalar product."""
    u, v = at(points, a) - at(points, vertex), at(points, b) - at(points, vertex)
    return np.degrees(np.arccos(u @ v / (np.hypot(*u) * np.hypot(*v))))


def between(points, a, b, c, d):
    """Angle between the directions a => b and c => d, degrees, 0 to 180."""
    u, v = at(points, b) - at(points, a), at(points, d) - at(points, c)
    return np.degrees(np.arccos(u @ v / (np.hypot(*u) * np.hypot(*v))))


def distance(points, a, b):
    return np.hypot(*(at(points, a) - at(points, b)))


NORMS = {  # textbook adult norms and how far from them a mean head may be
    "SNA": (lambda p: angle(p, "S", "N", "A"), 82, 1),
    "SNB": (lambda p: angle(p, "S", "N", "B"), 80, 1),
    "SND": (lambda p: angle(p, "S", "N", "D"), 76.5, 1),
    "SN-GoGn": (lambda p: between(p, "S", "N", "Go", "Gn"), 32, 2),
    "FMA": (lambda p: between(p, "Po", "Or", "Go", "Me"), 25, 2),
    "IMPA": (lambda p: between(p, "L1apex", "L1", "Me", "Go"), 90, 3),
    "U1-NA": (lambda p: between(p, "U1apex", "U1", "N", "A"), 22, 2),
    "L1-NB": (lambda p: 180 - between(p, "L1apex", "L1", "N", "B"), 25, 2),
    "interincisal": (lambda p: between(p, "U1apex", "U1", "L1apex", "L1"), 131, 4),
    "SN-PP": (lambda p: between(p, "S", "N", "PNS", "ANS"), 8, 2),
    "facial angle": (lambda p: 180 - between(p, "Po", "Or", "N", "Pog"), 87.8, 2),
    "Y axis": (lambda p: between(p, "Po", "Or", "S", "Gn"), 59.4, 2),
    "saddle": (lambda p: angle(p, "N", "S", "Ar"), 123, 2),
    "articular": (lambda p: angle(p, "S", "Ar", "Go"), 143, 2),
    "gonial": (lambda p: angle(p, "Ar", "Go", "Me"), 128, 3),
    "N-S-Ba": (lambda p: angle(p, "N", "S", "Ba"), 130, 2),
    "nasolabial": (lambda p: angle(p, "Cm", "Sn", "Ls"), 102, 8),
    "FHI": (lambda p: distance(p, "S", "Go") / distance(p, "N", "Me"), 0.65, 0.02),
    "S-N mm": (lambda p: distance(p, "S", "N"), 70, 1),
    "overjet mm": (lambda p: (at(p, "U1") - at(p, "L1"))[0], 3, 1),
    "overbite mm": (lambda p: (at(p, "U1") - at(p, "L1"))[1], 2.5, 1),
}


@pytest.mark.parametrize("name", NORMS)
def test_mean_head_has_textbook_proportions(name):
    value, norm, tolerance = NORMS[name]
    assert value(mean_landmarks()) == pytest.approx(norm, abs=tolerance)


def test_lines_of_the_mean_head_that_have_a_direction():
    points = mean_landmarks()
    assert at(points, "Po")[1] == at(points, "Or")[1]  # Frankfort horizontal is level
    nose_to_chin = at(points, "Pog'") - at(points, "Prn")
    for lip in ("Ls", "Li"):  # both lips lie behind the E-line, by 0 to 5 mm
        offset = at(points, lip) - at(points, "Prn")
        behind = (offset[0] * nose_to_chin[1] - offset[1] * nose_to_chin[0]) / np.hypot(
            *nose_to_chin
        )
        assert -5 < behind < 0


def test_symbols_are_those_of_the_shipped_landmark_set():
    landmark_sets = pytest.importorskip(
        "medvial.cldetection.landmarks", reason="landmark sets are not there"
    )
    assert landmark_sets.load_landmark_set("cl-38").symbols == LANDMARKS


def test_population_spreads_like_people():
    rng = np.random.default_rng(3)
    shapes = np.array([sample_landmarks(rng) for _ in range(100)])
    anb = [angle(p, "S", "N", "A") - angle(p, "S", "N", "B") for p in shapes]
    fma = [between(p, "Po", "Or", "Go", "Me") for p in shapes]
    assert 1.5 < np.std(anb) < 3.5
    assert abs(np.mean(anb) - 2) < 0.8
    assert 2.5 < np.std(fma) < 5.5
    spread_mm = np.hypot(*shapes.std(axis=0).T)
    assert spread_mm.min() > 0.5
    assert spread_mm.max() < 9


def test_contours_pass_exactly_through_their_landmarks():
    head = sample_head(np.random.default_rng(5))
    carried = set()
    for name, structure in STRUCTURES.items():
        for symbol in {item for item in structure.controls if isinstance(item, str)}:
            gap = np.hypot(*(head.contours[name] - at(head.landmarks, symbol)).T).min()
            assert gap < 1e-9, (name, symbol)
            carried.add(symbol)
    drawn_otherwise = {"S", "Po", "D", "U1", "L1", "U1apex", "L1apex", "U6", "L6"}
    assert carried == set(LANDMARKS) - drawn_otherwise


@pytest.fixture(scope="module")
def film():
    """The mean head at 0.2 mm per pixel, and a function from offsets in mm to grey values."""
    height, width = 1150, 960
    origin = np.array([0.4 * width, 0.42 * height])
    mean = build_head(mean_landmarks())
    head = Head(
        mean.landmarks / MM_PER_PX + origin,
        {name: contour / MM_PER_PX + origin for name, contour in mean.contours.items()},
        tuple(body / MM_PER_PX + origin for body in mean.vertebrae),
    )
    exposure = Exposure(1.0, 1.0, 12.0, (0.0, 0.0), grain=0.0, label_right=True)
    image = draw_film(head, height, width, MM_PER_PX, exposure, np.random.default_rng(0))

    def grey(name, dx_mm=0.0, dy_mm=0.0):
        x, y = np.rint(at(head.landmarks, name) + np.array([dx_mm, dy_mm]) / MM_PER_PX).astype(int)
        return float(image[y - 1 : y + 2, x - 1 : x + 2].mean())

    return grey


def test_sella_is_the_dark_middle_of_a_bright_cup(film):
    cup = [film("S", -6.0, 0.5), film("S", 0, 6.2), film("S", 6.1, 0)]
    assert min(cup) > film("S") + 15


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("Prn", (-1.5, 0), (1.5, 0)),
        ("Ls", (-1.5, 0), (1.5, 0)),
        ("Li", (-1.5, 0), (1.5, 0)),
        ("Pog'", (-1.5, 0), (1.5, 0)),
        ("Me'", (0, -1.5), (0, 1.5)),
        ("C", (0, -1.5), (0, 1.5)),
        ("G'", (-1.5, 0), (1.5, 0)),
        ("U1apex", (0.6, 1.5), (-0.6, -1.5)),
        ("L1apex", (0.7, -1.5), (-0.7, 1.5)),
        ("U1", (-0.5, -1.4), (0.5, 1.4)),
        ("L1", (-0.7, 1.4), (-1.8, -0.8)),
        ("Pog", (0, 0), (3, 0)),
        ("Me", (0, 0), (0, 3)),
        ("Gn", (0, 0), (2.2, 2.2)),
        ("Go", (0, 0), (-3, 1.5)),
        ("B", (0, 0), (3, 0)),
        ("A", (0, 0), (3, 0)),
        ("ANS", (-0.6, 0), (3, 0)),
        ("PNS", (1, 0), (-2, 0)),
        ("Or", (0, 0), (0, 3)),
        ("Po", (0, 0), (0, -2.5)),
        ("Ar", (0, 0), (-2, 0)),
        ("Co", (0, 0), (2.5, 1)),
        ("Pt", (0, 0), (-2.5, 0)),
        ("Ptm", (0, 0), (1, 2.5)),
        ("N", (0, 0), (3, 0)),
        ("Ba", (0, 0), (2.5, 1)),
        ("Bo", (0, 0), (0, 3)),
    ],
)
def test_landmark_sits_on_an_edge_or_a_bright_line(film, name, inside, outside):
    assert film(name, *inside) > film(name, *outside) + 8


def test_incisor_tip_is_the_end_of_the_tooth(film):
    axis = at(mean_landmarks(), "U1") - at(mean_landmarks(), "U1apex")
    axis = axis / np.hypot(*axis)
    steps = np.arange(-3, 3.01, 0.2)
    profile = np.array([film("U1", *(step * axis)) for step in steps])
    edge_mm = steps[np.argmin(np.diff(profile))] + 0.1  # steepest fall, tooth to air
    assert abs(edge_mm) < 0.7


def test_same_seed_same_film_other_seed_other_film():
    image, points, scale = make_phantom(7, HEIGHT, WIDTH)
    again, points_again, scale_again = make_phantom(7, HEIGHT, WIDTH)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(points, points_again)
    assert scale == scale_again
    assert np.abs(make_phantom(8, HEIGHT, WIDTH)[1] - points).max() > 1


def test_film_has_the_documented_form():
    image, points, scale = make_phantom(7, HEIGHT, WIDTH)
    assert image.shape == (HEIGHT, WIDTH)
    assert image.dtype == np.uint8
    assert image.min() >= 6  # 0 is padding
    assert points.shape == (38, 2)
    assert points.dtype == np.float64
    assert scale in [scaled_mm(full, HEIGHT, WIDTH) for full in (0.1, 0.096, 0.125)]


@pytest.mark.parametrize("size", [(300, 236), (150, 300), (400, 130)])
def test_landmarks_are_on_the_film(size):
    for seed in range(12):
        _, points, _ = make_phantom(seed, *size)
        assert (points >= 0).all()
        assert (points <= (size[1] - 1, size[0] - 1)).all()


def test_landmarks_do_not_depend_on_the_resolution():
    _, small, small_mm = make_phantom(4, 300, 242)
    _, large, large_mm = make_phantom(4, 600, 484)
    spans = [np.ptp(points * mm, axis=0) for points, mm in ((small, small_mm), (large, large_mm))]
    np.testing.assert_allclose(*spans, rtol=1e-6)


def test_left_facing_film_is_the_mirror_image():
    right, points, _ = make_phantom(5, HEIGHT, WIDTH, "right")
    left, mirrored, _ = make_phantom(5, HEIGHT, WIDTH, "left")
    np.testing.assert_array_equal(left, right[:, ::-1])
    np.testing.assert_allclose(mirrored[:, 0], WIDTH - 1 - points[:, 0])
    np.testing.assert_array_equal(mirrored[:, 1], points[:, 1])
    assert at(points, "Prn")[0] > at(points, "S")[0]


@pytest.mark.parametrize(("height", "facing"), [(40, "right"), (300, "up")])
def test_unusable_film_is_refused(height, facing):
    with pytest.raises(InputError, match=r"at least 64 x 64 pixels that faces right or left, got"):
        make_phantom(1, height, WIDTH, facing)


@pytest.fixture(scope="module")
def phantom_set(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantoms") / "set"
    write_phantoms(out, count=5, seed=2, height=120, width=100, left_facing=(2,), black=(4,))
    return out


def read(path):
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def truth(folder):
    return json.loads((folder / "train-gt.json").read_text(encoding="utf-8"))


def film_truth(folder, number):
    points = [item for item in truth(folder)["points"] if item["point"][2] == number]
    return np.array([item["point"][:2] for item in points]), points


def test_set_leaves_exactly_the_challenge_files_and_the_marker(phantom_set):
    assert sorted(path.name for path in phantom_set.iterdir()) == [
        "PHANTOM.json",
        "train-gt.json",
        "train_stack.mha",
    ]
    marker = json.loads((phantom_set / "PHANTOM.json").read_text(encoding="utf-8"))
    assert marker["phantom"] is True
    assert "nothing about clinical accuracy" in marker["description"]


def test_stack_is_zero_padded_rgb_of_films_that_differ_in_size(phantom_set):
    stack = read(phantom_set / "train_stack.mha")
    assert stack.shape == (5, 120, 149, 3)  # 149 = 100 * 2880 / 1935
    assert stack.dtype == np.uint8
    sizes = set()
    for number, image in enumerate(stack, start=1):
        if number == 4:
            assert not image.any()
            continue
        np.testing.assert_array_equal(image[..., 0], image[..., 2])
        rows, columns = image.any(axis=(1, 2)).sum(), image.any(axis=(0, 2)).sum()
        assert (image[:rows, :columns] > 0).all()  # padding is at the bottom and right only
        sizes.add((int(rows), int(columns)))
        points, _ = film_truth(phantom_set, number)
        assert (points < (columns, rows)).all()
    assert len(sizes) > 1


def test_truth_has_the_form_of_the_challenge(phantom_set):
    content = truth(phantom_set)
    assert content["type"] == "Multiple points"
    assert content["version"] == {"major": 1, "minor": 0}
    names = [(item["point"][2], item["name"]) for item in content["points"]]
    assert names == [(z, name) for z in (1, 2, 3, 5) for name in range(1, 39)]
    scales = {item["scale"] for item in content["points"]}
    assert scales <= {f"{full * 20:.5g}" for full in (0.1, 0.096, 0.125)}  # 2400 / 120
    assert len(scales) > 1


def test_numbered_films_face_left(phantom_set):
    for number in (1, 2, 3):
        points, _ = film_truth(phantom_set, number)
        assert (at(points, "Prn")[0] < at(points, "S")[0]) == (number == 2)


def test_compression_and_repetition_change_no_pixel(phantom_set, tmp_path):
    options = {"count": 5, "seed": 2, "height": 120, "width": 100}
    write_phantoms(tmp_path / "raw", compressed=False, left_facing=(2,), black=(4,), **options)
    raw = tmp_path / "raw" / "train_stack.mha"
    np.testing.assert_array_equal(read(raw), read(phantom_set / "train_stack.mha"))
    assert truth(tmp_path / "raw") == truth(phantom_set)
    assert raw.stat().st_size > 5 * 120 * 149 * 3


def test_memory_does_not_grow_with_the_number_of_films(tmp_path):
    def peak(count):
        tracemalloc.start()
        write_phantoms(tmp_path / str(count), count=count, height=110)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(1)  # caches of the first call
    assert peak(9) < 1.3 * peak(3)


def test_sizes_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"slices not smaller than the films, got 2 films of"):
        write_phantoms(tmp_path, count=2, height=100, pad_height=90)


def test_stack_reader_streams_what_was_written(phantom_set):
    with open_stack(phantom_set / "train_stack.mha") as stack:
        streamed = np.array(list(stack))
    np.testing.assert_array_equal(streamed, read(phantom_set / "train_stack.mha"))


def test_test_stack_is_small_and_of_the_challenge_size(tmp_path):
    write_test_stack(tmp_path / "stack.mha", left_facing=(2,))
    assert (tmp_path / "stack.mha").stat().st_size < 3_000_000
    stack = read(tmp_path / "stack.mha")
    assert stack.shape == (2, 2400, 2880, 3)
    assert stack.dtype == np.uint8
    assert all(image[..., 0].max() > 200 for image in stack)


def test_command_line_writes_and_refuses(tmp_path, capsys):
    out = tmp_path / "set"
    assert cldetection.main(["--out", str(out), "--count", "1", "--height", "100"]) == 0
    assert (out / "train_stack.mha").is_file()
    assert cldetection.main(["--out", str(out), "--count", "0"]) == 1
    assert "error: Expected at least one film" in capsys.readouterr().err
