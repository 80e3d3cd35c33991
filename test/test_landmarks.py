import json
import re

import pytest

from medvial.cldetection.landmarks import (
    GROUPS,
    LandmarkSet,
    landmark_set_names,
    load_landmark_set,
)
from medvial.errors import InputError

CL38 = (
    "S N Or Po A B Pog Me Gn Go L1 U1 Ls Li Sn Pog' PNS ANS Ar D U1apex L1apex Cm Ptm Co Prn Ba "
    "Pt Bo Ls2 Li2 Gn' Me' G' N' C U6 L6"
)


@pytest.fixture
def own_set(tmp_path):
    """Write a landmark set file; `change` replaces fields, None removes one."""

    def write(**change):
        content = {
            "name": "hand",
            "source": "made for this test",
            "landmarks": [
                {"symbol": "tip-l", "title": "Left tip", "group": "other"},
                {"symbol": "mid", "title": "Middle"},
                {"symbol": "tip-r", "title": "Right tip"},
            ],
            "mirror_pairs": [["tip-l", "tip-r"]],
        } | change
        path = tmp_path / "hand.json"
        path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
        return str(path)

    return write


@pytest.mark.parametrize(("name", "count"), [("isbi-19", 19), ("cl-38", 38), ("cl-53", 53)])
def test_shipped_sets_are_complete(name, count):
    landmark_set = load_landmark_set(name)
    assert landmark_set.name == name
    assert len(landmark_set) == len(set(landmark_set.symbols)) == count
    assert len(landmark_set.titles) == len(landmark_set.groups) == count
    assert landmark_set.output_names == tuple(str(n) for n in range(1, count + 1))
    assert landmark_set.mirror == tuple(range(count))
    assert set(landmark_set.groups) <= set(GROUPS)
    assert len(landmark_set.source) > 40


def test_every_shipped_set_is_tested():
    assert landmark_set_names() == ["cl-38", "cl-53", "isbi-19"]


def test_orders_extend_each_other():
    sets = [load_landmark_set(name) for name in ("isbi-19", "cl-38", "cl-53")]
    assert sets[1].symbols == tuple(CL38.split())
    assert sets[0].symbols == sets[1].symbols[:19]
    assert sets[1].symbols == sets[2].symbols[:38]


def test_groups_have_the_published_counts():
    groups = load_landmark_set("cl-53").groups
    counts = {group: groups.count(group) for group in GROUPS}
    assert counts == {"skull": 19, "tooth": 6, "soft": 13, "vertebra": 13, "ruler": 2, "other": 0}


def test_uncertain_orders_say_so():
    assert "uncertain" in load_landmark_set("cl-53").source
    assert "Least certain" in load_landmark_set("cl-38").source


def test_index_and_subset():
    isbi, cl38 = load_landmark_set("isbi-19"), load_landmark_set("cl-38")
    assert (isbi.index("S"), isbi.index("Ar")) == (0, 18)
    assert isbi.indices_in(cl38) == list(range(19))
    shuffled = LandmarkSet("x", ("U6", "S"), ("", ""), ("tooth", "skull"), (0, 1), "")
    assert shuffled.indices_in(cl38) == [36, 0]


def test_index_lists_what_is_known():
    with pytest.raises(InputError, match=r"set isbi-19, got 'U6'\. Known: S, N, Or, .*, Ar\."):
        load_landmark_set("isbi-19").index("U6")


def test_subset_names_everything_that_is_missing():
    with pytest.raises(InputError, match=r"lacks D, U1apex, .*, U6, L6\."):
        load_landmark_set("cl-38").indices_in(load_landmark_set("isbi-19"))


def test_own_file(own_set):
    landmark_set = load_landmark_set(own_set())
    assert landmark_set.symbols == ("tip-l", "mid", "tip-r")
    assert landmark_set.titles == ("Left tip", "Middle", "Right tip")
    assert landmark_set.groups == ("other", "other", "other")
    assert landmark_set.mirror == (2, 1, 0)


@pytest.mark.parametrize("name", ["cl-39", "missing.json", "", ".", "../cl-38"])
def test_unknown_sets_list_the_known(name):
    expected = re.escape(f"got {name!r}. Known: cl-38, cl-53, isbi-19.")
    with pytest.raises(InputError, match=expected):
        load_landmark_set(name)


MARK = {"symbol": "a", "title": "A"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"landmarks": []}, r"at least one landmark .* got \[\]"),
        ({"landmarks": None}, "at least one landmark .* got None"),
        ({"landmarks": {"a": 1}}, "Expected a list"),
        ({"landmarks": ["a", "b"]}, "object with symbol and title, got 'a'"),
        ({"landmarks": [MARK, MARK]}, "every symbol once .* got a repeatedly"),
        ({"landmarks": [{"symbol": "", "title": "A"}]}, "'symbol' .* got ''"),
        ({"landmarks": [{"symbol": " a", "title": "A"}]}, "'symbol' .* got ' a'"),
        ({"landmarks": [{"symbol": 3, "title": "A"}]}, "'symbol' .* got 3"),
        ({"landmarks": [{"symbol": "a"}]}, "'title' .* got None"),
        ({"landmarks": [MARK | {"group": "bone"}]}, "'group' .* got 'bone'"),
        ({"name": None}, "'name' .* got None"),
        ({"name": 38}, "'name' .* got 38"),
        ({"source": None}, "'source' .* got None"),
        ({"mirror_pairs": [["tip-l", "tip-x"]]}, r"pairs of two symbols .* 'tip-x'"),
        ({"mirror_pairs": [["mid", "mid"]]}, "pairs of two symbols"),
        ({"mirror_pairs": [["tip-l", "mid"], ["mid", "tip-r"]]}, "in one pair at most"),
        ({"mirror_pairs": "tip-l"}, "pairs of two symbols .* got 'tip-l'"),
    ],
)
def test_bad_files_are_refused(own_set, change, message):
    with pytest.raises(InputError, match=message):
        load_landmark_set(own_set(**change))


def test_files_that_are_no_object(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("[1, 2]")
    with pytest.raises(InputError, match=r"Expected an object .* got list"):
        load_landmark_set(str(path))
    path.write_text("{")
    with pytest.raises(InputError, match="Expected JSON"):
        load_landmark_set(str(path))
