"""Cephalometric landmarks: preparing films, training, evaluating, exporting."""
