"""Every mistake in a contract is named, with its key and what is allowed."""

from pathlib import Path

import pytest

from mlref.core.contract import OUTPUTS, FileSource, SklearnSource, SqlSource, load, parse
from mlref.core.errors import ContractError
from tests.fakes import CONTRACT_TEXT, TYPES, TYPES_TEXT

SOUND = CONTRACT_TEXT + """\
identity: [flat]
slices:
  - {column: heating, reason: Wood is rare.}
  - {column: area, edges: [100, 200], reason: Small and large homes.}
promises:
  - {kind: monotone, column: area, direction: increasing, reason: More costs more.}
  - {kind: invariant, column: balcony, tolerance: 80, reason: A balcony is no home.}
  - {kind: bounded, range: [0, 20000], reason: The market.}
"""
SOURCE = "{kind: file, path: data/source/rents.csv}"
TARGET = "type: number\n  valid: [0, 20000]\n  example: 900"


def mistakes_of(text: str) -> tuple[str, ...]:
    """The mistakes for which a contract is refused; none when it is sound."""
    try:
        parse(text, "x.yaml")
    except ContractError as refusal:
        return refusal.mistakes
    return ()


def planted(old: str, new: str) -> str:
    """The sound contract with one passage replaced."""
    assert old in SOUND
    return SOUND.replace(old, new, 1)


def test_a_sound_contract_becomes_objects() -> None:
    """Order is the file's; the target comes last; keys are what only names a row."""
    contract = parse(SOUND)
    assert contract.names == ("area", "rooms", "heating", "balcony")
    assert [column.name for column in contract.columns] == [*contract.names, "rent"]
    assert contract.example == {"area": 70.5, "rooms": 3, "heating": "oil", "balcony": 4}
    assert contract.keys == ("flat",)
    assert contract.header == ("flat", *contract.names, "rent")
    assert parse(planted("[flat]", "[flat, area]")).keys == ("flat",)
    grouped = parse(planted("[flat]", "[flat]\nsplit: {by: group, column: house}"))
    assert (grouped.keys, contract.split.by) == (("flat", "house"), "hash")
    assert [promise.kind for promise in contract.promises] == ["monotone", "invariant", "bounded"]
    assert contract.slices[1].edges == (100, 200)


def test_a_column_says_what_it_accepts() -> None:
    assert [column.accepts for column in parse(SOUND).features] == [
        "a number from 5 to 1000 (m²)",
        "a whole number from 1 to 20",
        "one of gas, oil, wood",
        "a number from 0 to 100 or null",
    ]


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("{kind: file, path: data/source/a/rents.parquet}", FileSource),
        ("{kind: scikit-learn, loader: load_diabetes, options: {scaled: false}}", SklearnSource),
        ("{kind: sql, url_from: CLINIC_URL, query: select 1}", SqlSource),
        ('{kind: sql, url_from: URL, query: "select 1\\nfrom x"}', SqlSource),
    ],
)
def test_three_kinds_of_source_are_known(source: str, kind: type) -> None:
    assert isinstance(parse(planted(SOURCE, source)).source, kind)


