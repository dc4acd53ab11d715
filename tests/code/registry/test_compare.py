"""Runs side by side: what differs, and whether the rows can tell which is better."""

import io
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlref.bundle.store import Store
from mlref.core import settings
from mlref.core.digits import interval
from mlref.core.errors import MlrefError
from mlref.core.storage import Project
from mlref.core.task import Regression
from mlref.evaluation.compare import score_difference
from mlref.registry.compare import compare
from mlref.tracking import runs

pytestmark = pytest.mark.xdist_group(
    "three"
)  # one worker makes the three models, the other goes on

ACTUAL = np.arange(40.0)
ALL = range(40)


def predictions(error: float, rows: range = ALL, **columns: Any) -> str:
    """A file of predictions, all off by ``error``; the rows are named by their number."""
    named = [f"{row:016x}" for row in rows]
    table = {"row": named, "actual": ACTUAL[list(rows)], "value": ACTUAL[list(rows)] + error}
    return pd.DataFrame(table | columns).to_csv(index=False)


def test_two_models_stand_side_by_side_with_their_paired_difference(three: Project) -> None:
    first, _, second = Store(three.store).records()
    (head, rows), sentences = compare(three, ["1", "challenger"])
    assert head == ["", *(f"{r['model']} {r['digest'][:8]}" for r in (first, second))]
    table = {row[0]: row[1:] for row in rows}
    assert table["run_id"] == [first["run_id"][:8], second["run_id"][:8]]
    assert table["params.model"] == ["elastic_net", "ridge"]
    assert table["params.l1_ratio"] == ["0.5", "-"]
    assert all(len(set(row[1:])) == 2 for row in rows)
    assert not any(name.startswith(("params.split", "tags")) for name in table)
    assert re.fullmatch(r"Equal in all: \d+ parameters and metrics\.", sentences[0])
    texts = [runs.text(three, record["run_id"], "predictions.csv") for record in (first, second)]
    one, other = (pd.read_csv(io.StringIO(text or "")) for text in texts)
    arrays = (table.to_numpy() for table in (one["actual"], other["value"], one["value"]))
    expected = score_difference(*arrays, settings.load(three.params).evaluate, Regression())
    assert f"on the {len(one)} rows that both have predicted: {interval(expected)}" in sentences[1]


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        (predictions(1), predictions(3), r"on the 40 .*: 2.00 .*, so elastic_net \w{8} is better."),
        (predictions(3), predictions(1), r"on the 40 .*: -2.00 .*, so ridge \w{8} is better."),
        (predictions(3), predictions(-3), r"on the 40 .*: 0 .*, so these rows cannot tell which"),
        (predictions(1), predictions(3, actual=[*ACTUAL[:30], *ACTUAL[30:] + 1]), r"on the 30 rows "),
        (predictions(1, range(9)), predictions(3), r"told: .* 9 rows in common, and it takes 10"),
        (predictions(1), None, r"told: .* 0 rows in common"),
        (predictions(1) * 2, predictions(3), r"on the 40 rows "),
    ],
    ids=["first", "second", "tie", "corrected", "few", "none", "copies"],
)  # fmt: skip
def test_the_verdict_says_what_the_common_rows_can_tell(
    one: str, other: str | None, verdict: str, three: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = iter([one.replace("\nrow,actual,value", ""), other])
    monkeypatch.setattr(runs, "text", lambda *_: next(texts))
    assert re.search(verdict, compare(three, ["1", "3"])[1][-1])


def test_more_than_two_are_each_compared_with_the_first(three: Project) -> None:
    trials = list(runs.search(three, condition="run_name = 'mean 00'")["run_id"])
    (head, _), sentences = compare(three, ["2", "1", *trials])
    assert head[3:] == ["mean 00"] * 3
    assert "rows that both have predicted" in sentences[1]
    assert all("cannot be told" in sentence for sentence in sentences[2:])


@pytest.mark.parametrize("references", [["1"], ["1", "1"]])
def test_one_run_is_no_comparison(references: list[str], three: Project) -> None:
    with pytest.raises(MlrefError, match="needs two different runs"):
        compare(three, references)
