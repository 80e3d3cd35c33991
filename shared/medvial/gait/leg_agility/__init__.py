"""Leg agility (MDS-UPDRS item 3.8) from keypoints: signals, taps, kinematics, drawings."""

from medvial.gait.leg_agility.analysis import LegAgility, LegAnalysis, analyse, definitions
from medvial.gait.leg_agility.options import Options
from medvial.gait.leg_agility.signals import LEGS, Leg

__all__ = ["LEGS", "Leg", "LegAgility", "LegAnalysis", "Options", "analyse", "definitions"]
