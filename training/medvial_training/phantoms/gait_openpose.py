"""One leg agility recording: exact joints, what a pose estimator makes of them, and the film."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medvial.errors import InputError
from medvial_training.phantoms.gait_agility import Trial, sample_trial
from medvial_training.phantoms.gait_body import JOINT, Body
from medvial_training.phantoms.gait_camera import Camera, place
from medvial_training.phantoms.gait_draw import Image, outline
from medvial_training.phantoms.gait_figure import Look, figure, from_hsv, sample_look
from medvial_training.phantoms.gait_scene import Sensor, film, room, sample_sensor
from medvial_training.phantoms.gait_seated import draw_chair, sit
from medvial_training.phantoms.gait_video import stand

Array = NDArray[np.float64]
HEIGHT, WIDTH, FPS = 960, 540, 30.0  # portrait, as the source's recordings
FOCAL = 0.94  # in heights of the picture
DISTANCE_M, CAMERA_M, YAW_DEG = (2.8, 3.4), (0.9, 1.25), 35.0
REST_S, BETWEEN_S = (0.5, 1.0), (1.2, 2.5)
JITTER_PX, DROPOUT, CONFIDENCE = 1.5, 0.02, (12, 2)  # pixels of 960 rows; share; beta distribution
HIDDEN_RUNS, HIDDEN_FRAMES = 3, (4, 16)  # at most, of one joint; frames
NOBODY_RUNS, NOBODY_FRAMES = 2, (1, 5)
SECOND_SHARE, SECOND_SEEN = 0.35, 0.85


@dataclass(frozen=True)
class Actor:
    """Somebody in the room."""

    body: Body
    look: Look
    heading_deg: float
    """0 to the picture's right, 90 to the camera."""
    at_m: Array
    """(T, 3) where the body's origin is."""

    def joints_px(self, camera: Camera) -> Array:
        """(T, 25, 2) BODY_25 joints as (x, y)."""
        return camera.project(place(self.body.joints, self.heading_deg, self.at_m))


@dataclass(frozen=True)
class AgilityPhantom:
    """A recording and everything that is true of it. Frames count from 0."""

    trials: dict[str, Trial | None]
    """Of the "left" and the "right" leg; None: not examined, the leg stays down."""
    fps: float
    shape: tuple[int, int]
    """Rows and columns of the picture."""
    yaw_deg: float
    """How far the person is turned from the camera, to the person's left positive."""
    joints_px: Array
    """(T, 25, 2) exact BODY_25 joints as (x, y)."""
    elevation_deg: dict[str, Array]
    """(T,) of each thigh above rest."""
    people: list[Array]
    """What a pose estimator finds in each frame: (P, 25, 3) x, y, confidence; missing 0, 0, 0."""
    patient: NDArray[np.int64]
    """(T,) which of them is the patient; -1 where nobody is found."""
    cast: list[Actor]
    """Who is there, the patient first."""
    camera: Camera
    sensor: Sensor
    seed: list[int]

    def film(self) -> Iterator[Image]:
        """The pictures, (H, W, 3) RGB one after another."""
        drawn = [
            outline(figure(a.body, a.look), a.heading_deg, a.at_m, self.camera, self.sensor.light)
            for a in self.cast
        ]
        return film(self._room(), drawn, len(self.people), self.sensor, _stream(self.seed, 5))

    def _room(self) -> Image:
        """The room and the patient's chair."""
        rng = _stream(self.seed, 3)
        colour = from_hsv(
            float(rng.random()), float(rng.uniform(0, 0.5)), float(rng.uniform(0.2, 0.8))
        )
        image = room(self.camera, rng)
        sitter = self.cast[0]
        hip_m = float(sitter.body.joints[0, JOINT["mid_hip"], 1])
        draw_chair(image, self.camera, sitter.heading_deg, sitter.at_m[0], hip_m, colour)
        return image


def make_leg_agility(
    seed: int | list[int],
    left: int | None,
    right: int | None,
    *,
    height: int = HEIGHT,
    width: int = WIDTH,
    fps: float = FPS,
    second_person: bool | None = None,
    yaw_deg: float | None = None,
) -> AgilityPhantom:
    """Record a seated person who raises and stomps one foot, then the other.

    Args:
        seed: Same seed and scores, same recording; another size shows the same scene.
        left: Score of the left leg, 0 to 4; None if it is not examined.
        right: The same of the right leg.
        height: Rows.
        width: Columns.
        fps: Frames per second.
        second_person: Somebody beside the patient; in a third of the recordings if None.
        yaw_deg: How far the person is turned away, -35 to 35 at random if None.

    Raises:
        InputError: A score that the item does not have, or a picture below 64 pixels.
    """
    if min(height, width) < 64 or not 5 <= fps <= 240:
        raise InputError(
            "Expected a picture of at least 64 x 64 pixels and 5 to 240 frames a second, got "
            f"{width} x {height} (width x height), {fps} frames a second."
        )
    key = [int(k) for k in np.atleast_1d(seed)]
    rng, scene = _stream(key, 0), _stream(key, 1)
    trials, duration = _trials(rng, left, right)
    times = np.arange(round(duration * fps)) / fps
    raised = {leg: t.elevation(times) if t else np.zeros(len(times)) for leg, t in trials.items()}
    tall = float(np.clip(rng.normal(1.68, 0.09), 1.48, 1.92))
    body = sit(raised["left"], raised["right"], tall, rng)
    yaw = float(rng.uniform(-YAW_DEG, YAW_DEG)) if yaw_deg is None else yaw_deg
    camera = _camera(height, width, rng)
    at = np.zeros((len(times), 3))
    at[:, 0] = float(rng.uniform(-0.08, 0.08))
    cast = [Actor(body, sample_look(scene), 90 + yaw, at)]
    if scene.random() < SECOND_SHARE if second_person is None else second_person:
        cast.append(_beside(len(times), scene))
    exact = [actor.joints_px(camera) for actor in cast]
    people, patient = _estimated(exact, (height, width), _stream(key, 2))
    return AgilityPhantom(
        *(trials, fps, (height, width), yaw, exact[0], raised, people, patient),
        *(cast, camera, sample_sensor(scene), key),
    )


