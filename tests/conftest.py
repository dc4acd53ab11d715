"""What holds for every test: hypothesis draws the same examples on every machine, without a clock."""

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, database=None)
settings.load_profile("ci")
