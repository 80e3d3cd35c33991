"""Which of the people in a clip of keypoints is the patient, followed from frame to frame."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medvial.gait.openpose import People
from medvial.gait.skeletons import BODY_25, Keypoints, remap

__all__ = ["Patient", "select_patient"]

MAX_JUMP = 0.25  # of a body's diagonal: the same person, from the last frame it was seen in
MEMORY_S = 10.0  # for how long somebody who is out of sight is waited for
MAX_STEP_S = 0.2  # between frames, that a velocity is taken from and carried on over
NEW_VELOCITY = 0.3  # weight of the last step in it
MAX_SHARED = 0.25  # of the joints of the smaller of two parts of one person
MAX_FOLLOWED = 40  # people at a time
MIN_FRAMES = 3  # in which somebody was seen who is gone, to be remembered
MIN_COMMON = 3  # joints that two poses share, to be compared
MOTION_WEIGHT = 4.0  # a thigh that rises by 20 degrees counts as much as the trunk's whole length
CLOSE_CALL = 0.7  # of the patient's score: a runner-up to be told of
_LEGS = [
    BODY_25.indices[f"{side}_{part}"]
    for side in ("left", "right")
    for part in ("hip", "knee", "ankle")
]


@dataclass(frozen=True)
class Patient:
    """One person through a clip."""

    points: Keypoints
    """(T, 25, 3) BODY_25: x and y in pixels, confidence 0 to 1; NaN, NaN, 0 where missing."""
    frames: NDArray[np.int64]
    """(T,) numbers of the frames, increasing, not necessarily without gaps."""
    fps: float
    """Frames per second of the video."""
    notes: tuple[str, ...] = ()

    @property
    def times_s(self) -> NDArray[np.float64]:
        """(T,) in s from the first frame, gaps between frames included."""
        return (self.frames - self.frames[0]) / self.fps

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(T,) whether the patient was found in a frame."""
        return np.asarray((self.points[..., 2] > 0).any(axis=1))


@dataclass
class _Person:
    """One person through the frames."""

    last: Keypoints
    """(25, 3) each joint where it was last seen, to be compared with the next pose."""
    last_s: float
    poses: dict[int, Keypoints]
    """(25, 3) in each frame in which they were found, by its index."""
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    """(x, y) of the body in pixels per s: tells two people apart who cross."""

    def expected(self, now_s: float) -> Keypoints:
        """(25, 3) where they should be now."""
        pose = self.last.copy()
        pose[:, :2] += self.velocity * min(now_s - self.last_s, MAX_STEP_S)
        return pose

    def fits(self, index: int, pose: Keypoints) -> bool:
        """Whether a frame has next to nothing yet of this person that the pose has, too.

        OpenPose at times breaks one person into two, legs and trunk for example.
        """
        if index not in self.poses:
            return True
        taken, new = self.poses[index][:, 2] > 0, pose[:, 2] > 0
        return bool((taken & new).sum() <= MAX_SHARED * min(taken.sum(), new.sum()))

    def extend(self, index: int, pose: Keypoints, now_s: float) -> None:
        """Add a pose, or another part of it: of joints that are in both, the surer one."""
        taken = self.poses.get(index, np.zeros_like(pose))
        merged = np.where(pose[:, 2:] >= taken[:, 2:], pose, taken)
        self.poses[index] = merged
        if now_s > self.last_s:
            self.velocity = self._new_velocity(merged, now_s - self.last_s)
        self.last = np.where(merged[:, 2:] > 0, merged, self.last)
        self.last_s = now_s

    def _new_velocity(self, pose: Keypoints, step_s: float) -> NDArray[np.float64]:
        both = (pose[:, 2] > 0) & (self.last[:, 2] > 0)
        if step_s > MAX_STEP_S or not both.any():
            return np.zeros(2)
        step = np.median(pose[both, :2] - self.last[both, :2], axis=0)
        return (1 - NEW_VELOCITY) * self.velocity + NEW_VELOCITY * step / step_s

    def points(self, count: int) -> Keypoints:
        """(count, 25, 3), missing in frames in which they were not found."""
        result = np.full((count, *self.last.shape), (np.nan, np.nan, 0.0))
        for index, pose in self.poses.items():
            result[index] = pose
        return result


def select_patient(people: People) -> Patient:
    """Follow everybody, then take who moves their legs, is large, and is seen well and long.

    From frame to frame, people are paired greedily by the median distance of the joints of a pose
    from where they were and the body went, up to a quarter of its diagonal; parts of one person
    are joined. Of those followed, the patient has the highest

        share of frames x mean confidence of the legs x (trunk + 4 x range of a knee's height)

    in pixels; the range is that of the leg that moves more, 10th to 90th percentile, against the
    hips. Length in pixels favours who is nearer to the camera; an examiner who stands by moves the
    knees little, and who walks through is seen shortly.

    Args:
        people: Of a clip, in any skeleton.
    """
    points = remap(people.points, people.skeleton, BODY_25)
    followed = _follow(points, people.times_s)
    scores = [
        len(person.poses) * patient_score(np.stack(list(person.poses.values())))
        for person in followed
    ]
    order = np.argsort(scores)[::-1]
    chosen = followed[order[0]].points(len(points))
    patient = Patient(chosen, people.frames, people.fps, people.notes)
    if len(followed) == 1:
        return patient
    share = patient.seen.mean()
    notes = [f"{len(followed)} people were followed; the patient is in {share:.0%} of the frames"]
    if scores[order[1]] > CLOSE_CALL * scores[order[0]]:
        notes.append("another person could as well be the patient: look at the drawing")
    return Patient(patient.points, people.frames, people.fps, (*people.notes, *notes))


