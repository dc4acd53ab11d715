"""A bundle is checked when it is loaded; each thing that is wrong is refused by the file's name."""

import contextlib
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mlref.bundle.predictor import FILES, MANIFEST, Predictor, load, manifest
from mlref.core.errors import BundleError, MlrefError
from mlref.core.rows import generate
from mlref.core.storage import digest, to_json
from tests.conftest import Told
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


def reseal(folder: Path) -> None:
    """Make the manifest agree with the files, as a careful forger would."""
    contents = {name: (folder / name).read_bytes() for name in FILES}
    with contextlib.suppress(ValueError, KeyError):  # a planted profile has no data hash
        (folder / MANIFEST).write_bytes(to_json(manifest(contents)))


def graph(nodes: list[Any], width: int, out: int = 1, **constants: Any) -> bytes:
    """An ONNX model from ``rows`` to ``value``."""
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
    return graph([node], width, out, weights=np.zeros((width, out)))


def test_a_sound_bundle_predicts_values_and_intervals(bundle: Path) -> None:
    """The interval reaches equally far to both sides; rows do not know of each other."""
    predictor = Predictor(bundle, digest(bundle / MANIFEST))
    value, lower, upper = predictor.predict(ROWS)
    assert value == pytest.approx(linear(ROWS))
    assert (lower, upper) == (pytest.approx(value - HALF_WIDTH), pytest.approx(value + HALF_WIDTH))
    assert (predictor.contract, predictor.digest) == (CONTRACT, digest(bundle / MANIFEST))
    singles = [predictor.predict(ROWS[[row]]).value[0] for row in range(len(ROWS))]
    assert value.tolist() == singles
    assert predictor.predict(np.empty((0, 4))).value.shape == (0,)


@pytest.mark.parametrize(
    ("base", "clipped"), [(-660.0, "lower"), (19_300.0, "upper")], ids=["below", "above"]
)
def test_an_interval_ends_where_the_possible_does(
    tmp_path: Path, base: float, clipped: str
) -> None:
    """At the limits of what the contract calls valid; the value stays, and no possible truth is lost."""
    write_bundle(tmp_path, base)
    generator = np.random.default_rng(0)
    rows = np.array([[area, 3.0, 1.0, 4.0] for area in generator.uniform(50, 60, 40)])
    found = Predictor(tmp_path).predict(rows)
    value = linear(rows) - BASE + base
    assert found.value == pytest.approx(value)
    assert found.lower.min() >= 0 and found.upper.max() <= 20_000
    ends = {"lower": value - HALF_WIDTH, "upper": value + HALF_WIDTH}
    assert getattr(found, clipped) != pytest.approx(ends[clipped])
    for actual in (0, 20_000, *generator.uniform(0, 20_000, 500)):
        whole = (ends["lower"] <= actual) & (actual <= ends["upper"])
        assert found.holds(np.full(40, actual)).tolist() == whole.tolist()


@hypothesis_settings(max_examples=40)
@given(st.sampled_from((MANIFEST, *FILES)), st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_any_flipped_bit_of_a_registered_bundle_is_refused(
    sound: tuple[Path, dict[str, bytes]], name: str, place: float, bit: int
) -> None:
    folder, contents = sound
    content = bytearray(contents[name])
    content[int(place * len(content))] ^= 1 << bit
    (folder / name).write_bytes(content)
    try:
        with pytest.raises(BundleError, match=f"{re.escape(name)} was altered"):
            Predictor(folder, digest(contents[MANIFEST]))
    finally:
        (folder / name).write_bytes(contents[name])


@pytest.mark.parametrize("key", ["data", "contract", *FILES])
def test_a_changed_digit_of_any_digest_in_the_manifest_is_refused(bundle: Path, key: str) -> None:
    """Also without knowing the bundle's own digest: everything in the manifest is checked."""
    text = (bundle / MANIFEST).read_text()
    at = text.index(f'"{key}": "') + len(f'"{key}": "')
    (bundle / MANIFEST).write_text(text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1 :])
    with pytest.raises(BundleError, match=MANIFEST):
        Predictor(bundle)


