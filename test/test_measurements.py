import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from medvial.cldetection.landmarks import LandmarkSet, load_landmark_set
from medvial.cldetection.measurements import DEFINITIONS, load_norms, measure
from medvial.cldetection.measurements.tracing import Tracing
from medvial.errors import InputError

ISBI = Path(__file__).resolve().parents[2] / "shared" / "data" / "isbi2015"
CL38 = load_landmark_set("cl-38")
MM_PER_PX = 0.1


def polar(start, degrees, length):
    """A point in the clinical frame: 0 degrees to the front, 90 up."""
    radians = math.radians(degrees)
    return start + length * np.array([math.cos(radians), math.sin(radians)])


def occlusal_degrees(a, b, wits):
    """The slope at which the feet of A and B lie `wits` mm apart."""
    across = a - b
    degrees = math.degrees(math.atan2(across[1], across[0]))
    return degrees - math.degrees(math.acos(wits / math.hypot(*across)))


def textbook_face(sna=82.0, snb=80.0, fma=25.0, impa=90.0, u1_na=22.0, wits=3.0, overjet=2.5):
    """A face drawn with protractor and ruler, in mm: x to the front, y up, FH level, SN 7 degrees.

    Every point is placed by angles and lengths of its own, with none of the code under test.
    """
    f = {"S": np.array([0.0, 0.0])}
    f["N"] = polar(f["S"], 7, 70)
    f["Po"], f["Or"] = np.array([-24.0, -21.0]), np.array([57.0, -21.0])
    f["Ar"] = polar(f["S"], 7 - 123, 36)  # saddle angle 123
    f["Go"] = polar(f["Ar"], (7 - 123 + 180) - 143, 46)  # articular angle 143
    f["Me"] = polar(f["Go"], -fma, 72)
    f["Gn"] = polar(f["Me"], 20, 6)
    f["A"] = polar(f["N"], 187 + sna, 57)
    f["B"] = polar(f["N"], 187 + snb, 98)
    f["Pog"] = f["B"] + (0.5, -13.0)
    f["D"] = f["B"] + (-6.0, -10.0)
    slope = occlusal_degrees(f["A"], f["B"], wits)
    along, up = polar(np.zeros(2), slope, 1), polar(np.zeros(2), slope + 90, 1)
    f["L1"] = f["A"] + (0.5, -24.0)
    f["U1"] = f["L1"] + overjet * along - 2.0 * up  # overbite 2
    molars = (f["U1"] + f["L1"]) / 2 - 30 * along
    cusp = np.array([1.0, 0.5])
    f["U6"], f["L6"] = molars - cusp, molars + cusp
    f["U1apex"] = polar(f["U1"], (187 + sna) + u1_na + 180, 23)
    f["L1apex"] = polar(f["L1"], (180 - fma - impa) + 180, 21)
    f["PNS"] = np.array([20.0, -45.0])
    f["ANS"] = polar(f["PNS"], -1, 52)  # palatal plane 1 degree down in front
    f["Co"], f["Ba"] = np.array([-15.0, -23.0]), polar(f["S"], 7 - 130, 45)  # N-S-Ba 130
    f["Pt"], f["Ptm"], f["Bo"] = f["S"] + (15, -24), f["S"] + (19, -40), f["S"] - (43, 40)
    f["Prn"], f["Pog'"] = np.array([98.0, -33.0]), np.array([98.0, -100.0])  # E-line upright
    f["Ls"], f["Li"] = np.array([94.0, -62.0]), np.array([100.5, -78.0])
    f["Sn"] = f["Ls"] + (0, 16)
    f["Cm"] = polar(f["Sn"], -90 + 105, 9)  # nasolabial 105
    f["G'"] = polar(f["Sn"], 97, 70)  # 7 degrees behind the vertical
    f["Ls2"], f["Li2"] = f["Ls"] + (-1, 5), f["Li"] + (-2, -5)
    f["Gn'"], f["Me'"] = np.array([90.0, -112.0]), np.array([80.0, -117.0])
    f["N'"], f["C"] = np.array([77.0, 6.0]), np.array([31.0, -113.0])
    return f


