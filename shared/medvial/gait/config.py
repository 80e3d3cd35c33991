"""The two systems of gait, and what a model folder says of them."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from medvial.errors import InputError
from medvial.gait.leg_agility.config import LegConfig
from medvial.models import MANIFEST, ModelFolder, config_from_dict
from medvial.video_classification.config import ClipConfig

TASK = "gait"
WALKING = "walking"
LEG_AGILITY = "leg_agility"
SYSTEMS = (WALKING, LEG_AGILITY)


@dataclass(frozen=True)
class Config:
    """What a model of gait can do; a system that it lacks is None."""

    walking: ClipConfig | None = None
    """Adult spinal deformity from walking videos."""

    leg_agility: LegConfig | None = None
    """Item 3.8 of the MDS-UPDRS."""

    @classmethod
    def of(cls, folder: ModelFolder) -> "Config":
        """The configuration of a verified model folder.

        Raises:
            InputError: A field is missing or unknown, or there is no system at all.
        """
        where, values = folder.path / MANIFEST, folder.manifest.config
        config = config_from_dict(cls, values, where=where)
        walking, leg_agility = config.walking, config.leg_agility
        if walking is None and leg_agility is None:
            raise InputError(f"Expected {' or '.join(SYSTEMS)} in {where}, got neither.")
        return cls(
            None if walking is None else config_from_dict(ClipConfig, walking, where=where),
            None if leg_agility is None else config_from_dict(LegConfig, leg_agility, where=where),
        )

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return dataclasses.asdict(self)
