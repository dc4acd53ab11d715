"""The text of a contract: drafted from a table, completed by a person's answers."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mlref.core.config import TODO
from mlref.core.errors import ContractError
from mlref.core.task import heavy_tail
from mlref.sources.columns import Draft, number
from mlref.sources.table import Document, Table

SKELETON = Path(__file__).with_name("draft.yaml")
"""Keys of a contract in their order, what they hold before anything is known, and the questions."""


def draft(table: Table) -> Document:
    """The contract as far as it can be measured."""
    roles, stem = table.roles, Path(table.source["path"]).name.split(".")[0]
    slug = re.sub(r"[^a-z0-9_-]+", "-", stem.lower()).strip("-_")
    named = (*roles.keys, *roles.ignore)
    used = [name for name, it in table.drafts.items() if not it.left_out and name not in named]
    aside = {*roles.keys, *used, roles.target}
    known = table.target[np.isfinite(table.target)]
    measured = {
        "name": slug if re.match("[a-z]", slug) else f"table-{slug}".rstrip("-"),
        "title": _title(stem),
        "source": table.source,
        "identity": list(roles.identity),
        "split": roles.split,
        "ignore": [str(name) for name in table.frame if name not in aside],
        "missing_target": "drop" if len(known) < len(table.target) else None,
        "target": column(roles.target, {**number(known), "sensitive": None}),
        "features": [column(name, table.drafts[name].declared) for name in used],
    }
    return _known(yaml.safe_load(SKELETON.read_text("utf-8")) | measured)


def column(name: str, declared: Document) -> Document:
    """A feature as far as it can be measured."""
    [asked] = yaml.safe_load(SKELETON.read_text("utf-8"))["features"]
    told = asked | {"name": name, "title": _title(name)} | declared
    if told["type"] not in ("number", "integer"):
        told["unit"] = None
    return _known(told)


def _known(document: Document) -> Document:
    return {key: value for key, value in document.items() if value is not None}


def _title(name: str) -> str:
    words = re.sub(r"[_.\s]+", " ", name).strip() or name
    return words[:1].upper() + words[1:]


def answered(document: Document, answers: Document, drafts: Mapping[str, Draft]) -> Document:
    """The document with a person's answers; they also win over what was measured.

    An answer about a column of ``drafts`` that was left out makes it a feature.

    Raises
    ------
    ContractError
        For an answer about a column that the table does not have.
    """
    top = dict(answers)
    shared, single = top.pop("every_column", None) or {}, top.pop("columns", None) or {}
    for key, value in top.items():
        top[key] = document[key] | value if isinstance(document.get(key), dict) else value
    made = document | top
    ignored = [name for name in made.get("ignore") or [] if name not in single]
    columns = [made["target"], *(it for it in made["features"] if it["name"] not in ignored)]
    there = [it["name"] for it in columns]
    asked = [name for name in single if name in drafts and name not in there]
    columns += [column(name, drafts[name].declared) for name in asked]
    if unknown := [name for name in single if name not in (*there, *asked)]:
        allowed = ", ".join([*there, *asked])
        mistakes = [f"columns.{name}: no such column; allowed: {allowed}" for name in unknown]
        raise ContractError("the answers", mistakes)
    for place, it in enumerate(columns):
        common = {k: v for k, v in shared.items() if str(it.get(k, "")).startswith(TODO)}
        columns[place] = _known(it | common | (single.get(it["name"]) or {}))
    return made | {"ignore": ignored, "target": columns[0], "features": columns[1:]}


class _Dumper(yaml.SafeDumper):
    """Writes lists of values on one line, everything else as blocks."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: Any = None) -> Any:
        flat = not any(isinstance(it, dict) for it in sequence)
        return super().represent_sequence(tag, sequence, flow_style=flat)

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _yaml(value: object) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)


def to_text(document: Document, table: Table) -> str:
    """The document as a file, the evidence above each column."""
    evidence = {
        name: f"# {name}: {it.evidence}".replace("\n", " ") for name, it in table.drafts.items()
    }
    hint = heavy(document, table)
    above = {
        "ignore": [evidence[name] for name in document["ignore"] if name in evidence],
        "target": ["", *([f"# {hint}"] if hint else [])],
        "features": [""],
    }
    head = SKELETON.read_text("utf-8").partition("\nname:")[0]
    lines, features = [head], iter(document["features"])
    for line in _yaml(document).splitlines():
        lines += above.get(line.partition(":")[0], [])
        if line.startswith("  - name:"):
            lines.append(f"  {evidence[next(features)['name']]}")
        lines.append(line)
    return "\n".join(lines) + "\n"


def heavy(document: Document, table: Table) -> str:
    """The hint to a transform of the target; empty where none is needed."""
    known = table.target[np.isfinite(table.target)]
    if document["target"].get("transform") == "log" or not heavy_tail(known):
        return ""
    return "The target has a heavy tail: `transform: log` learns and compares its logarithm."


def fill(text: str, document: Document, answers: Document) -> tuple[str, list[str]]:
    """Fill the blanks in the text of a contract; nothing else of it changes, comments included.

    Returns
    -------
    text : str
    contradicted : list of str
        The places of answers that differ from what the contract holds.
    """
    told = answered(document, {k: v for k, v in answers.items() if k != "ignore"}, {})
    for node, answer in reversed([*_open(yaml.compose(text, yaml.SafeLoader), told)]):
        inline = _yaml([answer]).strip()[1:-1]
        text = text[: node.start_mark.index] + inline + text[node.end_mark.index :]
    filled = yaml.safe_load(text)
    return text, [*_contradicted(filled, answered(filled, answers, {}))]


def _open(node: Any, told: Any) -> Iterator[tuple[Any, Any]]:
    """The open questions below a node of YAML, with their answers."""
    if isinstance(node, yaml.MappingNode):
        for key, inner in node.value:
            yield from _open(inner, told.get(key.value))
    elif isinstance(node, yaml.SequenceNode):
        for inner, answer in zip(node.value, told, strict=True):
            yield from _open(inner, answer)
    elif node.value.startswith(TODO) and node.value != told:
        yield node, told


def _contradicted(document: Document, told: Document) -> Iterator[str]:
    for key in told:
        if key not in ("target", "features") and told[key] != document.get(key, []):
            yield key
    columns = {it["name"]: it for it in [document["target"], *document["features"]]}
    for column in [told["target"], *told["features"]]:
        name = column["name"]
        yield from (
            f"columns.{name}.{key}" for key in column if column[key] != columns[name].get(key)
        )
