"""What so many rows can show, before there is a model."""

from pathlib import Path

import numpy as np
import pytest

from mlref.core.settings import load
from mlref.evaluation.power import ALIKE, needed, outlook, visible
from tests.projects import set_params, write_project


def test_the_difference_between_two_halves_is_seen_in_four_of_five_samples() -> None:
    """Of normal errors, by the interval of the difference of two RMSE."""
    generator, seen, rows = np.random.default_rng(0), [], 400
    larger = 1 + visible(rows, 0.95, 2)
    for _ in range(300):
        one, other = generator.normal(0, 1, (2, rows // 2)) * [[1], [larger]]
        difference = np.sqrt((other**2).mean()) - np.sqrt((one**2).mean())
        seen.append(difference > 1.96 * np.sqrt(2 / rows))
    assert np.mean(seen) == pytest.approx(0.75, abs=0.07)


def test_so_many_rows_as_are_needed_show_it() -> None:
    rows = needed(0.02, 0.975, 1 - ALIKE**2)
    assert visible(rows, 0.975, 1 - ALIKE**2) == pytest.approx(0.02, rel=0.05)


def test_the_outlook_is_a_sentence_of_the_settings(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    said = outlook(1000, load(project.params), "RMSE")
    assert said.startswith("1000 rows: about 750 to train on and 250 in the test set.")
    assert (
        "(1.0% needs about 1900 training rows)" in said
        and "(20% needs about 390 test rows)" in said
    )
    large = outlook(4_000_000, load(project.params), "RMSE")
    assert "show a gain of 0.025% in RMSE" in large and "of 0.40% in RMSE between" in large
    set_params(project, register={"smallest_gain": 0.0})
    assert "1900" not in outlook(1000, load(project.params), "RMSE")
