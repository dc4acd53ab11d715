"""What is watched: each monitor with its topic, its severity and the likely cause of its alarm."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml


class Watched(NamedTuple):
    """A monitor, as monitors.yaml describes it."""

    topic: str
    cause: str
    severity: str = "ticket"
    measures: str = ""


@cache
def watched() -> dict[str, Watched]:
    """All monitors by name, in the order in which people see them."""
    text = (Path(__file__).parent / "monitors.yaml").read_text(encoding="utf-8")
    topics = yaml.safe_load(text).items()
    return {name: Watched(topic, **row) for topic, rows in topics for name, row in rows.items()}