MISTAKES = [
    ("[flat]", "[flat]\nsplit: {by: day, column: day}",
     "split.by: got 'day'; allowed: 'hash', 'group' or 'time'"),
    ("[flat]", "[flat]\nsplit: {by: group}",
     "split: `by: group` and `by: time` need a `column`, `by: hash` takes none"),
    ("[flat]", "[flat]\nsplit: {by: time, column: rent}",
     "split.column: another column than the target 'rent'"),
    ("[flat]", "[flat]\nsplit: {by: group, column: balcony}",
     "split.column: 'balcony' may be null, and such a row has no side"),
    ("[flat]", "[flat]\nsplit: {by: time, column: heating}",
     "split.column: 'heating' is a category, which has no order in time"),
    ("known_issues: [No home is real.]", "known_issues: []",
     "known_issues: got []; allowed: at least one entry"),
    ("name: rents", "name: My Rents", "name: got 'My Rents'; allowed: "),
    ("task: regression", "task: classification",
     "task: got 'classification'; allowed: 'regression'"),
    ("valid: [5, 1000]", "valid: [1000, 5]",
     "features[0] (area).valid: [lo, hi] with lo < hi, not [1000.0, 5.0]"),
    ("valid: [5, 1000]", "valid: [.nan, 5]",
     "features[0] (area).valid[0]: got nan; allowed: a finite number"),
    ("title: Area", "title: 'TODO: which?'", "features[0] (area).title: still to be answered: which?"),
    ("example: 70.5", "example: true", "features[0] (area): example: a number inside"),
    ("example: oil", "example: oil\n    origin: 2020-01-01",
     "features[2] (heating): a column of type category takes no `origin`"),
    ("name: area", "name: warnings",
     "the name 'warnings' is that of a column that scoring adds; rename the column"),
    ("identity: [flat]", "identity: [flat]\nignore: [area, flat]",
     "ignore: 'flat' is a feature, the target, or named by `identity` or `split`"),
    ("[flat]", "[rent]", "identity: different names, none of them the target's, not ['rent']"),
    ("[flat]", "[flat, flat]", "identity: different names, none of them the target's"),
    ("example: 900", "example: 900\n  transform: log",
     "target: transform: the logarithm needs `valid` above 0, not [0.0, 20000.0]"),
    ("example: 70.5", "example: 70.5\n    transform: log",
     "features (area): `transform` is for the target"),
    ("valid: [5, 1000]", "allowed: [5, 1000]",
     "features[0] (area): a column of type number takes no `allowed`"),
    ("expected: [20, 300]", "expected: [2, 300]",
     "features[0] (area): expected: inside `valid` [5.0, 1000.0], not [2.0, 300.0]"),
    ("example: 70.5", "example: 4",
     "features[0] (area): example: a number inside `valid` [5.0, 1000.0], not 4"),
    ("example: 3\n", "example: 3.5\n",
     "features[1] (rooms): example: a whole number, not 3.5"),
    ("example: oil", "example: coal",
     "features[2] (heating): example: one of `allowed`, not 'coal'"),
    ("    allowed: [gas, oil, wood]\n", "",
     "features[2] (heating): a category needs `allowed`: the list of its values"),
    ("allowed: [gas, oil, wood]", "allowed: [gas, oil]\n    valid: [0, 2]",
     "features[2] (heating): a column of type category takes no `valid`"),
    ("example: 70.5", "example: 70.5\n    error: 0",
     "features[0] (area).error: got 0; allowed: greater than 0"),
    ("example: oil", "example: oil\n    error: 1",
     "features[2] (heating): a column of type category takes no `error`"),
    ("example: 900", "example: 900\n  error: 5", "target: takes no `error`; it is for measured features"),
    ("name: area", "name: rent",
     "features: holds the target 'rent'; a model would be given its answer"),
    ("name: rooms", "name: area", "features: the name 'area' is there more than once"),
    ("example: 900", "example: 900\n  nullable: true",
     "target: a regression needs a target of type number or integer that is not nullable"),
    (TARGET, "type: category\n  allowed: [1, 2]\n  example: 1",
     "target: a regression needs a target of type number or integer that is not nullable"),
    ("tolerance: 80", "tolerance: -1",
     "promises[1] (balcony).tolerance: got -1; allowed: greater than or equal to 0"),
    ("kind: monotone, column: area", "kind: monotone, column: heating",
     "promises[0] (heating): monotone needs a column of type number or integer"),
    ("column: balcony", "column: balkony", "promises[1] (balkony).column: no such feature; "
     "allowed: area, rooms, heating, balcony"),
    ("{column: heating", "{column: rent", "slices[0] (rent).column: no such feature; "
     "allowed: area, rooms, heating, balcony"),
    ("column: heating, ", "column: heating, edges: [1], ",
     "slices[0] (heating): `edges` for a number, none for a category"),
    ("edges: [100, 200], ", "", "slices[1] (area): `edges` for a number, none for a category"),
    ("edges: [100, 200]", "edges: [200, 100]",
     "slices[1] (area).edges: rising numbers inside `valid`, not [200.0, 100.0]"),
    ("edges: [100, 200]", "edges: [1, 200]",
     "slices[1] (area).edges: rising numbers inside `valid`, not [1.0, 200.0]"),
    ("data/source/rents.csv", "data/rents.csv", "source.path: a file or folder under data/source/, not"),
    ("data/source/rents.csv", "data/source/rents.xlsx",
     "source.path: ends in .csv, .csv.gz, .parquet, or is a folder of Parquet, not "),
    ("data/source/rents.csv", "data/source/labels/rents.csv",
     "source.path: a file outside of data/source/labels/, whose files are added to the source"),
    (SOURCE, "{kind: sql, url_from: sqlite:///x, query: select 1}",
     "source.url_from: got 'sqlite:///x'; allowed: "),
    (SOURCE, "{kind: scikit-learn, loader: fetch_openml}", "source.loader: got 'fetch_openml'"),
    ("features:\n", "features: []\nx:\n", "features: got []; allowed: at least one entry"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "sentence"), MISTAKES, ids=[row[2][:60] for row in MISTAKES]
)
def test_a_planted_mistake_is_named(old: str, new: str, sentence: str) -> None:
    """With its key, what it holds and what is allowed."""
    found = mistakes_of(planted(old, new))
    assert any(line.startswith(sentence) for line in found), found


