"""Challenger against champion: on rows that neither has learned, out of fold, or why not at all."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlref.core.contract import parse
from mlref.core.errors import BundleError
from mlref.core.rows import Array
from mlref.core.settings import Settings
from mlref.core.task import task_of
from mlref.data.split import split
from mlref.data.tables import encode, row_ids
from mlref.registry.evidence import Side, meet, out_of_fold
from mlref.registry.gate import Check
from mlref.training.candidates import build
from tests.projects import PARAMS, RENTS_TEXT, rents

pytestmark = pytest.mark.xdist_group(
    "three"
)  # one worker makes the three models, the other goes on

CONTRACT = parse(RENTS_TEXT)
SETTINGS = Settings.model_validate(PARAMS)
FRAME = rents(260)
TEST_SET = split(CONTRACT, FRAME, SETTINGS.split)
TRAIN = FRAME[~TEST_SET]
EVIDENCE, VETO = "better_than_champion", "not_worse_than_champion"
GOOD, POOR = ("ridge", {"alpha": 0.1}), ("ridge", {"alpha": 10.0})


def side(
    recipe: tuple[str, dict[str, Any]] = GOOD, trained: pd.DataFrame | None = None,
    text: str = RENTS_TEXT, error: Any = 0.0, forgets: bool = False,
) -> Side:  # fmt: skip
    """A model of a contract, fitted to the training rows or to those given, and off by an error."""
    contract, rows = parse(text), TRAIN if trained is None else trained
    features, target = encode(CONTRACT, rows)
    model = build(CONTRACT, *recipe, 0).fit(features, target)

    def predict(asked: Array) -> Any:
        if error is BundleError:
            raise BundleError("The model gave a value that is not a finite number.")
        return SimpleNamespace(value=model.predict(asked) + error)

    intervals = task_of(contract).calibrate(target, model.predict(features), 0.9)
    known: Any = SimpleNamespace(contract=contract, predict=predict, intervals=intervals)
    return Side(known, *recipe, None if forgets else frozenset(row_ids(CONTRACT, rows)))


def duel(*sides: Side, frame: pd.DataFrame = FRAME, after: Any = None) -> dict[str, Check]:
    """The checks of two models that can be compared."""
    found = {check.name: check for check in meet(*sides, frame, SETTINGS, after)}
    assert EVIDENCE in found, found
    return found


def evidence(found: dict[str, Check], key: str) -> dict[str, Any]:
    """The figures of a kind of evidence."""
    return found[EVIDENCE].figures[key]


def ends(found: dict[str, Check], key: str) -> tuple[float, float]:
    """The interval of a kind of evidence."""
    return evidence(found, key)["lower"], evidence(found, key)["upper"]


RENAMED = RENTS_TEXT.replace("name: area\n", "name: size\n").replace(
    "column: area,", "column: size,"
)
OTHER_TARGET = RENTS_TEXT.replace("name: rent\n", "name: price\n")
STRICTER = RENTS_TEXT.replace("valid: [0, 100]", "valid: [0, 5]")


@pytest.mark.parametrize(
    ("challenger", "champion", "frame", "verdict", "words"),
    [
        ({}, {"text": RENAMED}, FRAME, "promote", "The champion is of another contract (rents)"),
        ({}, {"text": OTHER_TARGET}, FRAME, "promote", "is of another contract (rents)"),
        ({}, {"text": STRICTER}, FRAME, "promote", "is of another contract (rents)"),
        ({"text": RENAMED}, {}, FRAME, "block", "It is of another contract (rents)"),
        ({"text": STRICTER}, {}, FRAME, "block", "It is of another contract (rents)"),
        ({}, {"forgets": True}, FRAME, "keep",
         "It is not recorded which rows the champion was trained on. A person decides: `mlref promote"),
        ({"forgets": True}, {}, FRAME, "keep", "not recorded which rows the model was trained on"),
        ({}, {}, FRAME[FRAME["area"] > 30], "keep", f" of {len(TRAIN)} rows that the champion trained"),
        ({}, {"trained": FRAME.iloc[5:]}, FRAME, "keep",
         "rows have been seen by neither it nor the champion; at least 20 are needed"),
        ({}, {"error": BundleError}, FRAME, "keep", "fails on these rows, so a person decides: The mo"),
    ],
    ids=["feature", "target", "range", "challenger's feature", "its range", "no record", "none either",
         "deleted rows", "all learned", "no number"],
)  # fmt: skip
def test_two_models_that_cannot_be_compared(
    challenger: dict[str, Any], champion: dict[str, Any], frame: pd.DataFrame, verdict: str, words: str
) -> None:  # fmt: skip
    (answer,) = meet(side(**challenger), side(**champion), frame, SETTINGS)
    assert answer.verdict == verdict and words in answer.reason


def test_a_few_rows_that_were_erased_or_corrected_do_not_lock_the_gate() -> None:
    """It counts on neither side."""
    erased = FRAME.drop(index=FRAME.index[~TEST_SET][0])
    found = duel(side(), side(POOR), frame=erased)
    assert found[VETO].figures["rows"] == TEST_SET.sum()
    assert evidence(found, "recipes")["rows"] == len(TRAIN) - 1


def test_only_rows_that_neither_has_learned_are_compared_whatever_the_split_is_now() -> None:
    """The champion learned half of what is the test set now."""
    theirs = FRAME.iloc[::2]
    found = duel(side(), side(POOR, trained=theirs))
    unseen = TEST_SET & (np.arange(len(FRAME)) % 2 == 1)
    assert found[VETO].figures["rows"] == unseen.sum()
    features, target = encode(CONTRACT, FRAME[unseen])
    one, other = (
        np.sqrt(((model.predictor.predict(features).value - target) ** 2).mean())
        for model in (side(), side(POOR, trained=theirs))
    )
    assert found[VETO].figures["value"] == pytest.approx(one - other)
    parts = {name.partition(" ")[0] for name in found["slices"].figures}
    assert parts == {"heating", "area"}


def test_a_better_recipe_is_seen_out_of_fold_and_the_same_one_is_the_same() -> None:
    found = duel(side(), side(POOR))
    recipes, models = ends(found, "recipes"), ends(found, "models")
    assert recipes[1] < 0 < models[1], "and the test set alone could not tell"
    assert ends(duel(side(), side(trained=FRAME.iloc[5:100])), "recipes") == (0, 0)
    assert ends(duel(side(POOR), side()), "recipes")[0] > 0


def test_folds_are_dealt_anew_and_every_prediction_is_out_of_fold() -> None:
    """A model that learns by heart would have no error; the folds of tuning would be the same."""
    train = TRAIN.assign(rent=np.random.default_rng(0).uniform(0, 9000, len(TRAIN)))
    trees = side(("random_forest", {"n_estimators": 5}))
    errors = [
        out_of_fold(trees, CONTRACT, train, SETTINGS.model_copy(update={"tune": tune}))
        - train["rent"]
        for tune in (SETTINGS.tune, SETTINGS.tune.model_copy(update={"repeats": 3}))
    ]
    assert all(np.sqrt((error**2).mean()) > 2500 for error in errors)
    assert not np.allclose(*errors)


def test_the_folds_are_as_many_as_those_of_training_and_not_of_tuning() -> None:
    """On four fifths of the rows a recipe that needs more rows would lose to an equal one."""
    fewer = {
        stage: getattr(SETTINGS, stage).model_copy(update={"folds": 3})
        for stage in ("tune", "train")
    }
    base, of_tuning, of_training = (
        out_of_fold(side(), CONTRACT, TRAIN, SETTINGS.model_copy(update=changed))
        for changed in ({}, {"tune": fewer["tune"]}, {"train": fewer["train"]})
    )
    assert np.array_equal(base, of_tuning) and not np.allclose(base, of_training)


@pytest.mark.parametrize(
    "recipe", [("gone", {}), ("ridge", {"alphas": 1}), ("ridge", {"alpha": -1.0})]
)
def test_a_champion_whose_recipe_cannot_be_fitted_any_more_is_met_as_deployed(recipe: Any) -> None:
    champion = side()._replace(model=recipe[0], parameters=recipe[1])
    found = duel(side(), champion)
    assert f"The champion's recipe ({recipe[0]}) cannot be fitted" in found[EVIDENCE].reason
    assert ends(found, "models") == (0, 0)


def test_a_new_column_counts_as_part_of_the_recipe() -> None:
    """The champion's recipe sees the columns of its own contract."""
    fewer = CONTRACT.model_copy(update={"features": CONTRACT.features[1:], "slices": ()})
    champion = side()
    blind: Any = SimpleNamespace(**vars(champion.predictor) | {"contract": fewer})
    blind.predict = lambda rows: SimpleNamespace(value=np.full(len(rows), 2000.0))
    train = frozenset(row_ids(fewer, TRAIN))
    found = duel(side(), champion._replace(predictor=blind, trained=train))
    assert ends(found, "recipes")[1] < -100


