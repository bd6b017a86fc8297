"""Property tests of the machine: the same examples on every run, none that is slow."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "machine", derandomize=True, deadline=None, max_examples=120, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("machine")
