"""Searches for a run that breaks what should hold: an adversary that plays the world, and what makes of its find something to read."""
