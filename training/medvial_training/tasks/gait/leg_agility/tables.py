"""Tables of a test of leg agility, for other programs."""

from pathlib import Path

import pandas as pd

from medvial.gait.leg_agility.inputs import analyse_both
from medvial.gait.leg_agility.kinematics import QUANTITIES
from medvial.outputs import write_bytes
from medvial_training.tables import write_csv
from medvial_training.tasks.gait.leg_agility.recordings import Recordings
from medvial_training.tasks.gait.leg_agility.scores import one_a_leg

DEFINITIONS = "kinematics_definitions.csv"


def with_refused(table: pd.DataFrame, recordings: Recordings) -> pd.DataFrame:
    """Predictions, and a row more for each scored leg of recordings that no fold has.

    Neither leg of these can be rated: nobody learns from them or is tested on them, but that they
    are not rated counts.
    """
    legs = recordings.legs
    usable = set(legs.loc[legs["used"] == "1", "video"]) | set(table["video"])
    videos = recordings.table["video"]
    lost = recordings.samples(videos[~videos.isin(usable)], used=False)
    group = recordings.table.set_index("video")["group"]
    rows = [
        {"video": s.video, "patient": s.patient, "group": group[s.video]}
        | {"leg": s.leg, "score": s.score}
        for s in lost
    ]
    return pd.concat([table, pd.DataFrame(rows)], ignore_index=True) if rows else table


def write_tables(out: Path, table: pd.DataFrame, recordings: Recordings) -> None:
    """Write predictions.csv, a row a leg, kinematics.csv, and what its columns mean.

    Args:
        out: Folder for them.
        table: Predictions; repeats of a leg are averaged.
        recordings: They are of.
    """
    legs = one_a_leg(table).drop(columns="cluster")
    write_bytes(out / "predictions.csv", legs.to_csv(index=False, lineterminator="\n").encode())
    rows = []
    for video, part in legs.groupby("video", sort=False):
        agility = analyse_both(*recordings.clip(str(video)))
        for leg in part["leg"]:
            analysis = agility.of(leg)
            values = [analysis.values[quantity.name] for quantity in QUANTITIES]
            levels = [reading.level for reading in analysis.readings] or [None] * 4
            rows.append([video, leg, *("" if v is None else v for v in (*values, *levels))])
    names = [quantity.name for quantity in QUANTITIES]
    levels_of = [f"{name}_level" for name in ("interruptions", "slowing", "decrement", "ability")]
    write_csv(out / "kinematics.csv", ["video", "leg", *names, *levels_of], rows)
    definitions = [[q.name, q.unit, q.definition, q.source] for q in QUANTITIES]
    write_csv(out / DEFINITIONS, ["quantity", "unit", "definition", "source"], definitions)