def film(face, mm_per_px=MM_PER_PX):
    """The face as landmarks of CL-38 in pixels of a film, y down."""
    marks = np.array([face[symbol] for symbol in CL38.symbols])
    return marks * (1, -1) / mm_per_px + (800.0, 1100.0)


def values(points, landmark_set=CL38, mm_per_px=MM_PER_PX, **options):
    return {m.name: m.value for m in measure(points, landmark_set, mm_per_px, **options)}


def reason(name, points, landmark_set=CL38, mm_per_px=MM_PER_PX):
    found = {m.name: m for m in measure(points, landmark_set, mm_per_px)}[name]
    assert (found.value is None) == (found.unavailable is not None)
    return found.unavailable


def without(points, *symbols):
    points = points.copy()
    points[[CL38.index(symbol) for symbol in symbols]] = np.nan
    return points


@pytest.fixture(scope="module")
def textbook():
    return values(film(textbook_face()))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SNA", 82.0),
        ("SNB", 80.0),
        ("ANB", 2.0),
        ("U1-NA angle", 22.0),
        ("FMA", 25.0),
        ("IMPA", 90.0),
        ("FMIA", 65.0),
        ("SN-MP", 32.0),  # SN 7 above FH
        ("PP-MP", 24.0),
        ("SN-PP", 8.0),
        ("Wits", 3.0),
        ("overjet", 2.5),
        ("overbite", 2.0),
        ("saddle angle", 123.0),
        ("articular angle", 143.0),
        ("gonial angle", 126.0),  # 360 + 32 - 123 - 143
        ("N-S-Ba", 130.0),
        ("nasolabial angle", 105.0),
        ("upper lip to E-line", -4.0),
        ("lower lip to E-line", 2.5),
        ("A to N-perpendicular", 57 * math.cos(math.radians(269))),
        ("L1-NB angle", 180 - 2 - 22 - 134),  # the upper incisor at 291, the lower at 65 degrees
        ("interincisal angle", 134.0),
    ],
)
def test_textbook_face(textbook, name, expected):
    assert textbook[name] == pytest.approx(expected, abs=1e-6)


def test_every_measurement_has_a_value_and_a_plausible_one(textbook):
    assert None not in textbook.values()
    profile = load_norms()
    for name in ("SND", "facial angle", "Y axis", "facial axis", "APDI", "ODI", "gonial angle"):
        norm = profile.norms[name]
        usual = norm.mean if norm.mean is not None else (norm.low + norm.high) / 2
        assert textbook[name] == pytest.approx(usual, abs=6), name


def test_soft_tissue_convexity_by_hand(textbook):
    to_chin = math.degrees(math.atan2(98 - 94, 100 - 46))  # Sn to Pog', in front of the vertical
    assert textbook["soft tissue facial convexity"] == pytest.approx(7 - to_chin)


@pytest.mark.parametrize("wits", [-4.0, 0.0, 3.0])
def test_occlusal_plane_by_hand(wits):
    face = textbook_face(wits=wits)
    found = values(film(face))
    assert found["Wits"] == pytest.approx(wits, abs=1e-9)
    slope = occlusal_degrees(face["A"], face["B"], wits)
    assert found["occlusal plane cant"] == pytest.approx(-slope)  # FH is level


def test_identities_between_measurements(textbook):
    m = textbook
    assert m["FMA"] + m["IMPA"] + m["FMIA"] == pytest.approx(180)
    assert m["ANB"] + m["U1-NA angle"] + m["L1-NB angle"] + m["interincisal angle"] == (
        pytest.approx(180)
    )
    assert m["Bjork sum"] == pytest.approx(360 + m["SN-MP"])
    assert m["SN-PP"] + m["PP-MP"] == pytest.approx(m["SN-MP"])
    assert m["maxillomandibular difference"] == pytest.approx(m["Co-Gn"] - m["Co-A"])
    share = 100 * m["LAFH"] / (m["LAFH"] + m["UAFH"])
    assert m["LAFH ratio"] == pytest.approx(share)
    palatal_tilt = 1.0  # the front of the palatal plane is lower
    assert m["APDI"] == pytest.approx(m["facial angle"] + m["A-B plane angle"] + palatal_tilt)


