"""Runs side by side: what differs, and whether the rows can tell which is better."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlref import tracking
from mlref.bundle.store import Store
from mlref.core import settings
from mlref.core.errors import MlrefError
from mlref.core.storage import Project
from mlref.data.tables import read_csv
from mlref.evaluation.compare import score_difference
from mlref.registry import compare as module
from mlref.registry.compare import compare
from mlref.registry.runs import opened

ACTUAL = np.arange(40.0)
ALL = range(40)


def predictions(error: float, rows: range = ALL, **columns: Any) -> str:
    """A file of predictions, all off by ``error``; the rows are named by their number."""
    named = [f"{row:016x}" for row in rows]
    table = {"row": named, "actual": ACTUAL[list(rows)], "value": ACTUAL[list(rows)] + error}
    return pd.DataFrame(table | columns).to_csv(index=False)


def run_of(name: str, **metrics: float) -> tracking.Run:
    """A run with nothing but metrics."""
    return tracking.Run(name * 32, name, "FINISHED", None, "1", {}, metrics, {})  # type: ignore[arg-type]


def said(two: Project, monkeypatch: pytest.MonkeyPatch, files: list[str | None]) -> str:
    """What the comparison of both models says when these are their predictions."""
    texts = iter(files)
    monkeypatch.setattr(tracking.Runs, "text", lambda *_: next(texts))
    return compare(two, ["1", "2"])[1][-1]


def test_the_paired_difference_is_that_of_the_rows_of_both(two: Project) -> None:
    """The same figure as the gate's tool gives for the files of both."""
    first, second = Store(two.store).records()
    with opened(two) as runs:
        texts = [runs.text(runs.find(r["run_id"]), "predictions.csv") for r in (first, second)]
    tables = [pd.read_csv(io.StringIO(text or "")) for text in texts]
    knobs = settings.load(two.params).evaluate
    expected = score_difference(
        tables[0]["actual"].to_numpy(), tables[1]["value"].to_numpy(), tables[0]["value"].to_numpy(), knobs
    )  # fmt: skip
    sentence = compare(two, ["1", "2"])[1][-1]
    rows = len(read_csv(two.predictions))
    names = [f"{record['model']} {record['digest'][:8]}" for record in (second, first)]
    assert sentence.startswith(
        f"RMSE of {names[0]} minus that of {names[1]}, on the {rows} held-out rows of both: "
        + "{value:+.2f} [{lower:+.2f}, {upper:+.2f}]".format(**expected)
    )
    assert np.sign(expected["value"]) == np.sign(
        second["metrics"]["rmse"]["value"] - first["metrics"]["rmse"]["value"]
    )


def test_what_differs_stands_side_by_side(two: Project) -> None:
    """What is equal in all is only counted."""
    first, second = Store(two.store).records()
    (head, rows), sentences = compare(two, ["1", "challenger"])
    assert head == ["", *(f"{r['model']} {r['digest'][:8]}" for r in (first, second))]
    table = {row[0]: row[1:] for row in rows}
    assert table["run_id"] == [first["run_id"][:8], second["run_id"][:8]]
    assert table["params.model"] == ["elastic_net", "ridge"]
    assert table["params.l1_ratio"] == ["0.5", "-"]
    assert all(len(set(row[1:])) == 2 for row in rows)
    assert not any(name.startswith(("params.split", "tags")) for name in table)
    assert re.fullmatch(r"Equal in all: \d+ params and 2 metrics\.", sentences[0])


