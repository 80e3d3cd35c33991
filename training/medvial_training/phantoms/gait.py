"""Phantoms of gait: people who walk, and people who are tested for leg agility.

Drawn people with exact joints: they show that a pipeline works and say nothing about clinical
accuracy. How they walk follows published means and spreads with and without adult spinal deformity;
how they move a leg follows the rule of MDS-UPDRS item 3.8.

    python -m medvial_training.phantoms.gait --out data/phantom --patients 60 --subjects 40
"""

from pathlib import Path

from medvial_training.cli import run_command
from medvial_training.phantoms.gait_agility_set import Form, write_leg_agility
from medvial_training.phantoms.gait_openpose import AgilityPhantom, make_leg_agility
from medvial_training.phantoms.gait_video import WalkingPhantom, make_walker
from medvial_training.phantoms.gait_walking_set import SetShortcut, write_walking

__all__ = [
    "AgilityPhantom",
    "WalkingPhantom",
    "make_leg_agility",
    "make_walker",
    "write_gait",
    "write_leg_agility",
    "write_walking",
]


def write_gait(
    out: Path,
    *,
    seed: int = 1,
    patients: int = 60,
    height: int = 180,
    width: int = 320,
    clip_s: float = 2.4,
    least_videos: int = 2,
    most_videos: int = 4,
    shortcut: SetShortcut = "none",
    shortcut_share: float = 0.95,
    subjects: int = 40,
    most_visits: int = 2,
    form: Form = "zip",
    videos: int = 0,
    video_height: int = 480,
    workers: int = 2,
) -> None:
    """Write both sets: OUT/walking and OUT/leg_agility.

    Args:
        out: Folder to write to.
        seed: Same seed, same files.
        patients: Patients who walk; 0 leaves that set out.
        height: Rows of the walking videos.
        width: Columns of the walking videos.
        clip_s: Length of a walking video in seconds.
        least_videos: Fewest walking videos of a patient.
        most_videos: Most walking videos of a patient.
        shortcut: What gives the label of the walking videos away: clothes, background, site, none.
        shortcut_share: In how many patients it does, 0 to 1; in the others it misleads.
        subjects: Subjects of the leg agility test; 0 leaves that set out.
        most_visits: Most leg agility recordings of a subject.
        form: OpenPose files in a zip or a folder per recording.
        videos: How many leg agility recordings are written as video too.
        video_height: Rows of these.
        workers: Processes that draw.
    """
    if patients:
        write_walking(
            out / "walking",
            patients,
            seed=seed,
            height=height,
            width=width,
            clip_s=clip_s,
            least_videos=least_videos,
            most_videos=most_videos,
            shortcut=shortcut,
            shortcut_share=shortcut_share,
            workers=workers,
        )
    if subjects:
        write_leg_agility(
            out / "leg_agility",
            subjects,
            seed=seed,
            most_visits=most_visits,
            form=form,
            videos=videos,
            video_height=video_height,
            workers=workers,
        )


def main(arguments: list[str] | None = None) -> int:
    """The command line.

    Args:
        arguments: Without the program's name; None takes the process's.

    Returns:
        Exit code: 0, or 1 after one line that says what is wrong.
    """
    return run_command(write_gait, arguments, as_positional=False)


if __name__ == "__main__":
    raise SystemExit(main())
