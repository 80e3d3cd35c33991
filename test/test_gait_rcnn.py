"""R-CNN as detector: circles from boxes and keypoints, weights by path, few looks."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import detection

from medvial.errors import InputError
from medvial.gait.rcnn import RcnnPeople, circles_of, load_rcnn

BOXES = np.array([[10.0, 20, 60, 220], [100, 40, 140, 140], [300, 0, 340, 90]])
FOUND = {"boxes": BOXES, "labels": np.array([1.0, 1, 3]), "scores": np.array([0.6, 0.9, 0.99])}


@pytest.fixture(scope="module")
def keypoint_state():
    torch.manual_seed(0)
    net = detection.keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    return net.state_dict()


def test_boxes_become_upright_circles_around_the_hips():
    first, second = circles_of(FOUND, 0.5)
    assert (first.x, first.y, first.radius, first.score) == pytest.approx((120, 87, 55, 0.9))
    assert (second.x, second.y, second.radius, second.up) == pytest.approx((35, 114, 110, 0))
    assert len(circles_of(FOUND, 0.8)) == 1


def test_keypoints_say_where_the_hips_are_and_where_the_head():
    keypoints = np.zeros((3, 17, 3))
    keypoints[1, [11, 12], :2] = [[118, 90], [122, 94]]
    keypoints[1, [5, 6], :2] = [[158, 92], [162, 92]]  # lies with the head to the right
    circle = circles_of(FOUND | {"keypoints": keypoints}, 0.8)[0]
    assert (circle.x, circle.y) == pytest.approx((120, 92))
    assert circle.up == pytest.approx(math.pi / 2)


@pytest.mark.slow  # 240 MB
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_by_path(tmp_path, keypoint_state, suffix):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"model": keypoint_state}, path)
    else:
        save_file(keypoint_state, path)
    net = load_rcnn(str(path))
    assert not net.training
    for key, value in net.state_dict().items():
        torch.testing.assert_close(value.cpu(), keypoint_state[key])


def test_unusable_weights(tmp_path):
    with pytest.raises(InputError, match="found none"):
        load_rcnn(str(tmp_path / "no.pth"))
    with pytest.raises(InputError, match="one of keypointrcnn_resnet50_fpn"):
        load_rcnn("torchvision:maskrcnn_resnet50_fpn")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(InputError, match="Expected a state dictionary"):
        load_rcnn(str(tmp_path / "text.pth"))
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="trained on COCO"):
        load_rcnn(str(tmp_path / "other.pth"))


class Seen:
    """Stands for the network: one person in the middle of whatever it is shown."""

    def __init__(self):
        self.shapes = []

    def parameters(self):
        yield torch.zeros(1)

    def __call__(self, images):
        (image,) = images
        self.shapes.append(tuple(image.shape))
        _, height, width = image.shape
        assert 0 <= image.min() <= image.max() <= 1
        box = torch.tensor([[0.4 * width, 0.1 * height, 0.6 * width, 0.9 * height]])
        return [{"boxes": box, "labels": torch.tensor([1]), "scores": torch.tensor([0.9])}]


def test_one_look_for_many_regions():
    people = RcnnPeople.__new__(RcnnPeople)
    people._net = Seen()
    frame = np.full((120, 200, 3), 255, np.uint8)
    (circle,) = people.detect_in(frame, [(20, 10, 80, 60), (60, 30, 140, 110)])
    assert people._net.shapes == [(3, 100, 120)]  # x 20 to 140, y 10 to 110
    assert (circle.x, circle.y) == pytest.approx((80, 10 + 10 + 0.47 * 80))
    assert circle.radius == pytest.approx(0.55 * 80)
    assert people.detect_in(frame, []) == []
