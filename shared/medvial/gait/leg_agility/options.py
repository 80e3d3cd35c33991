"""All numbers of the analysis of leg agility."""

from dataclasses import dataclass

from medvial.errors import InputError


@dataclass(frozen=True)
class Options:
    """How signals are made and taps are found.

    Lengths are in trunk lengths (middle of the shoulders to middle of the hips): with the segment
    lengths of Drillis and Contini (in Winter, Biomechanics and Motor Control, 2009) a thigh that
    rises by 30 degrees lifts the knee by 0.43 of them; a camera 3 m away sees a fifth more, because
    the knee is nearer to it than the trunk.
    """

    rate_hz: float = 60.0
    """Of the signals, whatever the video's."""
    window_s: float = 0.2
    """Of the local regression that smooths, in s; at least five frames."""
    max_gap_s: float = 0.25
    """Longest stretch without a knee that is bridged by a straight line."""
    spike: float = 0.25
    """A knee this far from the median of its neighbours in time is no knee."""
    reference_window_s: float = 0.5
    """Of the running median of the hips' height, which follows the camera but not jitter."""

    min_rise: float = 0.025
    """Least rise and fall of a tap: 2 degrees of the thigh."""
    relative_rise: float = 0.15
    """The same, as a part of the signal's whole range."""
    noise_rise: float = 6.0
    """The same, in standard deviations of the keypoints' noise."""
    mirror_ratio: float = 2.0
    """A rise is a mirror movement if the other leg rises at the same time by this times as much."""
    bout_gap_s: float = 5.0
    """Taps further apart belong to different attempts; the largest attempt is measured."""

    pause_s: float = 0.2
    """An interruption lasts this much longer between two taps than the shortest do here."""
    relative_pause: float = 0.5
    """The same, as a part of the shortest times between taps here."""
    arrest_s: float = 1.0
    """A pause from here on is an arrest."""
    tempo_hz: tuple[float, float, float] = (1.82, 1.44, 1.02)
    """Below these the movement is slightly, mildly, moderately slow: midway between 2.0 Hz and
    slowing by 18, 38 and 60 percent, the design of the phantom; not norms of a population."""
    min_decrement: float = 0.20
    """Loss of amplitude, as a part of the first taps', below which there is none."""
    decrement_onset: tuple[float, float] = (0.5, 0.17)
    """Part of the taps before the loss begins: from the first it is near the end, below the second
    it begins right after the first tap."""
    barely: float = 0.12
    """Median amplitude below which the task is barely performed: 8 degrees of the thigh."""

    min_duration_s: float = 2.0
    max_missing: float = 0.3
    """Share of the frames without this knee."""
    min_fps: float = 10.0
    """Frames with this knee per second."""
    min_taps: int = 4
    """With fewer there is a doubt."""
    min_full_taps: int = 3
    """Fewer than these, and not barely: who lifts the leg that high and only once or twice was cut
    short or does something else, balances for instance."""

    def __post_init__(self) -> None:
        """Refuse what finds nothing or everything."""
        ordered = (
            sorted(self.tempo_hz, reverse=True) == list(self.tempo_hz)
            and self.decrement_onset[0] > self.decrement_onset[1]
        )
        positive = min(self.rate_hz, self.window_s, self.max_gap_s, self.min_rise, self.pause_s)
        if not ordered or positive <= 0:
            raise InputError(
                "Expected rate_hz, window_s, max_gap_s, min_rise and pause_s above 0 and falling "
                f"tempo_hz and decrement_onset, got {self}."
            )
