"""A run says how far it is and what it did."""

import re

import pytest

from mlref.batch.counts import Counts
from mlref.batch.files import Job, Source
from mlref.batch.model import Model
from mlref.batch.report import progress, summary


def test_the_bar_shows_rows_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard error, so that a pipe gets the summary alone."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("COLUMNS", "120")
    jobs = [Job(Source("/x/a.csv", "a.csv", 1000), "/o/a.parquet", "/o.rejected/a.csv")]
    with progress(jobs, watched=True) as tell:
        tell(1234, 1000)
    said = capsys.readouterr()
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.err)
    assert re.search(r"100 % 1,234 rows · [\d,]+ a second · left 0:00:00", drawn)
    assert said.out == ""


def test_nobody_looks_at_a_bar_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is drawn there."""
    with progress([], watched=False) as tell:
        tell(1, 1)
    assert capsys.readouterr() == ("", "")


def test_many_reasons_are_counted(champion: Model) -> None:
    """The most frequent first."""
    counts = Counts(300, 0, 0, 300)
    counts.reasons.update({f"c{number}: x": number for number in range(1, 25)})
    lines = list(summary(counts, champion, "out", 1, 0, 0.1))
    assert [line.split() for line in lines if "c24" in line] == [["24", "c24:", "x"]]
    assert any("… for 4 more reasons" in line for line in lines)
