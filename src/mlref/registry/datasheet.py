"""The datasheet. Its sections follow Gebru et al. (2021), Datasheets for Datasets."""

from collections.abc import Iterator

from mlref.core.contract import Column, Contract, FileSource, SklearnSource
from mlref.core.settings import Settings
from mlref.registry.reports import Report, bullets, number, table


def datasheet(contract: Contract, knobs: Settings, profile: Report, held_out: int) -> str:
    """Write where the rows come from, what they hold, and what is wrong with them."""
    rows = profile["rows"]
    sensitive = ", ".join(column.title for column in contract.columns if column.sensitive)
    parts = [
        f"# Datasheet: {contract.title}",
        bullets([
            f"Source: {_source(contract)}",
            f"Homepage: {contract.homepage}",
            f"Licence: {contract.licence}",
            f"Citation: {contract.citation}",
        ]),
        "## Collection",
        contract.collection,
        "## Known issues",
        bullets(contract.known_issues),
        "## Not to be used for",
        bullets(contract.use.not_for),
        "## Rows",
        f"{rows + held_out} rows: {rows} to train on, {held_out} held out. A row is named by"
        f" {', '.join(contract.identity) or 'the values of its features'}; a hash of that name and of the"
        f" seed {knobs.split.seed} decides its side, so copies of a row are on one side. The share to hold"
        f" out is {knobs.split.holdout:.0%}. The training rows have the hash `{profile['data']}`.",
        "## Columns",
        "As the contract declares them, the target last:",
        table(
            (
                "column", "title", "meaning", "type", "possible", "usual", "measurement error",
                "sensitive",
            ),
            map(_declared, contract.columns),
        ),
        f"Sensitive: {sensitive or 'no column'}.",
        "As measured on the training rows:",
        table(
            ("column", "missing", "minimum, 5%, median, 95%, maximum; or shares"),
            (_measured(column, profile["columns"][column.name]) for column in contract.columns),
        ),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _source(contract: Contract) -> str:
    source = contract.source
    if isinstance(source, SklearnSource):
        options = ", ".join(f"{name}={value}" for name, value in source.options.items())
        return f"`sklearn.datasets.{source.loader}({options})`"
    if isinstance(source, FileSource):
        return f"the file `{source.path}`"
    return f"the database that `{source.url_from}` names: `{' '.join(source.query.split())}`"


def _declared(column: Column) -> tuple[str, ...]:
    usual = "any of these" if column.allowed is not None else "not declared"
    if column.expected:
        usual = f"{column.expected[0]:.12g} to {column.expected[1]:.12g}"
    return (
        f"`{column.name}`", column.title, column.meaning, column.type, column.accepts, usual,
        "not declared" if column.error is None else number(column.error),
        "yes" if column.sensitive else "no",
    )  # fmt: skip


def _measured(column: Column, found: Report) -> tuple[str, ...]:
    return f"`{column.name}`", f"{found['null_share']:.1%}", ", ".join(_spread(column, found))


def _spread(column: Column, found: Report) -> Iterator[str]:
    if found["null_share"] == 1:
        yield "no value"
    elif column.allowed is not None:
        yield from (f"{value}: {share:.1%}" for value, share in found["shares"].items())
    else:
        quantiles = found["quantiles"]
        yield from (number(quantiles[share]) for share in ("0.0", "0.05", "0.5", "0.95", "1.0"))
