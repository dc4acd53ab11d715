"""A bundle is checked when it is loaded; each thing that is wrong is refused by the file's name."""

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mlref.bundle.predictor import FILES, MANIFEST, Prediction, Predictor, load
from mlref.core.errors import BundleError, MlrefError
from mlref.core.rows import generate
from mlref.core.storage import digest, to_json
from tests.fakes import BASE, CONTRACT, CONTRACT_TEXT, HALF_WIDTH, linear, write_bundle

ROWS = generate(CONTRACT, 7, seed=0)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A sound bundle to damage."""
    write_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A folder for many damaged bundles, and the contents of the sound one."""
    folder = tmp_path_factory.mktemp("sound")
    write_bundle(folder)
    return folder, {name: (folder / name).read_bytes() for name in (MANIFEST, *FILES)}


def reseal(folder: Path, **changed: Any) -> None:
    """Make the manifest agree with the files, as a careful forger would."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["files"] = {name: digest(folder / name) for name in FILES}
    manifest["contract"] = manifest["files"]["contract.yaml"]
    (folder / MANIFEST).write_bytes(to_json(manifest | changed))


def graph(build: Callable[[], tuple[list[Any], dict[str, Any]]], width: int, out: int = 1) -> bytes:
    """An ONNX model from ``rows`` to ``value``."""
    nodes, constants = build()
    made = helper.make_graph(
        nodes,
        "planted",
        [helper.make_tensor_value_info("rows", TensorProto.DOUBLE, [None, width])],
        [helper.make_tensor_value_info("value", TensorProto.DOUBLE, [None, out])],
        [numpy_helper.from_array(np.array(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(model.SerializeToString())


def product(width: int, out: int = 1) -> bytes:
    """A model that multiplies ``width`` features by zero."""
    node = helper.make_node("MatMul", ["rows", "weights"], ["value"])
    return graph(lambda: ([node], {"weights": np.zeros((width, out))}), width, out)


def test_a_sound_bundle_predicts_values_and_intervals(bundle: Path) -> None:
    """The interval reaches equally far to both sides; null is a number's missing value."""
    predictor = Predictor(bundle, digest(bundle / MANIFEST))
    value, lower, upper = predictor.predict(ROWS)
    assert value == pytest.approx(linear(ROWS))
    assert (lower, upper) == (pytest.approx(value - HALF_WIDTH), pytest.approx(value + HALF_WIDTH))
    assert predictor.contract == CONTRACT
    assert predictor.digest == digest(bundle / MANIFEST)


@pytest.mark.parametrize(
    ("base", "clipped"), [(-660.0, "lower"), (19_300.0, "upper")], ids=["below", "above"]
)
def test_an_interval_ends_where_the_possible_does(
    tmp_path: Path, base: float, clipped: str
) -> None:
    """At the limits of what the contract calls valid; the value stays, and no possible truth is lost."""
    write_bundle(tmp_path, base)
    predictor = Predictor(tmp_path)
    generator = np.random.default_rng(0)
    rows = np.array([[area, 3.0, 1.0, 4.0] for area in generator.uniform(50, 60, 40)])
    found = predictor.predict(rows)
    value = linear(rows) - BASE + base
    assert found.value == pytest.approx(value)
    assert found.lower.min() >= 0 and found.upper.max() <= 20_000
    ends = {"lower": value - HALF_WIDTH, "upper": value + HALF_WIDTH}
    assert getattr(found, clipped) != pytest.approx(ends[clipped])
    for actual in (0, 20_000, *generator.uniform(0, 20_000, 500)):
        whole = (ends["lower"] <= actual) & (actual <= ends["upper"])
        assert found.holds(np.full(40, actual)).tolist() == whole.tolist()


def test_an_interval_holds_its_ends() -> None:
    """A value on the end of its interval lies in it."""
    actual = np.array([1.0, 2.0, 3.0, 4.0])
    predicted = Prediction(actual, actual - [0, 1, 1, -1], actual + [1, 0, 1, 2])
    assert predicted.holds(actual).tolist() == [True, True, True, False]


def test_a_contract_that_says_less_than_is_asked_today_is_refused(bundle: Path) -> None:
    """A bundle of an earlier version: `mlref register` then replaces it instead of stopping."""
    text = CONTRACT_TEXT.replace("licence: CC0\n", "")
    (bundle / "contract.yaml").write_text(text)
    reseal(bundle)
    with pytest.raises(BundleError, match=r"not of the present form \(licence: is missing\)"):
        Predictor(bundle)


