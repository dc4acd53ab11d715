"""YAML documents as frozen objects: every mistake at once, each with its key and what is allowed."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from mlref.core.errors import ContractError


class Frozen(BaseModel):
    """Base of everything read from YAML: immutable, no unknown keys, no silent conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def read_text(path: Path, refusal: type[ContractError]) -> str:
    """Read a document's text, or raise ``refusal``."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        mistake = "cannot be read: no such file; run the command inside a clone of this repository"
        raise refusal(str(path), [mistake]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise refusal(str(path), [f"cannot be read: {error}"]) from error


class _Loader(yaml.SafeLoader):
    """YAML without duplicate keys, of which the plain loader silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int, float, type(None))):
                line = key_node.start_mark.line + 1
                raise yaml.YAMLError(f"line {line}: a key is text, not {key!r}")
            if key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.YAMLError(f"line {line}: the key {key!r} is there twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(text: str, source: str, refusal: type[ContractError]) -> dict[str, Any]:
    """Parse YAML that must be a mapping, or raise ``refusal``."""
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise refusal(source, [f"is not YAML: {' '.join(str(error).split())}"]) from error
    if not isinstance(document, dict):
        raise refusal(source, ["must be a mapping of keys to values"])
    try:
        json.dumps(document, default=str)
    except ValueError as error:
        raise refusal(source, ["holds a part that contains itself"]) from error
    return document


def validated(kind: Any, value: object, key: str, mistakes: list[str]) -> Any | None:
    """Validate ``value`` as ``kind``; None, with lines added to ``mistakes``, where it is wrong."""
    try:
        return TypeAdapter(kind).validate_json(json.dumps(value, default=str))
    except ValidationError as error:
        mistakes.extend(_sentence(kind, key, value, detail) for detail in error.errors())
        return None


def _sentence(kind: Any, key: str, value: object, detail: Any) -> str:
    """One mistake as ``key: what is wrong; allowed: …``."""
    where, inner, missing = key, value, detail["loc"][-1] if detail["type"] == "missing" else None
    for step in detail["loc"]:
        if isinstance(step, int):
            where, inner = f"{where}[{step}]", inner[step]  # type: ignore[index] # pydantic has been there
        elif isinstance(inner, Mapping) and (step in inner or step == missing):
            where, inner = f"{where}.{step}" if where else str(step), inner.get(step)
        # else it is the tag of a union's member
    kind_of, got = detail["type"], detail["input"]
    if kind_of == "extra_forbidden":
        return f"{where}: {_unknown(str(detail['loc'][-1]), list(_fields(kind, value)))}"
    if kind_of == "missing":
        return f"{where}: is missing"
    if kind_of.startswith("union_tag"):
        tags = detail["ctx"].get("expected_tags") or ", ".join(map(repr, _tags(kind)))
        seen = got.get("kind") if isinstance(got, Mapping) else got
        return f"{where}.kind: got {seen!r}; allowed: {tags}"
    message = detail["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    if kind_of == "value_error":
        return f"{where}: {message}"
    allowed = "at least one entry" if kind_of == "too_short" and not got else message
    return f"{where}: got {got!r}; allowed: {allowed}"


def _tags(kind: Any) -> Iterator[str]:
    """Tags of a union's members."""
    for member in get_args(getattr(kind, "__origin__", kind)):
        yield from get_args(member.model_fields["kind"].annotation)


def _unknown(key: str, allowed: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(allowed), 1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"unknown key{hint}; allowed: {', '.join(sorted(allowed))}"


def _fields(kind: Any, value: object) -> Iterator[str]:
    """Keys that ``kind`` allows; in a union those of the member that the value's tag names."""
    members = getattr(getattr(kind, "__origin__", kind), "__args__", (kind,))
    for member in members:
        fields = member.model_fields
        tag = fields["kind"].annotation.__args__ if "kind" in fields else ()
        if len(members) == 1 or (isinstance(value, Mapping) and value.get("kind") in tag):
            yield from fields


def check_parts(
    model: type[Frozen], document: dict[str, Any], mistakes: list[str]
) -> dict[str, Any]:
    """Validate each key of a document by itself, so that one mistake does not hide another.

    Returns the sound parts by key (a list keeps its length, with None for what is wrong) and adds a
    line to ``mistakes`` for each key that is wrong, missing or unknown.
    """
    hints = get_type_hints(model, include_extras=True)
    fields = {field.alias or name: (name, field) for name, field in model.model_fields.items()}
    mistakes += [f"{key}: {_unknown(str(key), fields)}" for key in document if key not in fields]
    parts: dict[str, Any] = {}
    for key, (name, field) in fields.items():
        kind, value = hints[name], document.get(key)
        if key not in document:
            mistakes += [f"{key}: is missing"] if field.is_required() else []
        elif isinstance(value, list) and value and (item_kind := _item_kind(kind)):
            parts[key] = tuple(
                validated(item_kind, item, label(f"{key}[{index}]", item), mistakes)
                for index, item in enumerate(value)
            )
        else:
            parts[key] = validated(kind, value, key, mistakes)
    return parts


def _item_kind(kind: Any) -> Any | None:
    """For a tuple of objects, the kind of its items; they are validated one by one."""
    kind = getattr(kind, "__origin__", kind) if hasattr(kind, "__metadata__") else kind
    item = get_args(kind)[0] if get_origin(kind) is tuple else None
    return item if isinstance(item, type) or hasattr(item, "__metadata__") else None


def label(key: str, item: object) -> str:
    """A key with the name of what it holds, such as ``features[2] (price)``."""
    name = item.get("name", item.get("column")) if isinstance(item, Mapping) else None
    return f"{key} ({name})" if name else key