def test_kim_adds_a_palatal_plane_that_falls_to_the_front():
    face = textbook_face()
    level = values(film(face | {"ANS": face["PNS"] + np.array([52.0, 0.0])}))
    raised = values(film(face | {"ANS": face["PNS"] + polar(np.zeros(2), 3, 52)}))
    assert raised["APDI"] == pytest.approx(level["APDI"] - 3)
    assert raised["ODI"] == pytest.approx(level["ODI"] - 3)
    # A-B makes one triangle with FH and MP: the angles at FH and MP and FMA are 180 together.
    back_to_ab = math.degrees(math.atan2(*(face["A"] - face["B"])[::-1]))
    assert level["ODI"] == pytest.approx(180 - 25 - back_to_ab)
    assert level["APDI"] == pytest.approx(back_to_ab)


def test_class_three_is_negative():
    class_three = values(film(textbook_face(sna=79, snb=83.5, wits=-6, overjet=-2)))
    assert class_three["ANB"] == pytest.approx(-4.5)
    assert class_three["Wits"] == pytest.approx(-6)
    assert class_three["overjet"] == pytest.approx(-2)
    assert class_three["angle of convexity"] < 0
    assert class_three["convexity"] < 0
    assert class_three["A-B plane angle"] > 0


def test_class_two_is_positive():
    class_two = values(film(textbook_face(sna=83, snb=75, wits=7, overjet=9)))
    assert class_two["ANB"] == pytest.approx(8)
    assert class_two["Wits"] == pytest.approx(7)
    assert class_two["overjet"] == pytest.approx(9)
    assert class_two["angle of convexity"] > 0
    assert class_two["convexity"] > 0
    assert class_two["A-B plane angle"] < -5


@pytest.mark.parametrize(
    ("name", "landmark", "step_mm", "sign"),
    [  # moving one landmark (to the front, up) must change the measurement this way
        ("SNA", "A", (2, 0), +1),
        ("SNB", "B", (2, 0), +1),
        ("ANB", "A", (2, 0), +1),
        ("ANB", "B", (2, 0), -1),
        ("SND", "D", (2, 0), +1),
        ("SN-GoGn", "Gn", (0, -2), +1),
        ("U1-NA angle", "U1", (2, 0), +1),
        ("U1-NA distance", "U1", (2, 0), +1),
        ("L1-NB angle", "L1", (2, 0), +1),
        ("L1-NB distance", "L1", (2, 0), +1),
        ("interincisal angle", "U1", (2, 0), -1),
        ("interincisal angle", "L1", (2, 0), -1),
        ("FMA", "Me", (0, -2), +1),
        ("IMPA", "L1", (2, 0), +1),
        ("FMIA", "L1", (2, 0), -1),
        ("facial angle", "Pog", (2, 0), +1),
        ("angle of convexity", "A", (2, 0), +1),
        ("angle of convexity", "Pog", (2, 0), -1),
        ("A-B plane angle", "A", (2, 0), -1),
        ("A-B plane angle", "B", (2, 0), +1),
        ("Y axis", "Gn", (2, 0), -1),
        ("occlusal plane cant", "U6", (0, 2), +1),
        ("Wits", "A", (2, 0), +1),
        ("Wits", "B", (2, 0), -1),
        ("SN-MP", "Go", (0, 2), +1),
        ("PP-MP", "ANS", (0, 2), +1),
        ("SN-PP", "ANS", (0, -2), +1),
        ("LAFH", "Me", (0, -2), +1),
        ("UAFH", "N", (0, 2), +1),
        ("LAFH ratio", "Me", (0, -2), +1),
        ("saddle angle", "Ar", (-2, 0), +1),
        ("gonial angle", "Me", (0, -2), +1),
        ("FHI", "Go", (0, -2), +1),
        ("Co-A", "A", (2, 0), +1),
        ("Co-Gn", "Gn", (2, -2), +1),
        ("A to N-perpendicular", "A", (2, 0), +1),
        ("Pog to N-perpendicular", "Pog", (2, 0), +1),
        ("facial axis", "Gn", (2, 0), +1),
        ("convexity", "A", (2, 0), +1),
        ("L1 to A-Pog", "L1", (2, 0), +1),
        ("upper lip to E-line", "Ls", (2, 0), +1),
        ("lower lip to E-line", "Li", (2, 0), +1),
        ("APDI", "B", (2, 0), +1),
        ("ODI", "Me", (0, -2), -1),
        ("N-S-Ba", "Ba", (-2, 0), +1),
        ("overjet", "U1", (2, 0), +1),
        ("overbite", "U1", (0, -2), +1),
        ("nasolabial angle", "Ls", (-2, 0), +1),
        ("soft tissue facial convexity", "Sn", (2, 0), +1),
    ],
)
def test_direction_of_every_measurement(textbook, name, landmark, step_mm, sign):
    face = textbook_face()
    face[landmark] = face[landmark] + np.array(step_mm)
    change = values(film(face))[name] - textbook[name]
    assert change * sign > 0.01


