"""Gait: walking videos, and leg agility of people with Parkinson's disease."""
