"""Leg agility (MDS-UPDRS item 3.8): preparing keypoints, training, evaluating."""