def test_one_row_predicts_the_same_as_many(bundle: Path) -> None:
    """Rows do not know of each other."""
    predictor = Predictor(bundle)
    singles = [predictor.predict(ROWS[[row]]).value[0] for row in range(len(ROWS))]
    assert predictor.predict(ROWS).value.tolist() == singles


def test_no_row_predicts_nothing(bundle: Path) -> None:
    """An empty table is no error."""
    assert Predictor(bundle).predict(np.empty((0, 4))).value.shape == (0,)


@given(
    name=st.sampled_from((MANIFEST, *FILES)),
    place=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
def test_any_flipped_bit_in_a_registered_bundle_is_refused(
    sound: tuple[Path, dict[str, bytes]], name: str, place: float, bit: int
) -> None:
    """The message names the file."""
    folder, contents = sound
    content = bytearray(contents[name])
    content[int(place * len(content))] ^= 1 << bit
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"The bundle's {re.escape(name)} was altered"):
        Predictor(folder, digest(contents[MANIFEST]))
    (folder / name).write_bytes(contents[name])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.999])
def test_a_flipped_byte_is_refused_without_knowing_the_digest(
    bundle: Path, name: str, place: float
) -> None:
    """The bundle that the stages made has its manifest to be measured by."""
    content = bytearray((bundle / name).read_bytes())
    content[int(place * len(content))] ^= 0xFF
    (bundle / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"The bundle's {re.escape(name)} was altered"):
        Predictor(bundle)


@pytest.mark.parametrize("key", ["data", "contract", *FILES])
@pytest.mark.parametrize("place", [0, 31, 63])
def test_a_changed_digit_of_any_digest_in_the_manifest_is_refused(
    bundle: Path, key: str, place: int
) -> None:
    """Also without knowing the bundle's own digest: everything in the manifest is checked."""
    text = (bundle / MANIFEST).read_text()
    at = text.index(f'"{key}": "') + len(f'"{key}": "') + place
    (bundle / MANIFEST).write_text(text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1 :])
    with pytest.raises(BundleError, match=MANIFEST):
        Predictor(bundle)


@pytest.mark.parametrize("name", [MANIFEST, *FILES])
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    """With the command that makes the bundle again."""
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"no {re.escape(name)}.*make train"):
        Predictor(bundle)


@pytest.mark.parametrize("name", [MANIFEST, *FILES])
def test_a_folder_in_the_place_of_a_file_is_refused(bundle: Path, name: str) -> None:
    """It cannot be read as the file."""
    (bundle / name).unlink()
    (bundle / name).mkdir()
    with pytest.raises(BundleError, match=f"no {re.escape(name)}"):
        Predictor(bundle)


@pytest.mark.parametrize(
    "content",
    [b"", b"not JSON", b"[]", b"{}", b'{"files": {}}', b"\xff\xfe", b'{"files": 1, "data": 1}'],
)
def test_a_manifest_that_is_none_is_refused(bundle: Path, content: bytes) -> None:
    """Whatever is in it."""
    (bundle / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=MANIFEST):
        Predictor(bundle)


@pytest.mark.parametrize("names", [FILES[1:], (*FILES, "extra.bin")])
def test_a_manifest_lists_exactly_the_files_of_a_bundle(
    bundle: Path, names: tuple[str, ...]
) -> None:
    """No more, no less."""
    manifest = json.loads((bundle / MANIFEST).read_bytes())
    manifest["files"] = {name: "0" * 64 for name in names}
    (bundle / MANIFEST).write_bytes(to_json(manifest))
    with pytest.raises(BundleError, match=f"{MANIFEST} must list contract.yaml"):
        Predictor(bundle)


def test_the_contract_of_another_dataset_is_refused(bundle: Path) -> None:
    """A changed meaning is another contract."""
    (bundle / "contract.yaml").write_text(CONTRACT_TEXT.replace("Living area", "Total area"))
    with pytest.raises(BundleError, match="contract.yaml was altered"):
        Predictor(bundle)


def test_the_model_of_another_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    """Also when both are sound."""
    write_bundle(tmp_path / "other", base=BASE + 1)
    (bundle / "model.onnx").write_bytes((tmp_path / "other" / "model.onnx").read_bytes())
    with pytest.raises(BundleError, match="model.onnx was altered"):
        Predictor(bundle)


