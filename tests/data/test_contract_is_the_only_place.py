"""No module names a column or the dataset: they ask the contract.

A literal in the code would survive a fork with other data and be wrong there.
"""

import ast
import functools
import io
import re
import tokenize
from collections import Counter
from pathlib import Path

import pytest

from mlref.core.contract import Contract, load

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "src" / "mlref").rglob("*.py"))


@pytest.fixture(scope="module")
def contract() -> Contract:
    """The repository's contract."""
    return load(ROOT / "config" / "dataset.yaml")


@functools.cache
def literals(code: str) -> list[tuple[int, str]]:
    """Line and value of each string in code, parts of f-strings included, docstrings not.

    A string that stands alone as a statement is a docstring or documents the line above.
    """
    tree = ast.parse(code)
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if id(node) not in documentation
    ]


def own_words() -> set[str]:
    """The words of mlref's own language: two modules use them outside of literals, in names or prose.

    A fork may call a column ``model``, ``value`` or ``class``; such a word in a literal proves nothing.
    """
    counts = Counter[str]()
    for path in MODULES:
        tokens = tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline)
        literal = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
        text = " ".join(
            token.string
            for token in tokens
            if token.type not in literal or token.string.startswith('"""')
        )
        counts.update({*re.findall("[a-z]+", text.lower())})
    return {word for word, modules in counts.items() if modules > 1}


OWN_WORDS = own_words()


def named(code: str, contract: Contract) -> list[tuple[int, str]]:
    """The words of the contract that stand in the literals of code, with their lines.

    Longer than two letters or purely of letters: as a whole word in a literal. A letter and digits,
    such as a format's field may be called: as the whole literal.
    """
    words = {contract.name, *(column.name for column in contract.columns)} - OWN_WORDS
    found = []
    for line, text in literals(code):
        for word in words:
            exact = re.fullmatch(r"[a-z]{1,2}\d+", word) is not None
            pattern = rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])"
            if text == word if exact else re.search(pattern, text, re.IGNORECASE):
                found.append((line, word))
    return sorted(found)


def naming(contract: Contract) -> dict[str, list[tuple[int, str]]]:
    """The modules that name a column or the dataset, with what they name."""
    found = {str(path): named(path.read_text(encoding="utf-8"), contract) for path in MODULES}
    return {path: words for path, words in found.items() if words}


def test_no_module_names_a_column_or_the_dataset(contract: Contract) -> None:
    """In any literal that is not documentation."""
    assert naming(contract) == {}
    assert len(MODULES) > 50


PLANTS = [
    ('frame["{name}"]', True),
    ("frame['{name}'].mean()", True),
    ('print(f"mean {name}: {{x}}")', True),
    ('def f(x="{name}"): ...', True),
    ('"""The {name}."""', False),
    ('def f():\n    """About {name}."""', False),
    ("x = 1  # {name}", False),
    ('LIMIT = 1\n"""Of {name}."""', False),
    ('x = "{name}s{name}"', False),
]


@pytest.mark.parametrize(("code", "seen"), PLANTS)
def test_a_planted_name_is_seen_where_it_is_no_documentation(
    code: str, seen: bool, contract: Contract
) -> None:
    """The dataset's name, the target's and a feature's; a longer word that holds one is another."""
    plain = [name for name in contract.names if re.fullmatch("[a-z]+", name)]
    for name in {contract.name, contract.target.name, *plain} - OWN_WORDS:
        assert bool(named(code.format(name=name), contract)) == seen, name


def test_a_name_like_a_code_is_seen_when_it_is_the_whole_literal(contract: Contract) -> None:
    """`s1` may be a part of anything else."""
    column = contract.features[0].model_copy(update={"name": "s1"})
    coded = contract.model_copy(update={"features": (column,)})
    assert named('frame["s1"]', coded) == [(1, "s1")]
    assert named('x = "s1 and s2"', coded) == []


def test_a_column_may_be_called_like_a_common_word(contract: Contract) -> None:
    """The shipped modules are found to name no such column, whatever table a fork brings."""
    names = ("model", "value", "rows", "class", "date", "price")
    columns = tuple(contract.features[0].model_copy(update={"name": name}) for name in names)
    assert naming(contract.model_copy(update={"features": columns, "name": "shop"})) == {}