def test_by_time_the_recipes_are_compared_on_the_rows_that_are_left_out() -> None:
    """The first part of six is only learned from, and no model has seen the rows after it."""
    text = RENTS_TEXT + "split: {by: time, column: area}\n"
    found = duel(side(text=text), side(POOR, text=text))
    assert evidence(found, "recipes")["rows"] == pytest.approx(5 / 6 * len(TRAIN), abs=2)
    assert np.isfinite(ends(found, "recipes")[1])


# After a change of concept.

NEW = rents(160, seed=8)
BOTH = pd.concat([FRAME, NEW.assign(rent=NEW["rent"] + 6 * NEW["area"])], ignore_index=True)
AFTER = np.arange(len(BOTH)) >= len(FRAME)
LEARNED = BOTH[~split(CONTRACT, BOTH, SETTINGS.split)]


def test_after_a_change_of_concept_all_newer_rows_are_evidence_out_of_fold() -> None:
    found = duel(side(trained=LEARNED), side(), frame=BOTH, after=AFTER)
    assert evidence(found, "since")["rows"] == 160
    older = ~AFTER & split(CONTRACT, BOTH, SETTINGS.split)
    assert found[VETO].figures["rows"] == older.sum()
    covered = found["coverage"].figures
    assert (covered["rows"], covered["promised"]) == (160, 0.9)
    assert found[EVIDENCE].verdict == "promote"


