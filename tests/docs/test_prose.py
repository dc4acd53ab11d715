"""Prose says what the files say, and can be read on GitHub and run by anybody without harm."""

import importlib.util
import re
import textwrap
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import yaml
from markdown_it import MarkdownIt

from mlref.core.storage import read_json
from tests.system.conftest import ROOT


def text(page: str) -> str:
    """A page in one line."""
    return " ".join((ROOT / page).read_text(encoding="utf-8").split())


def of_the_model() -> Iterator[tuple[str, str]]:
    """Figures of data, settings and reports."""
    found = read_json(ROOT / "reports" / "metrics.json")
    tuning = read_json(ROOT / "reports" / "tuning.json")
    settings = yaml.safe_load((ROOT / "config" / "params.yaml").read_text(encoding="utf-8"))
    evaluate, register = settings["evaluate"], settings["register"]
    train = read_json(ROOT / "reports" / "profile.json")["rows"]
    test, trials, slices = found["rows"], len(tuning["trials"]), len(found["slices"])
    rmse, gain = found["rmse"], found["ladder"]["single_feature"]
    points = f"{rmse['value']:.1f}"
    shown = f"{points} [{rmse['lower']:.1f}, {rmse['upper']:.1f}]"
    best = tuning["candidates"][tuning["lowest"]]
    yield "README.md", f"the diabetes dataset ({train + test} patients"
    yield "README.md", f"{tuning['model']} {shown}"
    yield "docs/performance.md", f"validates {train + test} rows"
    yield "docs/performance.md", f"compares {trials} settings by nested cross-validation"
    yield "docs/performance.md", f"evaluates with {evaluate['resamples']:,} bootstrap samples"
    page = "docs/lessons/splitting.md"
    yield page, f"{test} of {train + test} rows are {test / (train + test):.1%}".replace("%", " %")
    page = "docs/lessons/optimisation.md"
    yield page, f"{trials} settings here"
    yield page, f"Their RMSE, {shown}, happens to lie below the {best['rmse']:.1f} of the"
    page = "docs/lessons/baselines.md"
    yield page, f"An RMSE of {float(points):.0f} points"
    yield page, f"it asks the {train} out-of-fold predictions"
    yield page, f"{-gain['value']:.1f} points better, with an interval from {-gain['upper']:.1f} to"
    page = "docs/lessons/evaluation.md"
    yield page, f'A report that says "RMSE {points}"'
    yield page, f"draws the {test} rows again with replacement, {evaluate['resamples']:,} times"
    yield page, f"These are {2 * slices} intervals at 95 % of the same {test} rows"
    yield page, f"Below `evaluate.smallest_slice`, {evaluate['smallest_slice']} rows"
    rows = pd.read_csv(ROOT / "reports" / "plots" / "out_of_fold.csv")
    predicted = rows[tuning["model"]]
    spread = (rows["actual"] - predicted).groupby(pd.qcut(predicted, 3), observed=True).std()
    low, middle, high = np.rint(spread).astype(int)
    yield page, f"({low} in the low third, {middle} and {high} in the others)"
    page = "docs/lessons/gate.md"
    yield page, f"slices of {register['smallest_slice']} rows and more"


def of_the_service() -> Iterator[tuple[str, str]]:
    """Bounds of the service and of its log; a fork may have none."""
    from mlref.prediction_log import writer
    from mlref.serving import feedback
    from mlref.serving.request import Limits

    limits, page = Limits(), "docs/lessons/serving.md"
    yield page, f"| {limits.rows:,} rows a request |"
    yield page, f"| {limits.bytes:,} bytes |"
    yield page, f"| {limits.seconds:g} seconds for a body to arrive |"
    yield page, f"| {limits.queue} requests that wait, {limits.uploads} bodies on their way |"
    yield page, f"| {limits.labels} requests that are storing labels, {feedback.PATIENCE:g} seconds"
    yield page, f"as long as {writer.CAPACITY:,} fit into memory"


FIGURES = [*of_the_model()]
if importlib.util.find_spec("mlref.serving"):
    FIGURES += of_the_service()


@pytest.mark.parametrize(("page", "sentence"), FIGURES)
def test_a_figure_in_prose_is_that_of_the_file(page: str, sentence: str) -> None:
    assert sentence in text(page), "the page says something else; mend it after `make train`"


def quotes() -> Iterator[tuple[str, str, str]]:
    """Blocks that say which file they quote: page, file and content."""
    for page in sorted(ROOT.glob("docs/*/*.md")):
        for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
            _, _, file = token.info.partition(" ") if token.type == "fence" else ("", "", "")
            if file and (ROOT / file).is_file():
                yield str(page.relative_to(ROOT)), file, token.content


@pytest.mark.parametrize(("page", "file", "content"), list(quotes()))
def test_a_quoted_file_says_what_the_page_shows(page: str, file: str, content: str) -> None:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    first, height = content.splitlines()[0], len(content.splitlines())
    starts = [place for place, line in enumerate(lines) if line.strip() == first.strip()]
    parts = ["\n".join(lines[place : place + height]) for place in starts]
    assert content.strip() in [textwrap.dedent(part).strip() for part in parts]


FORBIDDEN = {
    "a role or directive in pages that are read on GitHub": (
        ("README.md", "docs/index.md", "docs/lessons/index.md"), r"\{[\w-]+\}`|```\{|:::|<project:",
    ),
    "a directive whose text GitHub does not show": (
        ("docs/lessons/*.md",), r"```\{|<project:|\{doc\}",
    ),
    "a command that throws the reader's own work away": (
        ("README.md", "docs/**/*.md"),
        r"git checkout (-q )?\.(\s|$)|reset (-q )?--hard|git clean|rm -rf? \S*predictions\.db",
    ),
    "a command that only GNU's tools know": (
        ("README.md", "docs/how-to/*.md"),
        r"\$ .*(sed -i|grep -P|readlink -f|date -d|sha256sum|\btimeout )",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("pages", "pattern"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_no_page_has(pages: tuple[str, ...], pattern: str) -> None:
    found = {
        str(page.relative_to(ROOT)): match[0]
        for one in pages
        for page in ROOT.glob(one)
        if (match := re.search(pattern, page.read_text(encoding="utf-8"), re.MULTILINE))
    }
    assert found == {}


FIRST = ["README.md", *(f"docs/{part}index.md" for part in ("", "lessons/", "how-to/"))]


@pytest.mark.parametrize("page", FIRST)
def test_links_of_the_first_pages_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    assert (
        links and [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []
    )