def _stream(seed: list[int], part: int) -> np.random.Generator:
    """Randomness of one part of a recording, whatever the others need."""
    return np.random.default_rng([*seed, part])


def _trials(
    rng: np.random.Generator, left: int | None, right: int | None
) -> tuple[dict[str, Trial | None], float]:
    """The legs' trials, one after the other in any order, and the recording's length in s."""
    trials: dict[str, Trial | None] = {"left": None, "right": None}
    scores = {"left": left, "right": right}
    now = float(rng.uniform(*REST_S))
    for leg in ("left", "right") if rng.random() < 0.5 else ("right", "left"):
        score = scores[leg]
        if score is not None:
            trial = sample_trial(rng, score, now)
            trials[leg], now = trial, trial.end_s + float(rng.uniform(*BETWEEN_S))
    last = max((t.end_s for t in trials.values() if t), default=2.0)
    return trials, last + float(rng.uniform(*REST_S))


def _camera(height: int, width: int, rng: np.random.Generator) -> Camera:
    distance, above = float(rng.uniform(*DISTANCE_M)), float(rng.uniform(*CAMERA_M))
    focal = FOCAL * height
    aim = float(rng.uniform(0.56, 0.64))  # height in metres that is in the middle of the picture
    middle = (height - 1) / 2 - focal / distance * (above - aim)
    return Camera(width, height, focal, distance, above, ((width - 1) / 2, middle))


def _beside(count: int, rng: np.random.Generator) -> Actor:
    """Somebody who stands beside the chair, partly outside the picture."""
    side = 1.0 if rng.random() < 0.5 else -1.0
    body = stand(count, float(np.clip(rng.normal(1.72, 0.08), 1.55, 1.92)), rng)
    at = np.tile(
        [side * float(rng.uniform(0.5, 0.75)), 0.0, -float(rng.uniform(0.2, 0.7))], (count, 1)
    )
    return Actor(body, sample_look(rng), 90.0 + side * float(rng.uniform(10, 60)), at)


def _estimated(
    exact: list[Array], shape: tuple[int, int], rng: np.random.Generator
) -> tuple[list[Array], NDArray[np.int64]]:
    """What a pose estimator finds: people in any order, and which is the patient."""
    count = len(exact[0])
    found = [_noisy(joints, shape, rng) for joints in exact]
    nobody = _runs(count, rng, NOBODY_RUNS, NOBODY_FRAMES)
    people: list[Array] = []
    patient = np.where(nobody, -1, 0)
    for frame in range(count):
        present = [] if nobody[frame] else [found[0][frame]]
        for other in found[1:]:
            if not nobody[frame] and rng.random() < SECOND_SEEN:
                first = int(rng.integers(2))
                present.insert(first, other[frame])
                patient[frame] = 1 - first
        people.append(np.stack(present) if present else np.zeros((0, *exact[0].shape[1:-1], 3)))
    return people, patient


def _noisy(exact: Array, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """(T, 25, 3) with jitter and confidence; missing, hidden and outside joints are 0, 0, 0."""
    height, width = shape
    count, joints = exact.shape[:2]
    points = exact + rng.normal(0, JITTER_PX * height / HEIGHT, exact.shape)
    missing = rng.random((count, joints)) < DROPOUT
    for joint in rng.integers(0, joints, HIDDEN_RUNS):
        missing[:, joint] |= _runs(count, rng, 1, HIDDEN_FRAMES)
    outside = (points < 0) | (points > (width - 1, height - 1))
    found = np.concatenate([points, rng.beta(*CONFIDENCE, (count, joints, 1))], axis=-1)
    found[missing | outside.any(axis=-1)] = 0
    return found


def _runs(
    count: int, rng: np.random.Generator, most: int, frames: tuple[int, int]
) -> NDArray[np.bool_]:
    """(T,) true in a few runs of frames."""
    inside = np.zeros(count, bool)
    for _ in range(int(rng.integers(0, most + 1))):
        start = int(rng.integers(0, count))
        inside[start : start + int(rng.integers(*frames))] = True
    return inside
