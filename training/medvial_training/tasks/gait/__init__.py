"""Gait: preparing videos and keypoints, training, evaluating, exporting; two systems."""