def test_retroclined_incisors_pass_180_degrees():
    found = values(film(textbook_face(u1_na=-20, impa=65)))
    assert found["U1-NA angle"] == pytest.approx(-20)
    assert found["interincisal angle"] > 180
    total = found["ANB"] + found["U1-NA angle"] + found["L1-NB angle"]
    assert total + found["interincisal angle"] == pytest.approx(180)


def test_negative_planes_keep_their_sign():
    found = values(film(textbook_face(fma=-3)))
    assert found["FMA"] == pytest.approx(-3)


def test_moved_turned_and_scaled_films(textbook):
    angle, scale = math.radians(23), 1.7
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    moved = film(textbook_face()) @ rotation.T * scale + (-340.0, 77.0)
    found = {m.name: m for m in measure(moved, CL38, MM_PER_PX)}
    for name, value in textbook.items():
        factor = scale if found[name].unit == "mm" else 1.0
        assert found[name].value == pytest.approx(value * factor, abs=1e-9), name
    recalibrated = values(moved, mm_per_px=MM_PER_PX / scale)
    assert recalibrated == pytest.approx(textbook, abs=1e-9)


def test_mirrored_film_gives_the_same_values(textbook):
    mirrored = film(textbook_face()) * (-1, 1) + (1934.0, 0.0)
    assert values(mirrored, facing="left") == pytest.approx(textbook, abs=1e-9)
    assert values(mirrored)["FMA"] != pytest.approx(textbook["FMA"], abs=1)


def test_landmarks_go_by_symbol_not_by_place(textbook):
    order = np.random.default_rng(5).permutation(len(CL38))
    symbols = tuple(CL38.symbols[i] for i in order)
    shuffled = LandmarkSet("mine", symbols, symbols, symbols, CL38.mirror, "")
    assert values(film(textbook_face())[order], shuffled) == textbook


def test_isbi_set_measures_what_it_can():
    isbi = load_landmark_set("isbi-19")
    points = film(textbook_face())[isbi.indices_in(CL38)]
    assert values(points, isbi)["SNA"] == pytest.approx(82)
    assert reason("Wits", points, isbi) == "landmarks U6 and L6 are not in the set isbi-19"
    assert reason("SND", points, isbi) == "landmark D is not in the set isbi-19"
    assert reason("overjet", points, isbi) == "landmarks U6 and L6 are not in the set isbi-19"
    for name in ("FMA", "ANB", "APDI", "ODI", "FHI", "LAFH ratio", "convexity", "Bjork sum"):
        assert values(points, isbi)[name] is not None


def test_landmark_that_was_not_found_costs_only_its_measurements(textbook):
    points = without(film(textbook_face()), "A")
    assert reason("SNA", points) == "landmark A was not found"
    assert reason("Wits", without(points, "U6")) == "landmarks A and U6 were not found"
    expected = {d.name: None if "A" in d.landmarks else textbook[d.name] for d in DEFINITIONS}
    assert values(points) == expected


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_half_a_coordinate_is_not_a_landmark(bad):
    points = film(textbook_face())
    points[CL38.index("N"), 1] = bad
    assert reason("SNB", points) == "landmark N was not found"


