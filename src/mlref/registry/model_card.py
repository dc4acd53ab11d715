"""The model card. Its sections follow Mitchell et al. (2019), Model Cards for Model Reporting."""

from collections.abc import Iterator

from mlref.core.contract import Contract
from mlref.core.settings import Settings
from mlref.registry.reports import Report, bullets, interval, number, table

TITLES = {
    "rmse": "RMSE", "mae": "MAE", "median_error": "median error", "bias": "bias", "r2": "R²",
    "coverage": "share inside the interval",
}  # fmt: skip
"""Names of figures for people."""


def model_card(
    contract: Contract, contract_hash: str, knobs: Settings, metrics: Report, profile: Report,
    tuning: Report, record: Report | None,
) -> str:  # fmt: skip
    """Write what the model is for, how good it is, on whom, and how it is made again."""
    target = contract.target
    setting = ", ".join(f"{name} {value}" for name, value in tuning["parameters"].items())
    features = ", ".join(column.title for column in contract.features)
    parts = [
        f"# Model card: {contract.title}",
        f"Predicts **{target.title}**{f' in {target.unit}' if target.unit else ''} from {features}."
        f" {target.meaning}",
        f"The model is `{tuning['model']}`{f' with {setting}' if setting else ''}: {tuning['rule']}.",
        "## Use",
        f"**Intended.** {contract.use.intended}",
        f"**Users.** {contract.use.users}",
        "**Not for:**",
        bullets(contract.use.not_for),
        *_performance(metrics, tuning["model"], knobs.evaluate.confidence),
        *_verdict(record),
        *_limits(contract, metrics["rows"]),
        *_slices(contract, metrics["slices"]),
        *_fairness(contract, metrics["fairness"], knobs.evaluate.confidence),
        *_promises(metrics["promises"]),
        *_worth(contract, metrics["features"]),
        "## Training data, and how to make the model again",
        f"{profile['rows']} rows of {contract.homepage}, which the datasheet describes.",
        bullets(_provenance(contract_hash, profile["data"], record)),
    ]
    return "\n\n".join(parts) + "\n"


def _performance(metrics: Report, model: str, confidence: float) -> Iterator[str]:
    shown = ("rmse", "mae", "median_error", "bias", "r2")
    yield "## Performance"
    yield (
        f"On {metrics['rows']} held-out rows, beside the baselines, with {confidence:.0%} bootstrap"
        " intervals. All but R² are in the unit of the target; bias is the mean of predicted − actual."
    )
    judged = {model: metrics, **metrics["baselines"]}
    yield table(
        ("model", *(TITLES[figure] for figure in shown)),
        ((name, *(interval(found[figure]) for figure in shown)) for name, found in judged.items()),
    )
    if metrics["ladder"]:
        yield "RMSE minus that of each simpler candidate, out of fold on the training rows:"
        yield table(
            ("candidate", "difference"),
            ((name, interval(found)) for name, found in metrics["ladder"].items()),
        )
    held = metrics["coverage"]
    yield (
        f"The prediction intervals promise to hold {held['promised']:.0%} of the true values. They hold"
        f" {held['value']:.1%} [{held['lower']:.1%}, {held['upper']:.1%}] of the held-out ones."
    )


def _verdict(record: Report | None) -> Iterator[str]:
    if record is not None:
        yield "## Verdict of the gate"
        yield f"**{record['gate']['verdict']}**"
        yield bullets(record["gate"]["reasons"])


def _limits(contract: Contract, rows: int) -> Iterator[str]:
    yield "## Limits"
    yield bullets([
        f"{rows} held-out rows are behind the figures: what lies inside an interval cannot be told apart.",
        "A row with a value that the datasheet calls impossible is refused; one with an unusual value is"
        " answered with a warning.",
        *contract.known_issues,
    ])  # fmt: skip


def _slices(contract: Contract, found: Report) -> Iterator[str]:
    yield "## Slices"
    if not contract.slices:
        yield "The contract declares no group of rows to judge by itself."
        return
    yield bullets(f"{part.column}: {part.reason}" for part in contract.slices)
    shown = ("rmse", "bias", "coverage")

    def _cells(figures: Report) -> Iterator[str]:
        judged = figures["judged"]
        return (interval(figures[name]) if judged else "too few to judge" for name in shown)

    yield table(
        ("slice", "rows", *(TITLES[figure] for figure in shown)),
        ((name, str(figures["rows"]), *_cells(figures)) for name, figures in found.items()),
    )


def _fairness(contract: Contract, compared: Report, confidence: float) -> Iterator[str]:
    sensitive = [column.title for column in contract.features if column.sensitive]
    yield "## Fairness"
    if not sensitive:
        yield "The contract declares no sensitive feature."
        return
    yield f"The model is given sensitive features: {', '.join(sensitive)}."
    yield (
        "The largest difference between two groups is never negative. *By chance* is what it stays below"
        f" in {confidence:.0%} of the cases when the same rows are dealt into groups by lot."
    )
    for name, found in compared.items():
        if not found["judged"]:
            yield f"{name} is not judged. {found['reason']}"
            continue
        groups = ", ".join(f"{group}: {rows} rows" for group, rows in found["groups"].items())
        yield f"{name} ({groups}):"
        yield table(
            ("figure", "largest difference", "by chance"),
            (
                (TITLES[figure], interval(difference), number(difference["by_chance"]))
                for figure, difference in found["differences"].items()
            ),
        )


def _promises(promises: list[Report]) -> Iterator[str]:
    yield "## Promises"
    if not promises:
        yield "The contract asks for none."
        return
    yield table(
        ("promise", "kept", "held-out rows that break it", "worst", "tolerated"),
        (
            (
                promise["promise"], "yes" if promise["passed"] else "**no**", str(promise["broken"]),
                number(promise["worst"]), number(promise["tolerance"]),
            )
            for promise in promises
        ),
    )  # fmt: skip


def _worth(contract: Contract, features: Report) -> Iterator[str]:
    if features:
        yield "## What each feature is worth"
        yield "By how much RMSE grows, out of fold, when the model has to do without it:"
        yield table(
            ("feature", "growth"),
            ((name, interval(features[name])) for name in contract.names),
        )


def _provenance(contract: str, data: str, record: Report | None) -> Iterator[str]:
    yield f"Training rows: `{data}`"
    yield f"Contract: `{contract}`"
    if record is None:
        yield "Commit, packages and verdict are those of a registered version: `mlref lineage champion`"
        return
    packages = ", ".join(f"{name} {version}" for name, version in record["libraries"].items())
    yield f"Bundle: `{record['digest']}`"
    yield f"Commit: `{record['commit']}`" if record["commit"] else "Commit: none, outside of git"
    yield f"Packages: {packages}"
    yield f"`mlref lineage {record['digest'][:12]} --verify` trains it again and compares."
