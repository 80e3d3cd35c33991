"""One walking video, with everything that is true of it."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial_training.phantoms.gait_body import Body, Pose, body_of
from medvial_training.phantoms.gait_camera import Camera, place
from medvial_training.phantoms.gait_draw import Image, Outlines, outline
from medvial_training.phantoms.gait_figure import WHITE_COAT, Look, figure, from_hsv, sample_look
from medvial_training.phantoms.gait_scene import film, room, sample_sensor
from medvial_training.phantoms.gait_walk import Walker, sample_walker, walk

Array = NDArray[np.float64]
Shortcut = Literal["none", "clothes", "background"]
WARM, COLD = 0.02, 0.58  # hues of a shortcut: with and without the deformity
TALL = (0.55, 0.76)  # a subject of 1.62 m, in heights of the picture
BYSTANDER_SHARE, WALKING_SHARE, COAT_SHARE = 0.4, 0.5, 0.5
MIN_SIZE_PX = 64


@dataclass(frozen=True)
class Person:
    """Somebody in the picture. Pixels: first pixel's centre at (0, 0)."""

    joints_px: Array
    """(T, 25, 2) BODY_25 as (x, y), inside the picture or not."""
    boxes_px: Array
    """(T, 4): x0, y0, x1, y1 of what is in the picture; NaN where nothing is."""
    visible: Array
    """(T,) share of the person's own box that is in the picture."""


@dataclass(frozen=True)
class WalkingPhantom:
    """A video and everything that is true of it."""

    frames: Image
    """(T, H, W, 3) RGB."""
    fps: float
    walker: Walker
    cadence: float
    """Steps a minute in this video; the step's length is the walker's."""
    facing: Literal["right", "left"]
    patient: Person
    bystander: Person | None
    joints_m: Array
    """(T, 25, 3) of the patient: (to the picture's right, up, to the camera)."""
    contacts_s: dict[str, Array]
    """Times at which each foot, "right" and "left", comes down."""
    px_per_m: float
    """In the patient's plane."""
    look: Look

    @property
    def asd(self) -> bool:
        """Whether the patient has adult spinal deformity."""
        return self.walker.disease == "ASD"


def make_walker(
    seed: int | list[int],
    asd: bool,
    *,
    video: int = 0,
    height: int = 180,
    width: int = 320,
    fps: float = 30.0,
    clip_s: float = 2.4,
    shortcut: Shortcut = "none",
    shortcut_share: float = 1.0,
    shirt_hue: float | None = None,
    bystander: bool | None = None,
    walker: Walker | None = None,
    draw: bool = True,
) -> WalkingPhantom:
    """Film one patient once.

    Args:
        seed: The patient: same seed, same body, walk and clothes.
        asd: Whether the patient has adult spinal deformity.
        video: Which of the patient's videos: room, camera, way and light differ, the walk a little.
        height: Rows.
        width: Columns.
        fps: Frames per second.
        clip_s: Length in seconds.
        shortcut: What gives the label away: the shirt's colour or the wall's, or nothing.
        shortcut_share: In how many patients it does, 0 to 1; in the others it misleads.
        shirt_hue: Of the shirt, 0 to 1, whatever the label; any if None.
        bystander: Somebody else in the picture; in two of five videos if None.
        walker: Replaces the sampled one.
        draw: False leaves the frames black: truth alone, fast.

    Raises:
        InputError: Size, speed or length make no video.
    """
    _check(height, width, fps, clip_s, shortcut_share)
    key = list(np.atleast_1d(seed))
    walker = walker or sample_walker(np.random.default_rng([*key, 0]), asd)
    looks = np.random.default_rng([*key, 1])  # apart from the walk: knows nothing of the label
    look, betrays = sample_look(looks), looks.random() < shortcut_share
    hue = (WARM if asd == betrays else COLD) + float(looks.uniform(-0.05, 0.05))
    hue = hue if shirt_hue is None else shirt_hue + float(looks.uniform(-0.05, 0.05))
    if shortcut == "clothes" or shirt_hue is not None:
        look = replace(look, shirt=from_hsv(hue, 0.8, float(looks.uniform(0.5, 0.9))))
    rng = np.random.default_rng([*key, 2, video])
    camera = _camera(height, width, rng)
    times = np.arange(max(1, round(clip_s * fps))) / fps
    pace = float(np.clip(rng.normal(1, 0.03), 0.92, 1.08))
    cycles_s, start = pace * walker.cadence / 120, float(rng.random())
    body, way = walk(walker, start + cycles_s * times)
    right = bool(rng.random() < 0.5)
    at = _path(way - way[0], right, camera, rng)
    sensor = sample_sensor(rng)
    heading = 0.0 if right else 180.0
    drawn = outline(figure(body, look), heading, at, camera, sensor.light)
    patient = _person(body, heading, at, camera, drawn)
    people, other = [drawn], None
    if rng.random() < BYSTANDER_SHARE if bystander is None else bystander:
        company, other = _company(times, at, heading, camera, sensor.light, rng)
        people.append(company)
    wall = room(camera, rng, hue=hue if shortcut == "background" else None)
    frames = np.zeros((len(times), height, width, 3), np.uint8)
    if draw:
        for k, image in enumerate(film(wall, people, len(times), sensor, rng)):
            frames[k] = image
    return WalkingPhantom(
        *(frames, fps, walker, pace * walker.cadence, "right" if right else "left"),
        *(patient, other, place(body.joints, heading, at)),
        {
            "right": _contacts(start, cycles_s, times),
            "left": _contacts(start + 0.5, cycles_s, times),
        },
        float(camera.scale(0.0)),
        look,
    )