@pytest.mark.parametrize("scale", [None, math.nan])
def test_no_millimetres_without_a_calibration(textbook, scale):
    for found in measure(film(textbook_face()), CL38, scale):
        if found.unit == "mm":
            assert found.value is None
            assert found.unavailable == "no millimetre calibration"
        else:
            assert found.value == pytest.approx(textbook[found.name])


def test_points_that_coincide():
    points = film(textbook_face())
    points[CL38.index("N")] = points[CL38.index("S")]
    assert reason("SNA", points) == "landmarks N and S coincide"
    points = film(textbook_face())
    points[CL38.index("ANS")] = points[CL38.index("PNS")] + 0.5
    assert reason("LAFH", points) == "landmarks PNS and ANS coincide"
    points[CL38.index("U6")] = points[CL38.index("U1")]
    points[CL38.index("L6")] = points[CL38.index("L1")]
    assert reason("Wits", points) == "the ends of the occlusal plane coincide"
    assert all(m.unavailable for m in measure(np.zeros((38, 2)), CL38, 0.1))


def test_ratio_of_heights_needs_the_palate_between_nasion_and_menton():
    face = textbook_face()
    points = film(face | {"N": face["N"] - np.array([0.0, 80.0])})
    assert reason("LAFH ratio", points) == "the palatal plane does not pass between N and Me"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((19, 2)), CL38, 0.1), r"shape \(38, 2\) for the landmark set cl-38, got \(19, "),
        ((np.zeros((38, 3)), CL38, 0.1), r"got \(38, 3\)"),
        ((np.zeros((38, 2)), CL38, 0.0), "mm_per_px above 0, or None if unknown, got 0.0"),
        ((np.zeros((38, 2)), CL38, -0.1), "mm_per_px above 0"),
        ((np.zeros((38, 2)), CL38, math.inf), "mm_per_px above 0"),
    ],
)
def test_impossible_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        measure(*arguments)


def test_impossible_side():
    with pytest.raises(InputError, match="'right' or 'left', got 'up'"):
        measure(np.zeros((38, 2)), CL38, 0.1, facing="up")


def test_inputs_are_not_changed():
    points = film(textbook_face())
    before = points.copy()
    measure(points, CL38, 0.1, facing="left")
    np.testing.assert_array_equal(points, before)


def test_ready_for_strict_json():
    points = without(film(textbook_face()).astype(np.float32), "A")
    entries = [m.as_dict() for m in measure(points, CL38, np.float32(0.1))]
    assert json.loads(json.dumps(entries, allow_nan=False)) == entries
    assert set(entries[0]) == {"name", "group", "value", "unit", "unavailable", "construction"}


class Recorder(dict):
    def __init__(self, content):
        super().__init__(content)
        self.asked = set()

    def __getitem__(self, symbol):
        self.asked.add(symbol)
        return super().__getitem__(symbol)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.name)
def test_definitions_name_the_landmarks_they_use(definition):
    face = Recorder(textbook_face())
    definition.formula(Tracing(face))
    assert face.asked == set(definition.landmarks)
    assert set(definition.landmarks) <= set(CL38.symbols)
    assert definition.construction.endswith(".")


def test_definitions_are_unique_and_keep_their_groups_together():
    names = [d.name for d in DEFINITIONS]
    assert len(names) == len(set(names)) >= 40
    groups = [d.group for d in DEFINITIONS]
    runs = [g for i, g in enumerate(groups) if i == 0 or g != groups[i - 1]]
    assert len(runs) == len(set(runs))
    assert {"Steiner", "Tweed", "Downs", "Wits", "Vertical", "Jarabak", "McNamara"} <= set(groups)


def test_wits_names_its_construction():
    found = {d.name: d for d in DEFINITIONS}
    for name in ("Wits", "overjet", "overbite", "occlusal plane cant"):
        assert "bisected occlusal plane" in found[name].construction