@pytest.mark.parametrize(
    "values", ["[true, false]", "[gas, on]", "[1, oil]", "[1.5, 2.5]", "[gas, gas]", "[]"]
)
def test_categories_are_different_and_of_one_kind(values: str) -> None:
    """Whole numbers or text; YAML turns a bare on, off, yes or no into a boolean."""
    (line,) = mistakes_of(planted("[gas, oil, wood]", values))
    assert line.startswith(
        "features[2] (heating).allowed: two or more different values, all whole numbers or all text"
        " (quote yes, no, on and off), not ["
    )


TYPE_MISTAKES = [
    ("origin: 2020-01-01, ", "", "features[4] (sold): a date needs `origin`"),
    ("2020-05-31", "soon", "features[4] (sold): example: a date such as 2020-05-31, not 'soon'"),
    ("type: date", "type: date, expected: [0, 1]",
     "features[4] (sold): a column of type date takes no `expected`"),
    ("example: true", "example: 1", "features[5] (lift): example: true or false, not 1"),
    ("example: true", "example: true, allowed: [a, b]",
     "features[5] (lift): a column of type boolean takes no `allowed`"),
    ("example: true", "example: true, valid: [0, 1]",
     "features[5] (lift): a column of type boolean takes no `valid`"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "sentence"), TYPE_MISTAKES)
def test_a_date_and_a_boolean_need_little_and_take_little(
    old: str, new: str, sentence: str
) -> None:
    head, _, types = TYPES_TEXT.partition("  - {name: sold")
    found = mistakes_of(f"{head}  - {{name: sold{types.replace(old, new, 1)}")
    assert any(line.startswith(sentence) for line in found), found


def test_a_boolean_is_a_category_and_a_date_counts_days() -> None:
    *_, sold, lift = TYPES.features
    assert (lift.allowed, lift.accepts) == ((False, True), "true or false")
    assert (sold.allowed, sold.accepts) == (None, "a date such as 2020-05-31 or null")
    assert sold.days("2019-12-31 23:00") == -1.0


def test_without_valid_any_finite_number_is_possible() -> None:
    area = parse(planted("    valid: [5, 1000]\n", "")).features[0]
    assert area.accepts == "a number (m²)"
    assert area.bounds[1] < float("inf")
    log = parse(
        planted("valid: [0, 20000]\n  example: 900", "transform: log\n  example: 900")
    ).target
    assert (log.accepts, log.bounds[0] > 0) == ("a number above 0 (euro)", True)


@pytest.mark.parametrize(
    "path", ["houses (1).csv", "a+b.CSV", "x.csv.gz", "größe.parquet", "a/parts", "a/b.c/x.csv"]
)
def test_any_name_of_a_file_will_do(path: str) -> None:
    assert mistakes_of(planted("path: data/source/rents.csv", f'path: "data/source/{path}"')) == ()


def test_columns_that_scoring_adds_are_those_of_batch() -> None:
    columns = pytest.importorskip("mlref.batch.columns")
    assert tuple(columns.ADDED.names) == OUTPUTS


def test_a_source_stays_inside_the_folder_of_sources() -> None:
    """DVC watches that folder only."""
    assert mistakes_of(planted("source/rents", "source/../../rents"))


def test_a_contract_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "dataset.yaml"
    path.write_text(SOUND)
    assert load(path) == parse(SOUND)
    path.write_text(planted("task: regression", "task: x"))
    with pytest.raises(ContractError, match=r"dataset\.yaml has 1 mistake"):
        load(path)
