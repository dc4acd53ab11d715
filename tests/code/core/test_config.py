"""YAML documents: every mistake at once, each with its key and what is allowed."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from mlref.core.config import Frozen, check_parts, label, read_text, read_yaml, validated
from mlref.core.errors import ContractError, SettingsError


class Cat(Frozen):
    """A member of a union."""

    kind: Literal["cat"]
    lives: int = 9


class Dog(Frozen):
    """Another one."""

    kind: Literal["dog"]
    tricks: tuple[str, ...] = ()


class Home(Frozen):
    """A document with one of everything."""

    street: str
    pets: tuple[Annotated[Cat | Dog, Field(discriminator="kind")], ...] = ()
    cats: tuple[Cat, ...] = ()
    names: tuple[str, ...] = ()
    class_: int = Field(default=1, alias="class")


SOUND = {"street": "Elm", "pets": [{"kind": "dog", "tricks": ["sit"]}], "class": 2}


def mistakes_of(document: dict[str, object]) -> list[str]:
    """The lines that checking a home adds."""
    mistakes: list[str] = []
    check_parts(Home, document, mistakes)
    return mistakes


def test_sound_parts_come_back_as_objects_by_key() -> None:
    """Keys are those of the document, aliases included."""
    mistakes: list[str] = []
    parts = check_parts(Home, SOUND, mistakes)
    expected = {"street": "Elm", "pets": (Dog(kind="dog", tricks=("sit",)),), "class": 2}
    assert (parts, mistakes) == (expected, [])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"street": 7}, "street: got 7; allowed: a valid string"),
        (
            {"stret": "Oak"},
            "stret: unknown key (did you mean 'street'?); allowed: cats, class, names, pets, street",
        ),
        ({"zzz": 1}, "zzz: unknown key; allowed: cats, class, names, pets, street"),
        ({"class_": 1}, "class_: unknown key (did you mean 'class'?)"),
        ({"class": "one"}, "class: got 'one'; allowed: a valid integer"),
        ({"pets": {}}, "pets: got {}; allowed: a valid array"),
        ({"pets": ["dog"]}, "pets[0]: got 'dog'; allowed: an object"),
        ({"pets": [{"kind": "fish"}]}, "pets[0].kind: got 'fish'; allowed: 'cat', 'dog'"),
        ({"pets": [{}]}, "pets[0].kind: got None; allowed: 'cat', 'dog'"),
        (
            {"pets": [{"kind": "cat", "live": 1, "name": "Tom"}]},
            "pets[0] (Tom).live: unknown key (did you mean 'lives'?); allowed: kind, lives",
        ),
        (
            {"cats": [{"kind": "cat", "life": 1}]},
            "cats[0].life: unknown key (did you mean 'lives'?)",
        ),
        ({"pets": [{"kind": "dog", "tricks": ["sit", 2]}]}, "pets[0].tricks[1]: got 2; allowed: "),
        ({"names": ["a", 1]}, "names[1]: got 1; allowed: a valid string"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_what_is_allowed(
    change: dict[str, object], sentence: str
) -> None:
    """At any depth, and without the words of the validation library."""
    lines = mistakes_of(SOUND | change)
    assert any(line.startswith(sentence) for line in lines), lines


def test_only_a_key_without_a_default_is_missed() -> None:
    """The others may be left out."""
    assert mistakes_of({}) == ["street: is missing"]


def test_one_mistake_does_not_hide_another() -> None:
    """Wrong, unknown and missing keys and items are all listed; sound items keep their place."""
    mistakes: list[str] = []
    pets = [{"kind": "fish"}, {"kind": "cat"}, {"kind": "dog", "tricks": 1}]
    parts = check_parts(Home, {"pets": pets, "class": None, "x": 1}, mistakes)
    keys = [line.split(":")[0] for line in mistakes]
    assert keys == ["x", "street", "pets[0].kind", "pets[2].tricks", "class"]
    assert parts["pets"] == (None, Cat(kind="cat"), None)


def test_what_was_read_cannot_be_changed() -> None:
    """A frozen object refuses an assignment."""
    with pytest.raises(ValidationError, match="frozen"):
        Cat(kind="cat").lives = 1  # type: ignore[misc]


@pytest.mark.parametrize("value", ["9", 9.0, True])
def test_nothing_is_converted_silently(value: object) -> None:
    """Text, a float or a boolean is no integer."""
    mistakes: list[str] = []
    validated(Cat, {"kind": "cat", "lives": value}, "cat", mistakes)
    assert [line.split(":")[0] for line in mistakes] == ["cat.lives"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must be a mapping of keys to values"),
        ("just text", "must be a mapping"),
        ("- a\n- b", "must be a mapping"),
        ("a: b: c", "is not YAML: mapping values are not allowed here"),
        ("a: [1", "is not YAML: while parsing a flow sequence"),
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' is there twice"),
        ("a:\n  b: 1\n  b: 1", "line 3: the key 'b' is there twice"),
        ("a: !!python/object/apply:os.getcwd []", "is not YAML: could not determine a constructor"),
    ],
)
def test_text_that_is_no_mapping_is_refused(text: str, sentence: str) -> None:
    """A key that is there twice too: YAML keeps the last in silence. Nothing is executed."""
    with pytest.raises(SettingsError) as refusal:
        read_yaml(text, "x.yaml", SettingsError)
    assert str(refusal.value).startswith("x.yaml has 1 mistake:")
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "[a]: 1",
        "{a: b}: 1",
        "pets: [{kind: cat, 2020-01-01: x}]",
        "pets: &loop [*loop]",
    ],
)
def test_yaml_that_json_cannot_hold_is_refused_too(text: str) -> None:
    """A key that is no text, or a value inside itself, is the writer's mistake, not a crash."""
    mistakes: list[str] = []
    try:
        check_parts(Home, {"street": "Elm"} | read_yaml(text, "x", ContractError), mistakes)
    except ContractError as refusal:
        mistakes += refusal.mistakes
    assert mistakes


def test_a_file_is_read_as_utf_8(tmp_path: Path) -> None:
    """Whatever the locale says."""
    (tmp_path / "x.yaml").write_bytes("unit: m²".encode())
    assert read_text(tmp_path / "x.yaml", ContractError) == "unit: m²"


@pytest.mark.parametrize("content", [None, "unit: m²".encode("latin-1")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    """A missing one and one in another encoding."""
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ContractError, match="x.yaml has 1 mistake:\n  cannot be read: "):
        read_text(path, ContractError)


@pytest.mark.parametrize(
    ("item", "text"),
    [({"name": "a"}, "k (a)"), ({"column": "b"}, "k (b)"), ({"x": 1}, "k"), (3, "k"), (None, "k")],
)
def test_a_key_is_shown_with_the_name_of_what_it_holds(item: object, text: str) -> None:
    """Where it has one."""
    assert label("k", item) == text
