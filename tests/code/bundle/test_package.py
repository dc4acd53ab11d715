"""Stage 6: from the fitted Pipeline to a bundle that predicts the same."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import skops.io
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import SplineTransformer

from mlref.bundle import convert as conversion
from mlref.bundle import package
from mlref.bundle.convert import convert
from mlref.bundle.package import TRUSTED, parity
from mlref.bundle.predictor import FILES, MANIFEST, Predictor
from mlref.core.contract import Contract, parse
from mlref.core.errors import BundleError
from mlref.core.rows import Array, generate
from mlref.core.storage import Project, digest, read_json, write_bytes
from mlref.features import preprocessing
from mlref.training.archive import dumps
from mlref.training.candidates import ESTIMATORS, build
from tests.fakes import CONTRACT, linear
from tests.projects import NULLABLE_TEXT, retrain

TOLERANCE = 0.2
"""1e-5 of the target's valid width, as config/params.yaml has it."""

PARAMETERS: dict[str, dict[str, Any]] = {
    "gradient_boosting": {"n_estimators": 20, "max_depth": 3},
    "random_forest": {"n_estimators": 20},
}


def fitted(contract: Contract, name: str) -> Pipeline:
    """A candidate fitted on generated rows."""
    rows = generate(contract, 100, seed=1)
    return build(contract, name, PARAMETERS.get(name, {}), 0).fit(rows, linear(rows))


def around(estimator: Any, scale: bool = True) -> Pipeline:
    """A fitted Pipeline of an estimator that is no candidate."""
    rows = generate(CONTRACT, 80, seed=1)
    pipeline = Pipeline([("prepare", preprocessing(CONTRACT, scale)), ("estimate", estimator)])
    return pipeline.fit(rows, linear(rows))


def answers(onnx: bytes, rows: Array) -> Array:
    """What an ONNX model gives for encoded rows."""
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"rows": rows})[0])


def files(bundle: Path) -> dict[str, bytes]:
    """Every file of a bundle."""
    return {path.name: path.read_bytes() for path in sorted(bundle.iterdir())}


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(
    "contract", [CONTRACT, parse(NULLABLE_TEXT)], ids=["null number", "null category too"]
)
def test_every_candidate_converts_and_predicts_the_same(contract: Contract, name: str) -> None:
    """On rows it was not fitted on, with nulls where the contract allows them."""
    model, rows = fitted(contract, name), generate(contract, 500, seed=2)
    assert np.isnan(rows).any()
    value = answers(convert(model, 4), rows)
    assert (value.shape, value.dtype) == ((500, 1), np.float64)
    assert np.abs(value.ravel() - model.predict(rows)).max() <= TOLERANCE


@pytest.mark.parametrize("name", ["mean", "ridge", "gradient_boosting"])
def test_converting_twice_gives_equal_bytes(name: str) -> None:
    """Neither names nor versions nor order differ."""
    assert convert(fitted(CONTRACT, name), 4) == convert(fitted(CONTRACT, name), 4)


