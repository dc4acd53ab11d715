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

UNIT = f"{TODO} in which unit? null where it has none"
MEANING = f"{TODO} what was measured, and how?"
SENSITIVE = f"{TODO} about a protected characteristic of a person? true or false"
HEAD = """\
# yaml-language-server: $schema=dataset.schema.json
# THE CONTRACT: the only file that names a column, a unit or a range; drafted by `mlref adopt`. What can be
# measured is filled in; TODO is a question to you. `mlref contract check` lists what is still open or wrong.
"""


def draft(table: Table) -> Document:
    """The contract as far as it can be measured."""
    roles, stem = table.roles, Path(table.source["path"]).name.split(".")[0]
    slug = re.sub(r"[^a-z0-9_-]+", "-", stem.lower()).strip("-_")
    aside = {*roles.identity, roles.group, roles.time} - {None}
    features = [
        _column(name, it.declared)
        for name, it in table.drafts.items()
        if not it.left_out and name not in (*aside, *roles.ignore)
    ]
    used = {column["name"] for column in features} | aside | {roles.target}
    known = table.target[np.isfinite(table.target)]
    whole = bool((known == np.floor(known)).all())
    measured = number(known, whole)
    missing = len(known) < len(table.target)
    return {
        "name": slug if re.match("[a-z]", slug) else f"table-{slug}".rstrip("-"),
        "title": _title(stem),
        "task": "regression",
        "source": table.source,
        "homepage": "Not stated.",
        "licence": f"{TODO} what may be done with the data? or: none stated",
        "citation": "Not stated.",
        "use": {
            "intended": f"{TODO} what may a prediction be used for?",
            "users": "Not stated.",
            "not_for": ["Anything but the intended use."],
        },
        "collection": "Not stated.",
        "known_issues": ["Not stated."],
        "identity": list(roles.identity),
        **({"split": {"by": "group", "column": roles.group}} if roles.group else {}),
        **({"split": {"by": "time", "column": roles.time}} if roles.time else {}),
        "ignore": [str(name) for name in table.frame if name not in used],
        **({"missing_target": "drop"} if missing else {}),
        "target": _column(roles.target, measured, sensitive=False),
        "features": features,
    }


def _title(name: str) -> str:
    words = re.sub(r"[_.\s]+", " ", name).strip() or name
    return words[:1].upper() + words[1:]


def _column(name: str, declared: Document, sensitive: bool = True) -> Document:
    unit = {"unit": UNIT} if declared.get("type") in ("number", "integer") else {}
    asked = {"sensitive": SENSITIVE} if sensitive else {}
    return {"name": name, "title": _title(name), "meaning": MEANING, **unit, **declared, **asked}


def answered(
    document: Document, answers: Document, drafts: Mapping[str, Draft] | None = None
) -> Document:
    """The document with a person's answers; they also win over what was measured.

    Raises
    ------
    ContractError
        For an answer about a column that the table does not have.
    """
    top = {key: value for key, value in answers.items() if key not in ("columns", "every_column")}
    made = document | {
        key: document[key] | value if isinstance(document.get(key), dict) else value
        for key, value in top.items()
    }
    shared, single = answers.get("every_column") or {}, dict(answers.get("columns") or {})

    def _told(column: Document) -> Document:
        common = {k: v for k, v in shared.items() if str(column.get(k, "")).startswith(TODO)}
        told = column | common | dict(single.pop(column["name"], None) or {})
        return {key: value for key, value in told.items() if value is not None}

    made["target"] = _told(made["target"])
    ignored = made.get("ignore") or []
    features = [_told(it) for it in made["features"] if it["name"] not in ignored]
    known = drafts or {}
    for name in [name for name in single if name in known]:
        features.append(_told(_column(name, known[name].declared)))
        ignored = [other for other in ignored if other != name]
    if single:
        names = ", ".join([made["target"]["name"], *(it["name"] for it in features)])
        mistakes = [f"columns.{name}: no such column; allowed: {names}" for name in single]
        raise ContractError("the answers", mistakes)
    return made | {"ignore": ignored, "features": features}


class _Dumper(yaml.SafeDumper):
    """Writes lists on one line, mappings as blocks."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: Any = None) -> Any:
        return super().represent_sequence(tag, sequence, flow_style=True)


def _yaml(value: object) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)


def to_text(document: Document, table: Table) -> str:
    """The document as a file, the evidence above each column."""
    parts = [HEAD]
    for key, value in document.items():
        notes = list[str]()
        if key == "ignore":
            notes = [_note(name, table) for name in value]
        elif key == "target":
            notes = ["", f"# {hint}"] if (hint := heavy(document, table)) else [""]
        elif key == "features" and value:
            parts.append("\nfeatures:")
            for column in value:
                first, *rest = _yaml(column).splitlines()
                lines = [f"  {_note(column['name'], table)}", f"  - {first}"]
                parts.append("\n".join([*lines, *(f"    {line}" for line in rest)]))
            continue
        parts.append("\n".join([*notes, _yaml({key: value}).rstrip()]))
    return "\n".join(parts) + "\n"


def _note(name: str, table: Table) -> str:
    evidence = table.drafts[name].evidence if name in table.drafts else ""
    return f"# {name}: {evidence}".replace("\n", " ")


def heavy(document: Document, table: Table) -> str:
    """The hint to a transform of the target; empty where none is needed."""
    known = table.target[np.isfinite(table.target)]
    if document["target"].get("transform") == "log" or not heavy_tail(known):
        return ""
    return "The target has a heavy tail: `transform: log` learns and compares its logarithm."


def fill(text: str, document: Document, answers: Document) -> str:
    """The text of a contract with its blanks filled; nothing else of it changes, comments included."""
    told = answered(document, {k: v for k, v in answers.items() if k != "ignore"})
    lines = text.splitlines(keepends=True)
    starts = np.cumsum([0, *map(len, lines)])
    spans = []
    for loc, node in _scalars(yaml.compose(text, yaml.SafeLoader), ()):
        value: Any = told
        for step in loc:
            value = value.get(step) if isinstance(value, dict) else value[step]
        if node.value.startswith(TODO) and value != node.value:
            ends = (node.start_mark, node.end_mark)
            spans.append(
                ([int(starts[it.line]) + it.column for it in ends], _yaml([value]).strip()[1:-1])
            )
    for (start, end), new in reversed(spans):
        text = text[:start] + new + text[end:]
    return text


def _scalars(node: Any, loc: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(node, yaml.ScalarNode):
        yield loc, node
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _scalars(value, (*loc, key.value))
    else:
        for place, value in enumerate(node.value):
            yield from _scalars(value, (*loc, place))
