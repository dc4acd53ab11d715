"""Stage 6: from the fitted Pipeline to a bundle that predicts the same."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import skops.io
from sklearn.ensemble import RandomForestRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import SplineTransformer

from mlref.bundle import convert as conversion
from mlref.bundle import package
from mlref.bundle.convert import convert
from mlref.bundle.package import TRUSTED
from mlref.bundle.predictor import FILES, MANIFEST, Predictor
from mlref.core.contract import Contract, parse
from mlref.core.errors import BundleError
from mlref.core.rows import Array, generate
from mlref.core.storage import Project, digest, read_json, write_bytes
from mlref.features import preprocessing
from mlref.training.archive import dumps
from mlref.training.candidates import ESTIMATORS, build
from tests.fakes import CONTRACT, linear
from tests.projects import MANY_TEXT, NULLABLE_TEXT

TOLERANCE = 0.2
"""1e-5 of the target's valid width, as config/params.yaml has it."""

TREES: dict[str, dict[str, Any]] = {
    "gradient_boosting": {"n_estimators": 5, "max_depth": 3},
    "hist_gradient_boosting": {"max_iter": 5},
    "random_forest": {"n_estimators": 5},
}


def fitted(contract: Contract, name: str) -> Pipeline:
    """A candidate fitted on generated rows."""
    rows = generate(contract, 100, seed=1)
    return build(contract, name, TREES.get(name, {}), 0).fit(rows, linear(rows))


def around(estimator: Any, scale: bool = True) -> Pipeline:
    """A fitted Pipeline of an estimator that is no candidate."""
    rows = generate(CONTRACT, 80, seed=1)
    pipeline = Pipeline([("prepare", preprocessing(CONTRACT, scale)), ("estimate", estimator)])
    return pipeline.fit(rows, linear(rows))


def splines() -> Pipeline:
    """A fitted Pipeline whose first step neither converts nor is known to be safe."""
    rows = np.linspace(0, 1, 20).reshape(-1, 1)
    return make_pipeline(SplineTransformer(), Ridge()).fit(rows, rows.ravel())


def files(bundle: Path) -> dict[str, bytes]:
    """Every file of a bundle."""
    return {path.name: path.read_bytes() for path in sorted(bundle.iterdir())}


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(
    "contract",
    [CONTRACT, parse(NULLABLE_TEXT), parse(MANY_TEXT)],
    ids=["null number", "null category too", "null category of many values"],
)
def test_every_candidate_converts_to_equal_bytes_and_predicts_the_same(
    contract: Contract, name: str
) -> None:
    """On rows it was not fitted on, with nulls where the contract allows them."""
    model, rows = fitted(contract, name), generate(contract, 500, seed=2)
    assert np.isnan(rows).any()
    onnx = convert(model, 4)
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    value = np.asarray(session.run(None, {"rows": rows})[0])
    assert (value.shape, value.dtype) == ((500, 1), np.float64)
    assert np.abs(value.ravel() - model.predict(rows)).max() <= TOLERANCE
    if contract is CONTRACT:
        assert convert(fitted(contract, name), 4) == onnx
    again = skops.io.loads(dumps(model), trusted=TRUSTED)
    assert again.predict(rows) == pytest.approx(model.predict(rows), abs=TOLERANCE)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_model_of_the_logarithm_converts_and_answers_in_the_targets_unit(name: str) -> None:
    """Far outside of its training rows it stays within reach of them; another skops load gives the same."""
    target = CONTRACT.target.model_copy(update={"transform": "log", "valid": None})
    contract = CONTRACT.model_copy(update={"target": target})
    rows = generate(contract, 100, seed=1)
    actual = np.exp(linear(rows) / 2000)
    model = build(contract, name, TREES.get(name, {}), 0).fit(rows, actual)
    far = generate(contract, 500, seed=2) * np.array([100, 1, 1, 1])
    session = onnxruntime.InferenceSession(convert(model, 4), providers=["CPUExecutionProvider"])
    value = np.asarray(session.run(None, {"rows": far})[0]).ravel()
    assert value == pytest.approx(model.predict(far), rel=1e-5)
    assert value.max() <= actual.max() * (actual.max() / actual.min()) ** 0.5 * 1.001
    again = skops.io.loads(dumps(model), trusted=TRUSTED)
    assert again.predict(rows) == pytest.approx(model.predict(rows), rel=1e-6)