def _check(height: int, width: int, fps: float, clip_s: float, share: float) -> None:
    if min(height, width) < MIN_SIZE_PX or not (5 <= fps <= 240 and 0 < clip_s <= 600):
        raise InputError(
            f"Expected a video of at least {MIN_SIZE_PX} x {MIN_SIZE_PX} pixels, 5 to 240 frames a "
            f"second and up to 600 s, got {width} x {height} (width x height), {fps} frames a "
            f"second, {clip_s} s."
        )
    if not 0 <= share <= 1:
        raise InputError(f"Expected a shortcut's share of 0 to 1, got {share}.")


def _camera(height: int, width: int, rng: np.random.Generator) -> Camera:
    """A level camera some metres from the walkway, which is near the picture's lower edge."""
    scale = float(rng.uniform(*TALL)) * height / 1.62
    distance, above = float(rng.uniform(3.5, 7.0)), float(rng.uniform(0.9, 1.4))
    floor = float(rng.uniform(0.88, 0.95)) * height
    centre = ((width - 1) / 2, floor - scale * above)
    return Camera(width, height, scale * distance, distance, above, centre)


def _path(way: Array, right: bool, camera: Camera, rng: np.random.Generator) -> Array:
    """Where the patient is, (T, 3): a quarter comes into the picture, a quarter leaves it.

    In a view that is too narrow for the whole way, the middle of the way is in the middle.
    """
    low, high = camera.seen_m()
    span, margin = float(way[-1]), 0.35
    room_m = (high - low) - span - 2 * margin
    kind = rng.choice(["inside", "enters", "leaves"], p=[0.5, 0.25, 0.25])
    start = low + margin + max(0.0, room_m) * float(rng.random()) + min(0.0, room_m) / 2
    outside = float(rng.uniform(0.1, 0.3)) * span
    if kind == "enters":
        start = low - outside
    elif kind == "leaves":
        start = high + outside - span
    x = start + way
    mirrored = low + high - x
    return np.stack([x if right else mirrored, np.zeros_like(x), np.zeros_like(x)], axis=-1)


def _person(body: Body, heading: float, at: Array, camera: Camera, drawn: Outlines) -> Person:
    joints = camera.project(place(body.joints, heading, at))
    whole = drawn.boxes
    limits = np.array([camera.width - 1, camera.height - 1] * 2, float)
    cut = np.clip(whole, 0, limits)
    area, seen = (np.maximum(b[:, 2] - b[:, 0], 0) * np.maximum(b[:, 3] - b[:, 1], 0)
                  for b in (whole, cut))  # fmt: skip
    visible = seen / area
    return Person(joints, np.where(visible[:, None] > 0, cut, np.nan), visible)


def _contacts(start: float, cycles_s: float, times: Array) -> Array:
    """Times in the clip at which the phase is whole."""
    first, last = start, start + cycles_s * float(times[-1])
    contacts: Array = (np.arange(np.ceil(first), np.floor(last) + 1) - start) / cycles_s
    return contacts


def _company(
    times: Array, at: Array, heading: float, camera: Camera, light: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[Outlines, Person]:  # fmt: skip
    """Somebody behind the patient, who stands or walks along more upright."""
    look = sample_look(rng)
    if rng.random() < COAT_SHARE:
        look = replace(look, shirt=WHITE_COAT, long_sleeves=True, hem=0.16)
    tall = float(np.clip(rng.normal(1.76, 0.07), 1.6, 1.95))
    behind = -float(rng.uniform(0.5, 1.1))
    if rng.random() < WALKING_SHARE:
        walker = sample_walker(
            rng, False, disease="control", height_m=tall, trunk_deg=3.0, speed_m_s=0.95, step_m=0.58
        )
        body, way = walk(walker, rng.random() + walker.cadence / 120 * times)
        sign = np.cos(np.deg2rad(heading))
        speed = (at[-1, 0] - at[0, 0]) / (sign * (way[-1] - way[0])) if len(way) > 1 else 1.0
        offset = at[0, 0] - sign * float(rng.uniform(0.5, 1.1))
        x = offset + sign * speed * (way - way[0])
    else:
        body = stand(len(times), tall, rng)
        low, high = camera.seen_m()
        heading = float(rng.uniform(30, 150))
        x = np.full(len(times), float(rng.uniform(low * 0.9, high * 0.9)))
    path = np.stack([x, np.zeros_like(x), np.full_like(x, behind)], axis=-1)
    drawn = outline(figure(body, look), heading, path, camera, light)
    return drawn, _person(body, heading, path, camera, drawn)


def stand(count: int, tall: float, rng: np.random.Generator) -> Body:
    """A person who stands, swaying a little."""
    sway = 1.2 * np.sin(2 * np.pi * 0.3 * np.arange(count) / 30 + rng.uniform(0, 6))
    still = np.ones(count)
    shank, foot = -0.491 * tall, 0.152 * tall
    leg = np.array([(0.0, -0.245 * tall), (-0.005, shank), (-0.25 * foot, shank - 0.039 * tall),
                    (0.75 * foot, shank - 0.039 * tall)])  # fmt: skip
    legs = np.broadcast_to(leg, (count, 4, 2))
    pose = Pose(
        0.53 * tall * still, (legs, legs), 2 + sway, 12 * still, 18 * still, 8 + 2 * sway,
        (rng.uniform(-5, 15) + sway, rng.uniform(-5, 15) + sway), rng.uniform(10, 80) * still,
        sway, turn_deg=sway + rng.uniform(-25, 25),
    )  # fmt: skip
    return body_of(pose, tall)
