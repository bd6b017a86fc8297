"""What tests of agents need: models that answer from a script. Nothing here is loaded by the rest of the package."""

from afk_es.testing.scripted import ScriptedModel, ScriptExhaustedError

__all__ = ["ScriptedModel", "ScriptExhaustedError"]
