"""Generators of phantoms: made-up raw data whose truth is known exactly.

A phantom shows that a pipeline works. It says nothing about clinical accuracy.
"""
