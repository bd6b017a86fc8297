"""Whole runs in a simulated world: the real Runner on virtual time, whose model, tools and people are asked one at a time."""
