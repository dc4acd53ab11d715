"""YAML files as frozen objects: every mistake at once, each with its key and what is allowed."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from mlref.core.errors import ContractError, reason


class Frozen(BaseModel):
    """Base of everything read from YAML: immutable, no unknown keys, no silent conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if mistakes := list(self.mistakes()):
            raise ValueError("\n".join(mistakes))
        return self

    def mistakes(self) -> Iterator[str]:
        """What is wrong with keys that are sound each by itself, a line a mistake."""
        yield from ()


Model = TypeVar("Model", bound=Frozen)


def load(model: type[Model], path: Path, refusal: type[ContractError]) -> Model:
    """Read a YAML file as an object of ``model``.

    Raises
    ------
    ContractError
        Of the class ``refusal``, with every mistake in the file: its key, its value and what is allowed.
    """
    return _validated(model, read(path, refusal), _shown(path), refusal)


def parse(model: type[Model], text: str, source: str, refusal: type[ContractError]) -> Model:
    """Turn YAML text into an object of ``model``; see :func:`load`."""
    return _validated(model, _mapping(text, source, refusal), source, refusal)


def read(path: Path, refusal: type[ContractError]) -> dict[str, Any]:
    """Read a YAML file as it stands, a mapping, or raise ``refusal``."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        mistake = "cannot be read: no such file; run the command inside a clone of this repository"
        raise refusal(_shown(path), [mistake]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise refusal(_shown(path), [f"cannot be read: {reason(error)}"]) from error
    return _mapping(text, _shown(path), refusal)


def _shown(path: Path) -> str:
    """A path for a message: relative where it is below the working folder."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _validated(
    model: type[Model], document: dict[str, Any], source: str, refusal: type[ContractError]
) -> Model:
    if questions := [f"{where}: {question}" for where, question in blanks(document)]:
        raise refusal(source, questions)
    try:
        return model.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        mistakes = [line for one in error.errors() for line in _sentences(model, document, one)]
        raise refusal(source, mistakes) from error


TODO = "TODO:"
"""How a question begins that `mlref adopt` leaves for a person."""


def blanks(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """The places of a document at which a question still waits for an answer, with the question."""
    if isinstance(value, str) and value.startswith(TODO):
        yield where, f"still to be answered: {value.removeprefix(TODO).strip()}"
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from blanks(inner, f"{where}.{key}".removeprefix("."))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from blanks(inner, f"{where}[{place}]{_name(inner)}")


DEEPEST = 50
"""Levels of nesting that a file may have."""


class _Loader(yaml.CSafeLoader):
    """YAML without duplicate keys, of which the plain loader silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, (str, int, float, type(None))):
                raise yaml.YAMLError(f"line {line}: a key is text, not {key!r}")
            if key in seen:
                raise yaml.YAMLError(f"line {line}: the key {key!r} is there twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 wants 1.0e+5 and takes 1e5 for text, which nobody means.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    [*"-+.0123456789"],
)


def _mapping(text: str, source: str, refusal: type[ContractError]) -> dict[str, Any]:
    try:
        _check_events(text)
        document = yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise refusal(source, [f"is not YAML: {reason(error)}"]) from error
    if not isinstance(document, dict):
        raise refusal(source, ["must be a mapping of keys to values"])
    return document


def _check_events(text: str) -> None:
    """Refuse aliases, of which a few lines can stand for gigabytes, and endless nesting."""
    depth = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        line = event.start_mark.line + 1  # type: ignore[union-attr] # events of a text have a mark
        if depth > DEEPEST:
            raise yaml.YAMLError(f"line {line}: more than {DEEPEST} levels of nesting")
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(
                f"line {line}: the alias *{event.anchor} is not read here; write out what it stands for"
            )


def _sentences(model: type[Frozen], document: object, mistake: Any) -> Iterator[str]:
    """One mistake that Pydantic found, as lines ``key: what is wrong; allowed: …``."""
    kind, got, loc = mistake["type"], mistake["input"], mistake["loc"]
    where = _where(document, loc[:-1] if kind == "missing" else loc)
    if kind == "missing":
        yield f"{where}.{loc[-1]}: is missing".removeprefix(".")
    elif kind == "extra_forbidden":
        yield f"{where}: {_unknown(str(loc[-1]), _keys(model, loc[:-1]))}"
    elif kind == "union_tag_not_found":
        yield f"{where}.kind: is missing"
    elif kind == "union_tag_invalid":
        context = mistake["ctx"]
        yield f"{where}.kind: got {context['tag']!r}; allowed: {context['expected_tags']}"
    elif kind == "value_error":
        lines = mistake["msg"].removeprefix("Value error, ").splitlines()
        yield from (f"{where}: {line}" if where else line for line in lines)
    elif kind == "too_short":  # of entries that are all wrong Pydantic says it, too
        yield from [] if got else [f"{where}: got {got!r}; allowed: at least one entry"]
    else:
        yield f"{where}: got {got!r}; allowed: {mistake['msg'].removeprefix('Input should be ')}"


def _where(value: Any, loc: Iterable[int | str]) -> str:
    """A place in a document, such as ``features[2] (price).type``."""
    where = ""
    for step in loc:
        if isinstance(step, int):
            value = value[step]
            where += f"[{step}]{_name(value)}"
        elif isinstance(value, Mapping) and step in value:
            value = value[step]
            where += f".{step}" if where else step
        # else the tag of a union's member, which is no key of the document
    return where


def _name(item: object) -> str:
    name = item.get("name", item.get("column")) if isinstance(item, Mapping) else None
    return f" ({name})" if name else ""


def _unknown(key: str, allowed: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(allowed), 1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"unknown key{hint}; allowed: {', '.join(sorted(allowed))}"


def _keys(model: type[Frozen], loc: Iterable[int | str]) -> set[str]:
    """Keys of the object at ``loc``, which leads through fields, positions and tags of unions."""
    models = [model]
    for step in loc:
        tagged = [one for one in models if step in _tags(one)]
        inner = [
            found
            for one in models
            for name, field in one.model_fields.items()
            if step == (field.alias or name)
            for found in _models(field.annotation)
        ]
        models = tagged or inner or models
    return {field.alias or name for one in models for name, field in one.model_fields.items()}


def _tags(model: type[Frozen]) -> tuple[str, ...]:
    kind = model.model_fields.get("kind")
    return get_args(kind.annotation) if kind else ()


def _models(annotation: Any) -> Iterator[type[Frozen]]:
    """Every model that an annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
