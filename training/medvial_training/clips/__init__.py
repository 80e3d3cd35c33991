"""Clip classification: what walking videos and general video classification train on."""