def test_the_order_of_operator_sets_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The converter takes them out of a set, so in some processes they come the other way round."""
    model, plain = fitted(CONTRACT, "ridge"), conversion.to_onnx
    expected = convert(model, 4)

    def backwards(*given: Any, **options: Any) -> Any:
        proto = plain(*given, **options)
        listed = [*proto.opset_import][::-1]
        del proto.opset_import[:]
        proto.opset_import.extend(listed)
        return proto

    monkeypatch.setattr(conversion, "to_onnx", backwards)
    assert convert(model, 4) == expected


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: around(KernelRidge()), "KernelRidge"),
        (splines, "SplineTransformer"),  # not the estimator behind it, which does convert
    ],
    ids=["estimator", "step"],
)
def test_what_does_not_convert_is_refused_by_name_with_what_does(
    make: Callable[[], Pipeline], named: str
) -> None:
    model = make()
    with pytest.raises(BundleError) as refused:
        convert(model, model.n_features_in_)
    said, _, known = str(refused.value).partition("Regressors that can: ")
    assert said == f"{named} cannot be converted to ONNX. "
    listed = set(known.rstrip(".").split(", "))
    assert {"Ridge", "ElasticNet", "RandomForestRegressor"} <= listed
    assert named not in listed


def test_packaging_again_gives_equal_bytes_whatever_was_there(project: Project) -> None:
    """To the last file, so the digest names the model; a bundle that was tampered with is made again."""
    before = files(project.bundle)
    shutil.rmtree(project.bundle)
    project.bundle.mkdir()
    (project.bundle / "stray.txt").write_text("mine")
    said = package.run(project)
    assert files(project.bundle) == before
    assert said.startswith(f"bundle {digest(project.bundle / MANIFEST)[:12]}; differs from")
    assert said.endswith("over 220 rows")


def test_a_bundle_holds_its_files_without_pickle_and_nothing_that_can_change_alone(
    trained: Project,
) -> None:
    """Four files are text; the manifest has the digests, and no time, commit or version."""
    content = files(trained.bundle)
    assert set(content) == {MANIFEST, *FILES}
    assert b"pickle" not in content["model.onnx"]
    assert all(content[name].decode() for name in content if name != "model.onnx")
    assert json.loads(content[MANIFEST]) == {
        "contract": digest(trained.contract),
        "data": read_json(trained.profile)["data"],
        "files": {name: digest(content[name]) for name in FILES},
    }


def test_the_bundle_and_its_golden_rows_answer_as_scikit_learn_does(trained: Project) -> None:
    golden = read_json(trained.bundle / "golden.json")
    model = skops.io.load(trained.model, trusted=TRUSTED)
    kept, rows = np.array(golden["rows"], dtype=np.float64), generate(CONTRACT, 50, seed=5)
    assert len(kept) == 5
    assert golden["values"] == pytest.approx(model.predict(kept), rel=1e-6)
    assert golden["tolerance"] == pytest.approx(TOLERANCE)
    assert Predictor(trained.bundle).predict(rows).value == pytest.approx(model.predict(rows))


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (lambda: skops.io.dumps(splines()), r"not known to be safe: .*bundle/package\.py"),
        (
            lambda: dumps(around(RandomForestRegressor(20, random_state=0))),
            r"differs from .* by up to .*package\.tolerance.*TREES",
        ),
    ],
    ids=["unsafe type", "scaled forest"],
)
def test_a_model_that_cannot_be_packaged_leaves_the_earlier_bundle(
    make: Callable[[], bytes], refusal: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scaled forest: somebody has taken it out of TREES, and parity breaks."""
    write_bytes(project.model, make())
    monkeypatch.setattr(conversion, "TREES", ())
    before = files(project.bundle)
    with pytest.raises(BundleError, match=refusal):
        package.run(project)
    assert files(project.bundle) == before
    assert [path.name for path in project.bundle.parent.iterdir() if path.name[0] == "."] == []


@pytest.mark.parametrize("off", [1.0, np.nan])
def test_a_model_that_predicts_otherwise_only_off_the_golden_rows_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch, off: float
) -> None:
    """All real rows are compared, and generated ones."""
    honest = Predictor.values

    def rarely_wrong(self: Predictor, rows: Array) -> Array:
        return honest(self, rows) + np.where(np.arange(len(rows)) == 100, off, 0)

    monkeypatch.setattr(Predictor, "values", rarely_wrong)
    with pytest.raises(BundleError, match=f"by up to {off:.0f} over 220 rows; allowed: 0.2"):
        package.run(project)
