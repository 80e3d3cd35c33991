"""A phased array looks at the phantom: speckle, beam width, noise, grey levels, sector.

The tissue's speckle is one fixed complex Gaussian field, sampled where the tissue was at
end-diastole, so that the texture moves and deforms with it; blood and receiver noise are new in
every frame. Both are blurred on the polar grid by the beam (axial SD .055 cm, lateral SD 1.1
degrees, so that it widens with depth); the envelope is then Rayleigh distributed, is compressed to
decibels and drawn into the sector (Burckhardt, IEEE Trans Sonics Ultrason 1978;25:1-6).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from medvial_training.phantoms.echo_anatomy import Build, Field, Motion, to_heart
from medvial_training.phantoms.echo_tissue import Levels, amplitude

AXIAL_SD_CM, LATERAL_SD = 0.055, float(np.deg2rad(1.1))
FIRST_CM = 0.25  # nearest echo
CELL_CM = 0.045  # of the speckle field
FIELD = 512  # cells of the speckle field along a side; it repeats
PATCH_CELLS, PATCH_DB = (11, 29), 3.2  # patches of 2 and .8 cm; SD of each
GAIN_DB = -12.1  # gives EchoNet-Dynamic's mean 32.5 and SD 50 over a set
TEXTURE_SD = 0.75  # of the drawn speckle's last smoothing, in cells: scanners average


@dataclass(frozen=True)
class Settings:
    """How one examination was taken."""

    half_angle: float
    """Of the sector, radians."""
    gain_db: float
    range_db: float
    """Shown range."""
    near_db: float
    """Reverberation next to the probe; it does not move."""
    near_cm: float
    """Depth over which that halves."""
    haze_db: float
    """Fog over the whole image."""
    shadow: tuple[float, float, float]
    """Rib: angle and width in radians, loss in dB; 0 dB = none."""
    slope: tuple[float, float, float]
    """Time gain compensation: error in dB at the top, in the middle and at the bottom."""
    noise_db: float

    @staticmethod
    def sample(rng: np.random.Generator) -> "Settings":
        """Settings of a random examination."""
        half = float(np.deg2rad(rng.uniform(36, 43)))
        rib = float(rng.uniform(8, 20)) if rng.random() < 0.3 else 0.0
        side = float(rng.choice([-1, 1]))
        return Settings(
            half_angle=half,
            gain_db=float(np.clip(rng.normal(0, 3.5), -8, 8)),
            range_db=float(rng.uniform(36, 46)),
            near_db=float(rng.uniform(-22, -4)),
            near_cm=float(rng.uniform(0.5, 1.2)),
            haze_db=float(rng.uniform(-42, -26)),
            shadow=(side * half * float(rng.uniform(0.55, 1)), float(rng.uniform(0.06, 0.16)), rib),
            slope=tuple(rng.normal(0, 2.5, 3)),
            noise_db=float(rng.uniform(-50, -42)),
        )


def _noise(rng: np.random.Generator, rows: int, columns: int) -> Field:
    """Complex Gaussian noise of power 1, (rows, columns, 2)."""
    return rng.standard_normal((rows, columns, 2), np.float32) / np.float32(np.sqrt(2))


def _patches(rng: np.random.Generator) -> Field:
    """Fibres and fat: how much brighter or darker than its neighbourhood a spot is; (F, F, 1)."""
    level = np.zeros((FIELD, FIELD), np.float32)
    for cells in PATCH_CELLS:
        coarse = rng.standard_normal((cells, cells), np.float32)
        coarse = np.pad(coarse, ((0, 1), (0, 1)), mode="wrap")
        level += cv2.resize(coarse, (FIELD, FIELD), interpolation=cv2.INTER_CUBIC)
    return 10 ** (PATCH_DB * level[..., None] / np.float32(20))


class Scanner:
    """Draws frames of one examination."""

    def __init__(
        self,
        build: Build,
        motion: Motion,
        levels: Levels,
        settings: Settings,
        shape: tuple[int, int],
        spacing_cm: float,
        rng: np.random.Generator,
    ) -> None:
        self._build, self._motion, self._levels = build, motion, levels
        self._settings, self._rng = settings, rng
        radii = np.linspace(FIRST_CM, build.depth_cm, max(160, 2 * shape[0]), dtype=np.float32)
        angles = np.linspace(
            -settings.half_angle, settings.half_angle, max(96, shape[0]), dtype=np.float32
        )
        self._radius, self._angle = radii[:, None], angles[None, :]
        self._x = radii[:, None] * np.sin(angles)[None]
        self._z = radii[:, None] * np.cos(angles)[None]
        steps = (radii[1] - radii[0], angles[1] - angles[0])
        self._beam = (LATERAL_SD / float(steps[1]), AXIAL_SD_CM / float(steps[0]))
        self._speckle = _noise(rng, FIELD, FIELD) * _patches(rng)
        self._pool = _noise(rng, FIELD + len(radii), FIELD + len(angles))
        self._still = self._clutter()
        self._gain = self._gain_map()
        self._maps = _sector_maps(shape, spacing_cm, radii, angles)
        self._blood = np.float32(10 ** (levels.blood / 20))
        self._noise = np.float32(10 ** (settings.noise_db / 20))

    def frame(self, k: int) -> NDArray[np.uint8]:
        """Frame `k`, (H, W) uint8, black outside of the sector."""
        x, q = to_heart(self._build, self._motion, k, self._x, self._z)
        tissue, blood = amplitude(self._build, self._motion, self._levels, k, x, q, self._angle)
        echo = self._sample(*self._material(k, x, q)) * tissue[..., None]
        echo += self._fresh() * np.where(blood, self._blood + self._noise, self._noise)[..., None]
        echo += self._still
        blurred = cv2.GaussianBlur(echo, (0, 0), sigmaX=self._beam[0], sigmaY=self._beam[1])
        power = np.square(blurred).sum(axis=2) + np.float32(1e-9)
        level = np.float32(10 / np.log(10)) * np.log(power) + self._gain
        grey = (level / np.float32(self._settings.range_db) + 1) * 255
        grey = np.asarray(np.clip(grey, 0, 255), np.float32)
        smooth = cv2.GaussianBlur(grey, (0, 0), TEXTURE_SD)
        drawn = cv2.remap(smooth, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return np.rint(drawn).astype(np.uint8)

    def _material(self, k: int, x: Field, q: Field) -> tuple[Field, Field]:
        """Where the tissue at (x, q) was at end-diastole.

        Cavity and wall stretch with the ventricle; what is around it follows less with distance.
        """
        build, motion = self._build, self._motion
        length, radius, wall = (
            np.float32(v[k]) for v in (motion.length, motion.radius, motion.wall)
        )
        rho = np.sqrt(np.square(np.maximum(q, 0) / length) + np.square(x / radius)) + np.float32(
            1e-3
        )
        thicker = np.float32(build.wall_cm / build.radius_cm) / (wall / radius)
        reference = np.where(rho < 1, rho, 1 + (rho - 1) * thicker) / rho
        beyond = np.maximum(rho * radius - radius - wall, 0)
        bound = np.exp(-beyond / np.float32(1.5))
        stretched_x = x * np.float32(build.radius_cm / radius) * reference
        stretched_q = q * np.float32(build.length_cm / length) * reference
        fixed = q + np.float32(build.length_cm - motion.length[k] - motion.descent[k])
        return x + (stretched_x - x) * bound, fixed + (stretched_q - fixed) * bound

    def _sample(self, x: Field, q: Field) -> Field:
        scale = np.float32(1 / CELL_CM)
        sampled = cv2.remap(
            self._speckle,
            x * scale + FIELD / 2,
            q * scale + FIELD / 2,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
        return np.asarray(sampled, np.float32)

    def _fresh(self) -> Field:
        """Speckle that this frame shares with no other, as far as anyone sees, (R, A, 2)."""
        rows, columns = self._x.shape
        top, left = self._rng.integers(0, FIELD, 2)
        return self._pool[top : top + rows, left : left + columns]

    def _clutter(self) -> Field:
        """Echoes that stay where they are: reverberation near the probe, and patchy fog."""
        settings, shape = self._settings, self._x.shape
        near = settings.near_db - 6 * (self._radius - FIRST_CM) / settings.near_cm
        patches = self._rng.standard_normal((7, 5), np.float32)
        fog = settings.haze_db + 4 * cv2.resize(patches, shape[::-1], interpolation=cv2.INTER_CUBIC)
        amount = np.sqrt(10 ** (near / 10) + 10 ** (fog / 10), dtype=np.float32)
        return np.asarray(self._pool[: shape[0], : shape[1]] * amount[..., None], np.float32)

    def _gain_map(self) -> Field:
        """Gain in dB over the polar grid: knob, depth compensation, rib shadow."""
        settings = self._settings
        share = (self._radius / self._build.depth_cm)[:, 0]
        slope = np.interp(share, (0, 0.5, 1), settings.slope)[:, None]
        centre, width, loss = settings.shadow
        rib = -loss * np.exp(-np.square((self._angle - centre) / width))
        total = GAIN_DB + settings.gain_db + slope + rib + self._blur_gain_db()
        return np.asarray(total, np.float32)

    def _blur_gain_db(self) -> float:
        """What the beam's blur takes off the speckle's power; white noise through a Gaussian."""
        return float(10 * np.log10(4 * np.pi * self._beam[0] * self._beam[1]))


def _sector_maps(
    shape: tuple[int, int], spacing_cm: float, radii: Field, angles: Field
) -> tuple[Field, Field]:
    """Polar grid positions (column, row) of each pixel, (H, W); outside of the sector: off it."""
    x, z = pixel_positions(shape, spacing_cm)
    column = (np.arctan2(x, z) - angles[0]) / (angles[1] - angles[0])
    row = (np.hypot(x, z) - radii[0]) / (radii[1] - radii[0])
    return column.astype(np.float32), row.astype(np.float32)


def pixel_positions(shape: tuple[int, int], spacing_cm: float) -> tuple[Field, Field]:
    """Image position (x, z) in cm of each pixel's centre, (H, W) each; the probe is top centre."""
    height, width = shape
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2) * np.float32(spacing_cm)
    z = (np.arange(height, dtype=np.float32) + np.float32(0.5)) * np.float32(spacing_cm)
    return np.broadcast_to(x[None, :], shape), np.broadcast_to(z[:, None], shape)