@pytest.mark.parametrize("name", [MANIFEST, *FILES])
def test_a_missing_file_and_a_folder_in_its_place_are_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"no {re.escape(name)}.*make train"):
        Predictor(bundle)
    (bundle / name).mkdir()
    with pytest.raises(BundleError, match=f"no {re.escape(name)}"):
        Predictor(bundle)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"{}", b'{"files": 1, "data": 1}'])
def test_a_manifest_that_is_none_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=MANIFEST):
        Predictor(bundle)


GOLDEN_NAN = {"rows": [[1.0, 1.0, 0.0, 1.0]], "values": [None], "tolerance": 1e9}


FORGED = {
    "a pickle": ("model.onnx", pickle.dumps({"a": 1})),
    "an empty model": ("model.onnx", b""),
    "a column too few": ("model.onnx", product(3)),
    "a column too many": ("model.onnx", product(5)),
    "another model": ("model.onnx", product(4)),
    "two outputs": ("model.onnx", product(4, out=2)),
    "golden null": ("golden.json", to_json(GOLDEN_NAN)),
    "golden without rows": ("golden.json", b"{}"),
    "golden with none": ("golden.json", b'{"rows": [], "values": [], "tolerance": 1}'),
    "profile that is no JSON": ("profile.json", b"not JSON"),
    "empty profile": ("profile.json", b"{}"),
    "empty intervals": ("intervals.json", b"{}"),
    "one width, as of an earlier version": ("intervals.json", b'{"half_width": 80}'),
    "width null": ("intervals.json", b'{"bounds": [0, 1], "half_widths": [null, 1, 1]}'),
    # of an earlier version: `mlref register` replaces it, and does not stop
    "a key missing": ("contract.yaml", CONTRACT_TEXT.replace("licence: CC0\n", "").encode()),
    # nothing travels with a bundle uncovered by its digest
    "one more file": ("extra.pkl", b"\x80\x04N."),
}


@pytest.mark.parametrize(("name", "content"), FORGED.values(), ids=FORGED)
def test_a_file_that_is_none_is_refused_behind_a_consistent_manifest(
    bundle: Path, name: str, content: bytes, told: Told
) -> None:
    """Digests alone are not trusted."""
    (bundle / name).write_bytes(content)
    reseal(bundle)
    with pytest.raises(BundleError) as refusal:
        Predictor(bundle)
    told(refusal.value)


def test_a_model_that_gives_nan_or_infinity_is_refused(bundle: Path) -> None:
    """Where golden rows are fine and a later row is not: the logarithm of -1, and of 0."""
    nodes = [
        helper.make_node("MatMul", ["rows", "first"], ["area"]),
        helper.make_node("Log", ["area"], ["value"]),
    ]
    model = graph(nodes, 4, first=[[1.0], [0.0], [0.0], [0.0]])
    (bundle / "model.onnx").write_bytes(model)
    (bundle / "golden.json").write_bytes(to_json(GOLDEN_NAN | {"values": [0.0]}))
    reseal(bundle)
    predictor = Predictor(bundle)
    good, *bad = np.array([[area, 1.0, 0.0, 1.0] for area in (2.0, -1.0, 0.0)])
    assert not np.isfinite(predictor.values(np.array(bad))).any()
    for row in bad:
        with pytest.raises(BundleError, match="not a finite number"):
            predictor.predict(np.array([good, row]))


def test_the_stages_load_only_a_bundle_of_the_contract_in_use(bundle: Path) -> None:
    """A bundle from before the contract changed says what to run."""
    assert load(bundle, digest(CONTRACT_TEXT.encode())).contract == CONTRACT
    found = "another contract .* than config/dataset.yaml.*make train"
    with pytest.raises(MlrefError, match=found):
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
