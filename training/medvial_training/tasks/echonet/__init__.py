"""Echocardiography: preparing videos, training, evaluating, exporting."""