def test_a_challenger_that_learned_the_newer_rows_by_heart_is_no_better_for_it() -> None:
    """Labels without a signal: in sample the forest would look three times as good."""
    shuffled = BOTH.copy()
    order = np.random.default_rng(0).permutation(np.flatnonzero(AFTER))
    shuffled.loc[AFTER, "rent"] = BOTH["rent"].to_numpy()[order]
    forest = side(("random_forest", {"n_estimators": 10}), trained=shuffled.loc[LEARNED.index])
    found = duel(forest, side(), frame=shuffled, after=AFTER)
    features, target = encode(CONTRACT, shuffled[AFTER])
    in_sample, champion = (
        np.sqrt(((model.predictor.predict(features).value - target) ** 2).mean())
        for model in (forest, side())
    )
    assert champion + evidence(found, "since")["value"] > 1.3 * in_sample


def test_a_model_that_has_lost_the_old_concept_is_blocked_by_the_older_rows() -> None:
    forgetful = side(trained=BOTH[AFTER])._replace(trained=frozenset(row_ids(CONTRACT, LEARNED)))
    found = duel(forgetful, side(), frame=BOTH, after=AFTER)
    assert found[VETO].verdict == "block"


def test_poisoned_labels_promote_nobody() -> None:
    """One in twenty is ten times what it was, and nothing else has changed."""
    poisoned = pd.concat([FRAME, NEW], ignore_index=True)
    wrong = np.flatnonzero(AFTER)[::20]
    poisoned.loc[wrong, "rent"] = (10 * poisoned.loc[wrong, "rent"]).clip(upper=20000)
    found = duel(side(trained=poisoned.loc[LEARNED.index]), side(), frame=poisoned, after=AFTER)
    assert found[EVIDENCE].verdict == "keep"


@pytest.mark.parametrize(("rows", "compared"), [(3, False), (19, False), (20, True)])
def test_too_few_newer_rows_keep_the_champion(rows: int, compared: bool) -> None:
    after = np.arange(len(BOTH)) >= len(BOTH) - rows
    found = meet(side(trained=LEARNED), side(), BOTH, SETTINGS, after)
    few = f"Only {rows} rows since then are unknown to the champion"
    assert (len(found) == 4) == compared
    assert compared or (found[0].verdict == "keep" and few in found[0].reason)