def test_norms_belong_to_measurements():
    profile = load_norms()
    assert set(profile.norms) <= {d.name for d in DEFINITIONS}
    assert "Caucasian adults, textbook values" in profile.title
    for name, norm in profile.norms.items():
        assert norm.mean is not None or (norm.low is not None and norm.high is not None), name
        assert norm.certainty in ("abstract", "secondary", "unverified")
    assert profile.norms["SNA"].z_score(86.0) == pytest.approx(2.0)
    assert profile.norms["FMA"].z_score(27.0) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "object with name, title, norms"),
        ({"name": "x", "title": "y", "norms": []}, "object by measurement"),
        ({"name": "x", "title": "y", "norms": {"SNA": {"mean": 1}}}, "with a source"),
        (
            {"name": "x", "title": "y", "norms": {"SNA": {"source": "s", "certainty": "sure"}}},
            "abstract, secondary or unverified, got 'sure'",
        ),
        (
            {
                "name": "x",
                "title": "y",
                "norms": {"SNA": {"source": "s", "certainty": "unverified", "mean": "82"}},
            },
            "Expected mean of the norm of 'SNA' .* to be a number, got '82'",
        ),
        (
            {
                "name": "x",
                "title": "y",
                "norms": {"SNA": {"source": "s", "certainty": "unverified", "sd": 0}},
            },
            "sd of .* above 0, got 0.0",
        ),
    ],
)
def test_bad_norm_files(tmp_path, content, message):
    path = tmp_path / "norms.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        load_norms(str(path))


def test_unknown_norms_list_the_known():
    with pytest.raises(InputError, match=r"got 'mars'\. Known: textbook-caucasian-adults\."):
        load_norms("mars")


def read_isbi(doctor):
    path = ISBI / f"landmarks_{doctor}.csv"
    if not path.is_file():
        pytest.skip("the ISBI 2015 marks are not in ../shared/data")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    marks = [[[float(r[f"p{i}x"]), float(r[f"p{i}y"])] for i in range(1, 20)] for r in rows]
    return np.array(marks)


@pytest.fixture(scope="module")
def isbi_doctors():
    isbi = load_landmark_set("isbi-19")
    names = ("SNA", "SNB", "ANB", "FMA", "SN-MP", "PP-MP", "gonial angle", "facial angle")
    names += ("Y axis", "FHI", "LAFH", "LAFH ratio", "saddle angle", "APDI", "ODI")

    def table(doctor):
        found = [values(points, isbi, 0.1) for points in read_isbi(doctor)]
        return {name: np.array([film[name] for film in found]) for name in names}

    return table("junior"), table("senior")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "over_400_films"),
    [
        ("SNA", 2.39),
        ("SNB", 1.78),
        ("ANB", 1.37),
        ("FMA", 2.47),
        ("SN-MP", 1.82),
        ("PP-MP", 1.62),
        ("gonial angle", 2.49),
        ("facial angle", 2.33),
        ("Y axis", 2.27),
    ],
)
def test_two_doctors_differ_as_much_as_known(isbi_doctors, name, over_400_films):
    # The known figures are over the challenge's 400 films, of which 300 are here. The doctors
    # differ otherwise on the 100 that are not: 1.51 mm a landmark against 2.36 mm, so the mean of
    # the 300 can be some way off that of the 400. A wrong formula would be off by far more.
    junior, senior = isbi_doctors
    difference = np.abs(junior[name] - senior[name]).mean()
    assert difference == pytest.approx(over_400_films, rel=0.2)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("SNA", 79, 85),
        ("SNB", 76, 82),
        ("ANB", 0, 6),
        ("FMA", 22, 32),
        ("SN-MP", 28, 40),
        ("PP-MP", 20, 32),
        ("gonial angle", 115, 132),
        ("saddle angle", 115, 132),
        ("facial angle", 82, 92),
        ("Y axis", 56, 68),
        ("FHI", 0.58, 0.72),
        ("LAFH ratio", 50, 60),
        ("APDI", 76, 88),
        ("ODI", 64, 80),
    ],
)
def test_real_films_have_the_values_of_people(isbi_doctors, name, low, high):
    senior = isbi_doctors[1][name]
    assert np.isfinite(senior).all()
    assert low < np.median(senior) < high