@pytest.mark.parametrize(
    ("files", "verdict"),
    [
        ([predictions(1), predictions(3)], r"on the 40 .*: \+2.00 .*, so elastic_net \w{8} is better."),
        ([predictions(3), predictions(1)], r"on the 40 .*: -2.00 .*, so ridge \w{8} is better."),
        ([predictions(3), predictions(-3)], r"on the 40 .*: \+0.00 .*, so these rows cannot tell which"),
        ([predictions(1), predictions(3, range(20))], r"on the 20 held-out rows of both: \+2.00 "),
        (
            [predictions(1), predictions(3, actual=[*ACTUAL[:30], *ACTUAL[30:] + 1])],
            r"on the 30 held-out rows of both: ",
        ),
        ([predictions(1, range(9)), predictions(3)], r"told: they have 9 rows in common, and it takes 10"),
        ([predictions(1, range(20)), predictions(3, range(20, 40))], r"told: they have no per-row pred"),
        ([predictions(1), None], r"cannot be told: they have no per-row predictions in common."),
        ([predictions(1).replace("row", "line"), predictions(3)], r"they have no per-row predictions"),
    ],
    ids=["first", "second", "tie", "overlap", "corrected", "few", "disjoint", "none", "unnamed"],
)  # fmt: skip
def test_the_verdict_says_what_the_common_rows_can_tell(
    files: list[str | None], verdict: str, two: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row whose actual value was corrected is another row; too few rows tell nothing."""
    assert re.search(verdict, said(two, monkeypatch, files))


def test_the_order_of_the_rows_does_not_matter(
    two: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are matched by their names; copies of a row are matched with each other, once."""
    twice = predictions(1) + predictions(1).partition("\n")[2]
    head, *lines = predictions(3).splitlines()
    turned = "\n".join([head, *lines[::-1], *lines])
    assert "on the 80 held-out rows of both: +2.00 [+2.00, +2.00]" in said(
        two, monkeypatch, [twice, turned]
    )


def test_more_than_two_are_each_compared_with_the_first(two: Project) -> None:
    """Also with one that has no predictions; equal names are told apart by id."""
    with opened(two) as runs:
        trials = [run.run_id for run in runs.search("run_name = 'mean 00'")]
    (head, _), sentences = compare(two, ["2", "1", *trials])
    assert head[3:] == [f"mean 00 ({run_id[:8]})" for run_id in trials]
    assert len(sentences) == 1 + 3
    assert "held-out rows of both" in sentences[1]
    assert all("no per-row predictions in common" in sentence for sentence in sentences[2:])


@pytest.mark.parametrize("references", [["1"], ["1", "1"], ["1", "elastic_net"]])
def test_one_run_is_no_comparison(references: list[str], two: Project) -> None:
    """Under two names neither."""
    names = {"elastic_net": f"elastic_net {Store(two.store).records()[0]['digest'][:8]}"}
    with pytest.raises(MlrefError, match="needs two different runs"):
        compare(two, [names.get(word, word) for word in references])


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_comparison_is_drawn_to_a_file(suffix: str, two: Project, tmp_path: Path) -> None:
    """In the form that its ending names."""
    picture = tmp_path / f"compared{suffix}"
    assert compare(two, ["1", "2"], picture)[1][-1] == f"Picture: {picture}"
    assert picture.read_bytes()[:4] in (b"\x89PNG", b"<?xm", b"%PDF")
    assert list(tmp_path.iterdir()) == [picture]


def test_another_ending_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    """With those that are drawn."""
    with pytest.raises(MlrefError, match=r"a file that ends in \.pdf or \.png or \.svg"):
        compare(Project(tmp_path), ["1", "2"], tmp_path / "compared.gif")


def test_the_picture_shows_each_by_itself_and_the_paired_difference() -> None:
    """The second panel is there only where something is paired."""
    runs = [run_of("a", rmse=50, rmse_lower=45, rmse_upper=56), run_of("b", rmse=48)]
    difference = {"value": -2.0, "lower": -3.0, "upper": -1.0}
    figure = module.draw(runs, ["a", "b"], {1: difference}, " (points)")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "Each run by itself", "On the same rows as the first"
    ]  # fmt: skip
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "RMSE of the held-out rows (points)", "its RMSE minus the first's (points)"
    ]  # fmt: skip
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b"]
    assert len(module.draw(runs, ["a", "b"], {}, "").axes) == 1


def test_trials_are_drawn_by_their_own_error() -> None:
    """Cross-validated, with its deviation over the folds."""
    runs = [run_of("a", cv_rmse=50, cv_rmse_std=3), run_of("b", cv_rmse=48, cv_rmse_std=2)]
    (axes,) = module.draw(runs, ["a", "b"], {}, "").axes
    assert axes.get_xlabel() == "RMSE ± deviation over folds"


@pytest.mark.parametrize(
    "runs", [[run_of("a"), run_of("b")], [run_of("a", rmse=1), run_of("b", cv_rmse=1)]]
)
def test_errors_of_different_kinds_are_not_drawn_on_one_axis(runs: list[tracking.Run]) -> None:
    """Nor is nothing."""
    with pytest.raises(MlrefError, match="no RMSE of the same kind"):
        module.draw(runs, ["a", "b"], {}, "")
