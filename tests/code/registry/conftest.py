"""Two registered models, for whoever compares or removes runs."""

import pytest

from mlref.core.storage import Project
from mlref.registry import register
from tests.projects import Rivals, adopt, copy


@pytest.fixture(scope="session")
def two(registered: Project, rivals: Rivals, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The registered project after a better model, which is version 2; not to be changed."""
    project = copy(registered, tmp_path_factory.mktemp("two") / "clone")
    adopt(project, rivals["better"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlref.registry.publish.draw", lambda *_: [])
        register.run(project)
    return project