def test_the_model_of_another_bundle_with_a_forged_manifest_is_refused(
    bundle: Path, tmp_path: Path
) -> None:
    """The golden rows tell."""
    write_bundle(tmp_path / "other", base=BASE + 1)
    (bundle / "model.onnx").write_bytes((tmp_path / "other" / "model.onnx").read_bytes())
    reseal(bundle)
    with pytest.raises(BundleError, match="model.onnx gives golden rows .* off by 1;"):
        Predictor(bundle)


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (pickle.dumps({"a": 1}), "model.onnx is not an ONNX model that runs here"),
        (b"", "model.onnx is not an ONNX model that runs here"),
        (product(3), "model.onnx does not take the 4 features of its contract.yaml"),
        (product(5), "model.onnx does not take the 4 features of its contract.yaml"),
        (product(4), "model.onnx gives golden rows values that are off"),
        (product(4, out=2), "model.onnx"),
    ],
    ids=["pickle", "empty", "three features", "five features", "zeros", "two outputs"],
)
def test_a_model_that_is_none_is_refused_behind_a_consistent_manifest(
    bundle: Path, model: bytes, found: str
) -> None:
    """Digests alone are not trusted."""
    (bundle / "model.onnx").write_bytes(model)
    reseal(bundle)
    with pytest.raises(BundleError, match=found):
        Predictor(bundle)


def test_a_bundle_of_other_training_data_is_refused(bundle: Path) -> None:
    """The manifest's data hash is the profile's."""
    reseal(bundle, data=digest(b"other rows"))
    with pytest.raises(BundleError, match=f"{MANIFEST} belongs to other training data"):
        Predictor(bundle)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("profile.json", b"not JSON"),
        ("profile.json", b"{}"),
        ("intervals.json", b"{}"),
        ("intervals.json", b'{"half_width": null}'),
        ("golden.json", b"{}"),
        ("golden.json", b'{"rows": [], "values": [], "tolerance": 1}'),
    ],
)
def test_a_file_without_its_content_is_refused_behind_a_consistent_manifest(
    bundle: Path, name: str, content: bytes
) -> None:
    """The refusal names the file and is of the error family."""
    (bundle / name).write_bytes(content)
    reseal(bundle)
    with pytest.raises(BundleError, match=name):
        Predictor(bundle)


def test_a_file_that_no_bundle_has_is_refused(bundle: Path) -> None:
    """Nothing travels with a bundle that its digest does not cover."""
    (bundle / "extra.pkl").write_bytes(b"\x80\x04N.")
    with pytest.raises(BundleError, match="extra.pkl"):
        Predictor(bundle)


def test_a_model_that_gives_nan_is_refused(bundle: Path) -> None:
    """Where golden rows are fine and a later row is not: nobody gets NaN as a prediction."""
    (bundle / "model.onnx").write_bytes(
        graph(
            lambda: (
                [
                    helper.make_node("MatMul", ["rows", "first"], ["area"]),
                    helper.make_node("Log", ["area"], ["value"]),
                ],
                {"first": [[1.0], [0.0], [0.0], [0.0]]},
            ),
            4,
        )
    )
    golden = {"rows": [[1.0, 1.0, 0.0, 1.0]], "values": [0.0], "tolerance": 1e-6}
    (bundle / "golden.json").write_bytes(to_json(golden))
    reseal(bundle)
    predictor = Predictor(bundle)
    assert np.isnan(predictor.values(np.array([[-1.0, 1.0, 0.0, 1.0]]))).all()
    with pytest.raises(BundleError, match="not a finite number"):
        predictor.predict(np.array([[2.0, 1.0, 0.0, 1.0], [-1.0, 1.0, 0.0, 1.0]]))


def test_a_golden_answer_of_nan_is_refused(bundle: Path) -> None:
    """NaN is never within a tolerance."""
    golden = {"rows": [[1.0, 1.0, 0.0, 1.0]], "values": [None], "tolerance": 1e9}
    (bundle / "golden.json").write_bytes(to_json(golden))
    reseal(bundle)
    with pytest.raises(BundleError, match="golden rows"):
        Predictor(bundle)


def test_the_stages_load_only_a_bundle_of_the_contract_in_use(bundle: Path) -> None:
    """A bundle from before the contract changed says what to run."""
    assert load(bundle, digest(CONTRACT_TEXT.encode())).contract == CONTRACT
    with pytest.raises(
        MlrefError, match="another contract .* than config/dataset.yaml.*make train"
    ):
        load(bundle, digest(b"another"))


def test_weights_outside_of_the_model_are_refused(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the file is in the working folder, where onnxruntime would look: no digest covers it."""
    model = onnx.load_from_string((bundle / "model.onnx").read_bytes())
    onnx.save_model(
        model,
        str(tmp_path / "outside.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    (bundle / "model.onnx").write_bytes((tmp_path / "outside.onnx").read_bytes())
    reseal(bundle)
    monkeypatch.chdir(tmp_path)
    assert (tmp_path / "weights.bin").stat().st_size > 0
    with pytest.raises(BundleError, match="model.onnx is not an ONNX model that runs here"):
        Predictor(bundle)
