"""YAML files: every mistake at once, each with its key and what is allowed."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field, ValidationError

from mlref.core.config import Frozen, load, parse
from mlref.core.errors import ContractError, SettingsError


class Cat(Frozen):
    kind: Literal["cat"]
    lives: int = 9


class Dog(Frozen):
    kind: Literal["dog"]
    tricks: tuple[str, ...] = ()


class Home(Frozen):
    """A file with one of everything."""

    street: str
    pets: tuple[Annotated[Cat | Dog, Field(discriminator="kind")], ...] = ()
    cats: tuple[Cat, ...] = ()
    class_: int = Field(default=1, alias="class")


SOUND = {"street": "Elm", "pets": [{"kind": "dog", "tricks": ["sit"]}], "class": 2}


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refusal:
        parse(Home, text, "home.yaml", SettingsError)
    assert str(refusal.value).startswith("home.yaml has ")
    return refusal.value.mistakes


def test_a_sound_file_becomes_an_object_that_cannot_be_changed() -> None:
    home = parse(Home, yaml.safe_dump(SOUND), "home.yaml", SettingsError)
    assert home == Home(street="Elm", pets=(Dog(kind="dog", tricks=("sit",)),), **{"class": 2})
    with pytest.raises(ValidationError, match="frozen"):
        home.street = "Oak"


@pytest.mark.parametrize("text", ["1e5", "+1E5", "1.e+5", "100000.", ".1e6"])
def test_a_number_is_one_however_it_is_written(text: str) -> None:
    """YAML 1.1 takes 1e5 for text."""

    class Length(Frozen):
        metres: float

    assert parse(Length, f"metres: {text}", "x.yaml", SettingsError).metres == 100_000


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"street": 7}, "street: got 7; allowed: a valid string"),
        ({"street": True}, "street: got True; allowed: a valid string"),
        ({"class": 2.0}, "class: got 2.0; allowed: a valid integer"),
        ({"class": "2"}, "class: got '2'; allowed: a valid integer"),
        ({"zzz": 1}, "zzz: unknown key; allowed: cats, class, pets, street"),
        ({"class_": 1}, "class_: unknown key (did you mean 'class'?); allowed: cats, class, pets, street"),
        ({"pets": {}}, "pets: got {}; allowed: a valid array"),
        ({"pets": [{"kind": "fish"}]}, "pets[0].kind: got 'fish'; allowed: 'cat', 'dog'"),
        ({"pets": [{}]}, "pets[0].kind: is missing"),
        (
            {"pets": [{"kind": "cat", "live": 1, "name": "Tom"}]},
            "pets[0] (Tom).live: unknown key (did you mean 'lives'?); allowed: kind, lives",
        ),
        (
            {"cats": [{"kind": "cat", "life": 1}]},
            "cats[0].life: unknown key (did you mean 'lives'?); allowed: kind, lives",
        ),
        ({"cats": [{}]}, "cats[0].kind: is missing"),
        (
            {"pets": [{"kind": "dog", "tricks": ["sit", 2]}]},
            "pets[0].tricks[1]: got 2; allowed: a valid string",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_key_and_what_is_allowed(
    change: dict[str, object], line: str
) -> None:
    assert line in mistakes(yaml.safe_dump(SOUND | change, sort_keys=False))


def test_one_mistake_does_not_hide_another() -> None:
    pets = [{"kind": "fish"}, {"kind": "cat"}, {"kind": "dog", "tricks": 1}]
    found = mistakes(yaml.safe_dump({"pets": pets, "class": None, "x": 1}))
    keys = {line.split(":")[0] for line in found}
    assert keys == {"street", "pets[0].kind", "pets[2].tricks", "class", "x"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "must be a mapping of keys to values"),
        ("- a\n- b", "must be a mapping of keys to values"),
        ("a: b: c", "is not YAML: mapping values are not allowed in this context"),
        ("a: [1", "is not YAML: while parsing a flow sequence"),
        ("a: 1\nb: 2\na: 3", "is not YAML: line 3: the key 'a' is there twice"),
        ("a:\n  b: 1\n  b: 1", "is not YAML: line 3: the key 'b' is there twice"),
        ("a: !!python/object/apply:os.getcwd []", "is not YAML: could not determine a constructor"),
        ("[a]: 1", "is not YAML: line 1: a key is text, not "),
        ("a: " + "[" * 5_000, "is not YAML: line 1: more than 50 levels of nesting"),
        ("pets: &loop [*loop]", "is not YAML: line 1: the alias *loop is not read here"),
        (
            "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1},' * 9}]\n" for n in range(1, 12)),
            "is not YAML: line 2: the alias *a0 is not read here",
        ),
    ],
    ids=lambda text: text[:20],
)
def test_text_that_is_no_plain_mapping_is_refused(text: str, line: str) -> None:
    """Nothing is executed, nothing unfolds, and no key that is there twice wins in silence."""
    (found,) = mistakes(text)
    assert found.startswith(line)


@pytest.mark.parametrize("content", [None, "street: Straße".encode("latin-1")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ContractError, match="x.yaml has 1 mistake:\n  cannot be read: "):
        load(Home, path, ContractError)
