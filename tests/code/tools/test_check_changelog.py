"""tools/check_changelog.py"""

import subprocess
from pathlib import Path

import pytest
from tools.check_changelog import check, main

PACKAGE = '"""A package."""\n\n__version__ = "0.2.0"\n'
CHANGELOG = """\
# Changelog

What a user notices.

## [Unreleased]

### Fixed

- A mistake.

## [0.2.0] - 2026-11-23

### Added

- A thing.

### Changed

- Another.

## [0.1.0] - 2026-10-01

### Added

- The first.
"""


@pytest.mark.parametrize(
    "changelog",
    [
        CHANGELOG,
        CHANGELOG.replace("## [Unreleased]", "## [0.3.0] - Unreleased"),
        CHANGELOG.partition("## [0.1.0]")[0],
    ],
    ids=["dated", "the next version without a date", "one version"],
)
def test_the_form_of_keep_a_changelog_passes(changelog: str) -> None:
    """With or without what is not released yet."""
    assert list(check(changelog, PACKAGE)) == []


MISTAKES = [
    ("# Changelog", "# History", "its one heading of the first level is not # Changelog"),
    (
        "## [0.1.0]",
        "# Older\n\n## [0.1.0]",
        "its one heading of the first level is not # Changelog",
    ),
    ("[0.2.0]", "[0.2.1]", "has no entry for 0.2.0, the version in src/mlref/__init__.py"),
    ("## [0.2.0] -", "## 0.2.0 -", "## 0.2.0 - 2026-11-23: not of the form"),
    ("[0.1.0]", "[zero]", "## [zero] - 2026-10-01: Invalid version: 'zero'"),
    ("2026-11-23", "2026-11-31", "## [0.2.0] - 2026-11-31: day"),
    ("2026-11-23", "23 November 2026", "## [0.2.0] - 23 November 2026: not of the form"),
    ("### Changed", "### Improved", "### Improved: not one of Added, Changed"),
    ("[0.1.0]", "[0.10.0]", "stands above 0.10.0 (2026-10-01): newest first"),
    ("[0.1.0]", "[0.2.0]", "0.2.0 (2026-11-23) stands above 0.2.0 (2026-10-01): newest first"),
    ("2026-10-01", "2026-12-01", "stands above 0.1.0 (2026-12-01): newest first"),
    ("2026-10-01", "Unreleased", "0.1.0: only the newest entry may be without a date"),
    ("## [0.1.0]", "## [Unreleased]\n\n## [0.1.0]", "## [Unreleased]: not of the form"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), MISTAKES, ids=[row[2] for row in MISTAKES])
def test_a_mistake_is_named(old: str, new: str, sentence: str) -> None:
    """Each kind of mistake by itself."""
    changed = CHANGELOG.replace(old, new, 1)
    assert changed != CHANGELOG
    found = list(check(changed, PACKAGE))
    assert any(sentence in line for line in found), found


@pytest.mark.parametrize(
    ("tag", "date", "problems"),
    [
        ("v0.2.0", "2026-11-23", []),
        ("v0.3.0", "2026-11-23", ["the tag v0.3.0 is on version 0.2.0; it would be v0.2.0"]),
        ("v0.2.0", "Unreleased", ["0.2.0 is tagged, but its entry has no date"]),
    ],
)
def test_a_release_tag_is_the_version_of_its_commit(
    tag: str, date: str, problems: list[str]
) -> None:
    """And what is released has a date."""
    changelog = CHANGELOG.replace("## [Unreleased]\n\n### Fixed\n\n- A mistake.\n\n", "")
    assert list(check(changelog.replace("2026-11-23", date), PACKAGE, tag)) == problems


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose last commit is a release."""
    monkeypatch.chdir(tmp_path)
    Path("src/mlref").mkdir(parents=True)
    Path("CHANGELOG.md").write_text(CHANGELOG)
    Path("src/mlref/__init__.py").write_text(PACKAGE)
    for command in (
        ("init", "--quiet"),
        ("add", "."),
        (
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@example.org",
            "commit",
            "--quiet",
            "-m",
            "Release",
        ),
        ("tag", "v0.2.0"),
        ("tag", "not-a-release"),
    ):
        subprocess.run(["git", *command], check=True)
    return tmp_path


def test_the_next_version_is_not_held_against_the_last_tag(
    released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commit after a release changes the version while the tag is still on the last commit."""
    module = released / "src" / "mlref" / "__init__.py"
    module.write_text(PACKAGE.replace("0.2.0", "0.3.0"))
    (released / "CHANGELOG.md").write_text(
        CHANGELOG.replace("[Unreleased]", "[0.3.0] - Unreleased")
    )
    assert (main(), capsys.readouterr().err) == (0, "")


def test_a_wrong_tag_on_the_last_commit_is_named(
    released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the workflow sees it that runs for a tag."""
    subprocess.run(["git", "tag", "v1.0.0"], check=True)
    assert main() == 1
    assert "CHANGELOG.md: the tag v1.0.0 is on version 0.2.0" in capsys.readouterr().err
