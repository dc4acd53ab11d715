"""A model travels by its content."""

import pickle

import pytest

from mlref.batch.model import Model, arrive
from mlref.core.errors import BundleError
from mlref.core.rows import generate
from tests.fakes import CONTRACT


def test_a_model_that_travelled_predicts_the_same(champion: Model) -> None:
    """It needs no store where it arrives, and says who it is."""
    arrived = pickle.loads(pickle.dumps(champion))
    rows = generate(CONTRACT, 9, seed=0)
    assert arrived.predictor.predict(rows).value.tolist() == (
        champion.predictor.predict(rows).value.tolist()
    )
    assert arrived.identity == champion.identity


def test_a_model_is_loaded_once_in_a_process(champion: Model) -> None:
    """However often it arrives."""
    sent = pickle.dumps(champion)
    assert pickle.loads(sent) is pickle.loads(sent)


def test_a_model_that_was_altered_on_its_way_is_refused(champion: Model) -> None:
    """By the digest that it is named by."""
    files, digest, version = champion.content
    altered = tuple((name, content.replace(b"80", b"8")) for name, content in files)
    with pytest.raises(BundleError, match="was altered"):
        arrive(altered, digest, version)