def patient_score(points: Keypoints) -> float:
    """How much somebody looks like the patient in the frames they are seen in, (N, 25, 3).

    That of `select_patient`, less the share of frames.
    """
    confidence = points[:, _LEGS, 2].mean()
    return float(confidence * (_trunk(points) + MOTION_WEIGHT * _motion(points)))


def pose_distances(first: Keypoints, second: Keypoints) -> NDArray[np.float64]:
    """How far each pose is from each other one, over the larger body's diagonal.

    Args:
        first: (N, 25, 3).
        second: (P, 25, 3).

    Returns:
        (N, P) median distance of the joints that both poses have; infinite where they have fewer
        than three in common.
    """
    both = (first[:, None, :, 2] > 0) & (second[None, :, :, 2] > 0)  # (N, P, 25)
    steps = np.linalg.norm(first[:, None, :, :2] - second[None, :, :, :2], axis=-1)
    steps = np.sort(np.where(both, steps, np.inf), axis=-1)
    count = both.sum(axis=-1)
    ranks = np.stack([(count - 1) // 2, count // 2], axis=-1).clip(0, steps.shape[-1] - 1)
    median = np.take_along_axis(steps, ranks, axis=-1).mean(axis=-1)
    size = np.maximum(_diagonals(first)[:, None], _diagonals(second)[None])
    comparable = (count >= MIN_COMMON) & (size > 0)
    return np.divide(median, size, out=np.full(size.shape, np.inf), where=comparable)


def _diagonals(poses: Keypoints) -> NDArray[np.float64]:
    """(N,) of the box about each pose, in pixels; 0 without joints."""
    seen = poses[..., 2:] > 0
    low = np.where(seen, poses[..., :2], np.inf).min(axis=1)
    high = np.where(seen, poses[..., :2], -np.inf).max(axis=1)
    return np.linalg.norm(np.where(np.isfinite(low), high - low, 0), axis=-1)


def _trunk(points: Keypoints) -> float:
    """Median length of the trunk in pixels; a third of the body's diagonal where it is hidden."""
    neck, hip = (points[:, BODY_25.indices[joint], :2] for joint in ("neck", "mid_hip"))
    lengths = np.linalg.norm(neck - hip, axis=1)
    if np.isfinite(lengths).any():
        return float(np.nanmedian(lengths))
    diagonals = _diagonals(points)
    return float(np.median(diagonals[diagonals > 0])) / 3 if diagonals.any() else 0.0


def _motion(points: Keypoints) -> float:
    """Range of the height of the knee that moves more against the hips, in pixels."""
    hip = points[:, BODY_25.indices["mid_hip"], 1]
    ranges = [0.0]
    for side in ("left", "right"):
        height = hip - points[:, BODY_25.indices[f"{side}_knee"], 1]
        height = height[np.isfinite(height)]
        if len(height):
            ranges.append(float(np.subtract(*np.quantile(height, [0.9, 0.1]))))
    return max(ranges)


def _follow(points: Keypoints, times_s: NDArray[np.float64]) -> list[_Person]:
    """Pair people (T, P, 25, 3) from frame to frame."""
    gone: list[_Person] = []
    recent: list[_Person] = []
    for index, (poses, now) in enumerate(zip(points, times_s.tolist(), strict=True)):
        present = np.flatnonzero((poses[..., 2] > 0).any(axis=1)).tolist()
        recent.sort(key=lambda person: person.last_s)
        kept = [p for p in recent[-MAX_FOLLOWED:] if now - p.last_s <= MEMORY_S]
        gone += [p for p in recent[: len(recent) - len(kept)] if len(p.poses) >= MIN_FRAMES]
        recent = kept
        pairs = _near_pairs([person.expected(now) for person in recent], poses[present])
        taken: set[int] = set()
        for number, which in pairs:
            place = present[which]
            if place not in taken and recent[number].fits(index, poses[place]):
                recent[number].extend(index, poses[place], now)
                taken.add(place)
        for place in sorted(set(present) - taken):
            recent.append(_Person(poses[place], now, {index: poses[place]}))
    return gone + recent


def _near_pairs(expected: list[Keypoints], poses: Keypoints) -> list[tuple[int, int]]:
    """Who may be which pose, by their indices, nearest first."""
    if not expected or len(poses) == 0:
        return []
    distances = pose_distances(np.stack(expected), poses)
    order = np.argsort(distances, axis=None, kind="stable")
    order = order[distances.flat[order] <= MAX_JUMP]
    numbers, which = np.unravel_index(order, distances.shape)
    return list(zip(numbers.tolist(), which.tolist(), strict=True))