def test_the_order_in_which_operator_sets_are_listed_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The converter takes them out of a set, so in some processes they come the other way round."""
    model, plain = fitted(CONTRACT, "ridge"), conversion.to_onnx
    expected = convert(model, 4)

    def backwards(*given: Any, **options: Any) -> Any:
        proto = plain(*given, **options)
        listed = list(proto.opset_import)
        del proto.opset_import[:]
        proto.opset_import.extend(reversed(listed))
        assert list(proto.opset_import) != listed
        return proto

    monkeypatch.setattr(conversion, "to_onnx", backwards)
    assert convert(model, 4) == expected


@pytest.mark.parametrize("estimator", [KernelRidge(), HistGradientBoostingRegressor(max_iter=3)])
def test_an_estimator_that_does_not_convert_is_refused_with_those_that_do(estimator: Any) -> None:
    """And the list does not name the one that has just been refused."""
    with pytest.raises(BundleError) as refused:
        convert(around(estimator), 4)
    said, _, known = str(refused.value).partition("Regressors that can: ")
    assert said == f"{type(estimator).__name__} cannot be converted to ONNX. "
    assert {"Ridge", "ElasticNet", "RandomForestRegressor"} <= set(known.rstrip(".").split(", "))
    assert type(estimator).__name__ not in known.rstrip(".").split(", ")


@pytest.mark.parametrize(
    ("one", "other", "off"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.0], [1.5, -1.0], 3.0),
        ([1.0, np.nan], [1.0, 2.0], np.inf),
    ],
)
def test_parity_is_the_largest_difference(one: list[float], other: list[float], off: float) -> None:
    """NaN counts as infinite."""
    rows = np.zeros((2, 1))
    assert parity(lambda _: np.array(one), lambda _: np.array(other), rows) == off


def test_packaging_twice_gives_equal_bytes(project: Project) -> None:
    """To the last file, so the digest names the model."""
    before = files(project.bundle)
    said = package.run(project)
    assert files(project.bundle) == before
    assert said.startswith(f"bundle {digest(project.bundle / MANIFEST)[:12]}; differs from")
    assert said.endswith("over 220 rows")


def test_a_bundle_holds_its_files_and_nothing_that_can_change_alone(trained: Project) -> None:
    """The manifest has the digests, and no time, commit or version."""
    assert set(files(trained.bundle)) == {MANIFEST, *FILES}
    manifest = read_json(trained.bundle / MANIFEST)
    assert set(manifest) == {"files", "contract", "data"}
    assert manifest["contract"] == digest(trained.contract)
    assert manifest["data"] == read_json(trained.profile)["data"]
    assert manifest["files"] == {name: digest(trained.bundle / name) for name in FILES}


def test_the_bundle_needs_no_pickle(trained: Project) -> None:
    """Four files are text, and the model is a graph of standard operators."""
    for name in set(files(trained.bundle)) - {"model.onnx"}:
        (trained.bundle / name).read_text(encoding="utf-8")
    assert b"pickle" not in files(trained.bundle)["model.onnx"]


def test_the_golden_rows_hold_the_answers_of_scikit_learn(trained: Project) -> None:
    """So that a load checks the ONNX model against what was trained."""
    golden = json.loads((trained.bundle / "golden.json").read_bytes())
    model = skops.io.load(trained.model, trusted=TRUSTED)
    rows = np.array(golden["rows"], dtype=np.float64)
    assert len(rows) == 5
    assert golden["values"] == pytest.approx(model.predict(rows), rel=1e-6)
    assert golden["tolerance"] == pytest.approx(TOLERANCE)


def test_the_bundle_predicts_what_the_pipeline_predicts(trained: Project) -> None:
    """Through the Predictor, that evaluation and the service use."""
    rows = generate(CONTRACT, 50, seed=5)
    model = skops.io.load(trained.model, trusted=TRUSTED)
    assert Predictor(trained.bundle).predict(rows).value == pytest.approx(model.predict(rows))


def test_a_scaled_forest_breaks_parity_and_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody takes it out of TREES; the earlier bundle stays."""
    monkeypatch.setattr(conversion, "TREES", ())
    forest = around(RandomForestRegressor(20, random_state=0))
    write_bytes(project.model, dumps(forest))
    before = files(project.bundle)
    with pytest.raises(BundleError, match=r"differs from .* by up to .*package\.tolerance.*TREES"):
        package.run(project)
    assert files(project.bundle) == before
    assert [path.name for path in project.bundle.parent.iterdir() if path.name[0] == "."] == []


def test_a_model_that_predicts_otherwise_only_off_the_golden_rows_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parity is measured on all real rows and on generated ones."""
    honest = Predictor.values

    def rarely_wrong(self: Predictor, rows: Array) -> Array:
        return honest(self, rows) + (np.arange(len(rows)) == 100)

    monkeypatch.setattr(Predictor, "values", rarely_wrong)
    with pytest.raises(BundleError, match="by up to 1 over 220 rows; allowed: 0.2"):
        package.run(project)


def test_the_step_that_does_not_convert_is_named() -> None:
    """Not the estimator behind it, which does."""
    rows = np.linspace(0, 1, 20).reshape(-1, 1)
    model = make_pipeline(SplineTransformer(), Ridge()).fit(rows, rows.ravel())
    with pytest.raises(BundleError, match=r"SplineTransformer cannot be converted .* ElasticNet"):
        convert(model, 1)


def test_a_type_that_is_not_known_to_be_safe_is_refused(project: Project) -> None:
    """Before it is loaded, with where to add it."""
    model = Pipeline([("spline", SplineTransformer()), ("line", Ridge())])
    rows = np.linspace(0, 1, 20).reshape(-1, 1)
    project.model.write_bytes(skops.io.dumps(model.fit(rows, rows.ravel())))
    with pytest.raises(BundleError, match=r"not known to be safe: .*bundle/package\.py"):
        package.run(project)


def test_an_estimator_without_a_converter_leaves_the_earlier_bundle(project: Project) -> None:
    """It is refused before anything is written."""
    write_bytes(project.model, dumps(around(KernelRidge())))
    before = files(project.bundle)
    with pytest.raises(BundleError, match="KernelRidge cannot be converted"):
        package.run(project)
    assert files(project.bundle) == before


def test_a_bundle_that_was_tampered_with_is_made_again(project: Project) -> None:
    """Packaging replaces the whole folder."""
    before = files(project.bundle)
    shutil.rmtree(project.bundle)
    project.bundle.mkdir()
    (project.bundle / "stray.txt").write_text("mine")
    package.run(project)
    assert files(project.bundle) == before


def test_a_baseline_that_wins_is_packaged_like_any_other_model(project: Project) -> None:
    """Where nothing beats one feature, that is the model; the gate says so, not a crash."""
    retrain(project)
    assert read_json(project.tuning)["model"] == "single_feature"
    assert Predictor(project.bundle).digest == digest(project.bundle / MANIFEST)
