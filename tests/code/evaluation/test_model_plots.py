"""Pictures of the model itself."""

from typing import Any

import numpy as np
import pytest

from mlref.core.settings import Evaluate
from mlref.data.folds import deal
from mlref.data.tables import encode
from mlref.evaluation import model_plots, plots
from mlref.training.candidates import build
from tests.code.evaluation.test_plots import colours, interval, texts
from tests.fakes import CONTRACT
from tests.projects import rents

SETTINGS = Evaluate(seed=0, resamples=200, confidence=0.95, folds=3, rows=1000, smallest_slice=15)
ROWS = encode(CONTRACT, rents(90))
FOLDS = deal(CONTRACT, rents(90), 3, seed=0)


def fitted(name: str = "ridge", **parameters: Any) -> Any:
    """A candidate fitted on all rows."""
    return build(CONTRACT, name, parameters, 0).fit(*ROWS)


def test_the_most_needed_feature_stands_on_top() -> None:
    """Those that are missed with confidence are counted; one that is better left out is not."""
    found = {"little": interval(0.1, 1), "much": interval(4, 1), "harm": interval(-1, 0.5)}
    figure = model_plots.features(found, CONTRACT)
    at = figure.axes[0]
    assert [label.get_text() for label in at.get_yticklabels()] == ["much", "little", "harm"]
    assert colours(at) == [plots.ORANGE, plots.BLUE, plots.ORANGE]
    assert "Features that would be missed with confidence: 1 of 3" in texts(figure)
    assert "Features that would be missed with confidence: 0 of 0" in texts(
        model_plots.features({}, CONTRACT)
    )


def test_effects_are_drawn_over_usual_values_the_most_needed_feature_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each with its title and unit; categories by their values; the weakest are left out."""
    worth = {name: interval(value, 1) for value, name in enumerate(reversed(CONTRACT.names))}
    monkeypatch.setattr(model_plots, "STRONGEST", 3)
    figure = model_plots.effects(CONTRACT, fitted(), ROWS[0], worth)
    assert figure
    area, rooms, heating = figure.axes
    assert [at.get_xlabel() for at in figure.axes] == ["Area (m²)", "Rooms", "Heating"]
    assert (area.lines[0].get_xdata()[[0, -1]].tolist()) == [20, 300]
    assert rooms.lines[0].get_xdata().tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [text.get_text() for text in heating.get_xticklabels()] == ["gas", "oil", "wood"]
    assert "mean prediction: Rent (euro)" in texts(figure)
    monkeypatch.undo()
    everything = model_plots.effects(CONTRACT, fitted(), ROWS[0], {})
    assert everything and len(everything.axes) == 4


def test_a_table_of_numbers_has_effects_too() -> None:
    places = [n for n, column in enumerate(CONTRACT.features) if column.allowed is None]
    numbers = [CONTRACT.features[n] for n in places]
    contract = CONTRACT.model_copy(update={"features": tuple(numbers)})
    rows, target = ROWS[0][:, places], ROWS[1]
    model = build(contract, "ridge", {}, 0).fit(rows, target)
    drawn = model_plots.effects(contract, model, rows, {})
    assert drawn and len(drawn.axes) == len(numbers)


def test_a_category_of_many_values_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_plots, "MANY", 2)
    drawn = model_plots.effects(CONTRACT, fitted(), ROWS[0], {})
    assert drawn and "Heating" not in [at.get_xlabel() for at in drawn.axes]
    places = [n for n, column in enumerate(CONTRACT.features) if column.name == "heating"]
    contract = CONTRACT.model_copy(update={"features": (CONTRACT.features[places[0]],)})
    model = build(contract, "ridge", {}, 0).fit(ROWS[0][:, places], ROWS[1])
    assert model_plots.effects(contract, model, ROWS[0][:, places], {}) is None


def test_a_model_that_predicts_one_value_has_no_effects() -> None:
    assert model_plots.effects(CONTRACT, fitted("mean"), ROWS[0], {}) is None


def scores(figure: Any) -> list[list[float]]:
    """Heights of the lines with error bars: of rows fitted on where they have any, and left out."""
    return [list(line.lines[0].get_ydata()) for line in figure.axes[0].containers]


def test_a_model_that_can_learn_learns_from_more_rows_in_any_order() -> None:
    """A file is often sorted; its first fifth would be the cheapest homes."""
    order = np.argsort(ROWS[1])
    model = fitted("gradient_boosting", n_estimators=20)
    rows, target = ROWS[0][order], ROWS[1][order]
    figure = model_plots.learning_curve(CONTRACT, model, rows, target, FOLDS, SETTINGS)
    seen, [unseen] = list(figure.axes[0].lines[0].get_ydata()), scores(figure)
    assert unseen[-1] < unseen[0] < 2 * TARGET_SPREAD
    assert all(one < other for one, other in zip(seen, unseen, strict=True))
    assert "RMSE: Rent (euro)" in texts(figure)
    assert any(text.startswith("rows fitted on; the last ") for text in texts(figure))


TARGET_SPREAD = ROWS[1].std()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("ridge", {"alpha": 0.1}), ("elastic_net_interactions", {"alpha": 1.0, "l1_ratio": 0.9})],
)
def test_a_large_penalty_harms_and_the_chosen_one_is_marked(
    name: str, parameters: dict[str, Any]
) -> None:
    """Also inside a nested pipeline."""
    figure = model_plots.validation_curve(CONTRACT, fitted(name, **parameters), *ROWS, FOLDS)
    assert figure
    assert scores(figure)[1][-1] > 2 * min(scores(figure)[1])
    marks = [set(line.get_xdata()) for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert marks == [{parameters["alpha"]}]
    named = figure.axes[0].get_legend().legend_handles
    assert "--" not in [
        handle.get_linestyle() for handle in named
    ]  # the mark is none of the curves


@pytest.mark.parametrize("name", ["mean", "gradient_boosting"])
def test_a_model_without_a_penalty_has_no_validation_curve(name: str) -> None:
    """Boosting has an `alpha`, of another meaning."""
    assert model_plots.validation_curve(CONTRACT, fitted(name), *ROWS, FOLDS) is None
