"""Random changes of clips, by known answers."""

import pytest
import torch

from medvial.errors import InputError
from medvial_training.clips.augment import ClipAugmentation, augment

NONE = {
    name: 0.0
    for name in ("flip", "log_scale", "log_aspect", "brightness", "contrast", "saturation", "blur")
}


def clips(count=5, frames=4, side=14):
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (count, frames, side, side, 3), generator=generator).byte()


def changed(values, crop, seed=0, **settings):
    torch.manual_seed(seed)
    return augment(values, ClipAugmentation(**{**NONE, **settings}), crop)


def test_without_changes_it_is_a_random_cut_out():
    values = clips()
    result = changed(values, 9)
    assert result.shape == (5, 3, 4, 9, 9)
    corners = set()
    for clip, cut in zip(values.permute(0, 4, 1, 2, 3).float(), result, strict=True):
        found = [
            (y, x)
            for y in range(6)
            for x in range(6)
            if torch.allclose(clip[:, :, y : y + 9, x : x + 9], cut, atol=1e-2)
        ]
        assert len(found) == 1
        corners.update(found)
    assert len(corners) > 2


def test_a_whole_square_stays_as_it_is():
    values = clips(side=9)
    expected = values.permute(0, 4, 1, 2, 3).float()
    torch.testing.assert_close(changed(values, 9), expected, atol=1e-2, rtol=0)


def test_flips_mirror_left_and_right_of_all_frames():
    values = clips(side=9)
    expected = values.permute(0, 4, 1, 2, 3).float().flip(-1)
    torch.testing.assert_close(changed(values, 9, flip=1.0), expected, atol=1e-2, rtol=0)


def test_scale_and_aspect_stay_inside_the_frame():
    rows = torch.arange(40.0).view(1, 1, 40, 1, 1).expand(64, 1, 40, 40, 3)
    columns = rows.transpose(2, 3)
    for values, axis in ((rows, 3), (columns, 4)):
        result = changed(values.byte(), 20, log_scale=0.5, log_aspect=0.3)
        steps = (result.amax(dim=axis) - result.amin(dim=axis))[:, 0, 0, 0] / 19
        assert 0.5 < float(steps.min()) < 0.8
        assert 1.2 < float(steps.max()) < 1.95
        assert result.min() >= 0
        assert result.max() <= 39


@pytest.mark.parametrize(
    ("setting", "measure"),
    [
        ("brightness", lambda x: x.mean(dim=(1, 2))),
        ("contrast", lambda x: x.std(dim=(1, 2))),
        ("saturation", lambda x: x.std(dim=1).mean(dim=1)),
    ],
)
def test_colours_change_within_their_range(setting, measure):
    values = (clips(64, side=9).float() * 0.2 + 100).byte()  # nothing is cut off at 0 or 255
    before = values.permute(0, 4, 1, 2, 3).flatten(2).float()
    after = changed(values, 9, **{setting: 0.3}).flatten(2)
    ratio = measure(after) / measure(before)
    assert 0.69 < float(ratio.min()) < 0.8
    assert 1.2 < float(ratio.max()) < 1.31
    if setting != "brightness":
        grey = torch.tensor([0.299, 0.587, 0.114])
        levels = [torch.einsum("c,ncp->n", grey, x) / x.shape[2] for x in (before, after)]
        torch.testing.assert_close(*levels, atol=0.5, rtol=0)


def test_all_frames_of_a_clip_change_alike():
    values = clips(8, frames=1).expand(8, 5, 14, 14, 3).contiguous()
    settings = dict.fromkeys(("log_scale", "brightness", "saturation"), 0.3)
    result = changed(values, 10, flip=0.5, blur=1.0, erase=1.0, **settings)
    torch.testing.assert_close(result, result[:, :, :1].expand_as(result), atol=1e-3, rtol=0)
    assert len({float(r.mean()) for r in result}) == 8


def test_blur_smooths_and_erasing_greys_out_some():
    values = clips(20, side=16)
    before = changed(values, 16)
    blurred = changed(values, 16, blur=0.5, blur_px=3.0)
    smoother = blurred.flatten(1).std(dim=1) < 0.95 * before.flatten(1).std(dim=1)
    assert 3 <= int(smoother.sum()) <= 17
    erased = changed(values, 16, erase=1.0)
    share = (erased == 127.5).float().flatten(1).mean(dim=1)
    assert 0.01 < float(share.min()) < 0.15
    assert 0.2 < float(share.max()) < 0.45


def test_the_same_seed_gives_the_same_changes():
    settings = ClipAugmentation(blur=0.5, erase=0.5)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augment(clips(), settings, 9))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    with pytest.raises(InputError, match=r"flip of the augmentation from 0 to 1, got 2"):
        ClipAugmentation(flip=2)
