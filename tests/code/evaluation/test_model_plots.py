"""Pictures of the model itself."""

import pandas as pd
import pytest

from mlref.core.rows import Array, generate
from mlref.evaluation import model_plots, plots
from mlref.evaluation.curves import effects
from tests.code.evaluation.test_plots import colours, interval, texts
from tests.fakes import CONTRACT, linear

TARGET = CONTRACT.target

PROFILE = {"columns": {name: {"quantiles": {"0.5": 2.0}} for name in CONTRACT.names}}


def test_the_most_needed_feature_stands_on_top() -> None:
    """Those that are missed with confidence are counted; one that is better left out is not."""
    found = {"little": interval(0.1, 1), "much": interval(4, 1), "harm": interval(-1, 0.5)}
    figure = model_plots.features(found, TARGET)
    at = figure.axes[0]
    assert [label.get_text() for label in at.get_yticklabels()] == ["much", "little", "harm"]
    assert colours(at) == [plots.ORANGE, plots.BLUE, plots.ORANGE]
    assert "Features that would be missed with confidence: 1 of 3" in texts(figure)


def test_a_single_feature_that_cannot_be_left_out_gives_an_empty_picture() -> None:
    """And no error."""
    assert "Features that would be missed with confidence: 0 of 0" in texts(
        model_plots.features({}, TARGET)
    )


def test_the_strongest_effect_comes_first_and_is_named() -> None:
    """Each feature has a plot with its title and unit; categories have their values."""
    table = effects(CONTRACT, linear, generate(CONTRACT, 20, seed=0))
    figure = model_plots.effects(table, CONTRACT, PROFILE)
    labels = [at.get_xlabel() for at in figure.axes]
    assert labels == ["Area (m²)", "Rooms", "Balcony", "Heating"]
    written = texts(figure)
    assert "Area moves the prediction most: by 2800 over its usual values" in written
    assert {"gas", "oil", "wood", "mean prediction: Rent (euro)"} <= written


def test_of_many_features_the_strongest_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weak ones are left out."""

    def _rooms(rows: Array) -> Array:
        return 1000 * rows[:, 1]

    monkeypatch.setattr(model_plots, "STRONGEST", 1)
    table = effects(CONTRACT, _rooms, generate(CONTRACT, 20, seed=0))
    figure = model_plots.effects(table, CONTRACT, PROFILE)
    assert [at.get_xlabel() for at in figure.axes] == ["Rooms"]


@pytest.mark.parametrize(("last", "change"), [(40.0, "-10"), (51.5, "+2")])
def test_the_learning_curve_says_what_the_later_rows_brought(last: float, change: str) -> None:
    """Also when it was nothing."""
    table = pd.DataFrame({
        "rows": [10, 20, 30, 40], "fitted": [1.0, 2, 3, 4],
        "unseen": [60.0, 50, 45, last], "deviation": [1.0] * 4,
    })  # fmt: skip
    title = f"From 20 to 40 rows the error of unseen rows changes by {change}"
    assert title in texts(model_plots.learning_curve(table, TARGET))


def test_the_path_names_its_strongest_terms_and_says_what_the_choice_costs() -> None:
    """The others are grey."""
    table = pd.DataFrame(
        [
            (alpha, rmse, 1.0, f"t{term}", term / alpha)
            for alpha, rmse in ((0.1, 50.0), (1.0, 52.0), (10.0, 70.0))
            for term in range(9)
        ],
        columns=["alpha", "error", "deviation", "term", "coefficient"],
    )
    figure = model_plots.regularisation_path(table, 1.0, TARGET)
    written = texts(figure)
    assert "At the chosen penalty the error is 2 above the lowest of the path" in written
    assert {text for text in written if text.startswith("t")} == {f"t{n}" for n in range(3, 9)}
    drawn = [str(line.get_color()) for line in figure.axes[1].lines]
    assert drawn.count(plots.GREY) == 5  # three weak terms, the chosen penalty and the zero line
