"""A small real bundle on a contract of its own, made without scikit-learn or training."""

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from mlref.bundle.predictor import MANIFEST, manifest
from mlref.core.contract import parse
from mlref.core.storage import digest, to_json, write_bytes, write_json

CONTRACT_TEXT = """\
name: rents
title: Monthly rents
task: regression
source: {kind: file, path: data/source/rents.csv}
homepage: https://example.org/rents
licence: CC0
citation: Made up for the tests.
use:
  intended: Examples in tests.
  users: Readers of the tests.
  not_for: [Real rents.]
collection: Drawn by a random number generator.
known_issues: [No home is real.]
target:
  name: rent
  title: Rent
  meaning: Monthly rent.
  unit: euro
  type: number
  valid: [0, 20000]
  example: 900
features:
  - name: area
    title: Area
    meaning: Living area.
    unit: m²
    type: number
    valid: [5, 1000]
    expected: [20, 300]
    example: 70.5
  - name: rooms
    title: Rooms
    meaning: Number of rooms.
    type: integer
    valid: [1, 20]
    expected: [1, 8]
    example: 3
  - name: heating
    title: Heating
    meaning: What heats it.
    type: category
    allowed: [gas, oil, wood]
    example: oil
  - name: balcony
    title: Balcony
    meaning: Area of the balcony.
    type: number
    valid: [0, 100]
    nullable: true
    example: 4
"""
CONTRACT = parse(CONTRACT_TEXT)
TYPES_TEXT = CONTRACT_TEXT + """\
  - {name: sold, title: S, meaning: S, type: date, origin: 2020-01-01, example: 2020-05-31, nullable: true}
  - {name: lift, title: L, meaning: L, type: boolean, example: true}
"""
TYPES = parse(TYPES_TEXT)
"""A contract with every type of column."""
WEIGHTS = (10.0, 50.0, -20.0, 2.0)
BASE = 100.0
HALF_WIDTH = 80.0
INTERVALS: dict[str, Any] = {
    "coverage": 0.9,
    "method": "jackknife, K-fold, by thirds of the prediction",
    "rows": 20,
    "bounds": [700.0, 1500.0],
    "half_widths": [HALF_WIDTH] * 3,
    "levels": {},
    "out_of_fold": {
        "predictions": np.linspace(100, 3000, 21).tolist(),
        "residuals": [np.linspace(-90, 90, 21).tolist()] * 3,
    },
}
"""One width for all, so that a test knows it; ``tests/code/core/test_task.py`` has three."""


def linear(rows: Any) -> Any:
    """What the model of the fake bundle computes: null counts as zero."""
    return np.nan_to_num(np.asarray(rows, dtype=np.float64)) @ np.array(WEIGHTS) + BASE


WIDER = CONTRACT_TEXT.replace("valid: [5, 1000]", "valid: [5, 2000]")
"""A contract that allows more, so clients would have to change with it."""


def write_bundle(folder: Path, base: float = BASE, contract: str = CONTRACT_TEXT) -> str:
    """Write a bundle; another ``base`` makes another model. Returns its digest."""
    profile = {"rows": 20, "data": digest(b"rents"), "columns": {}}
    rows = [[70.0, 3.0, 1.0, 4.0], [20.0, 1.0, 0.0, None]]
    cells = np.array(rows, dtype=np.float64)
    golden = {"rows": rows, "values": (linear(cells) - BASE + base).tolist(), "tolerance": 1e-6}
    contents = {
        "contract.yaml": contract.encode(),
        "golden.json": to_json(golden, digits=12),
        "intervals.json": to_json(INTERVALS),
        "model.onnx": _graph(base),
        "profile.json": to_json(profile),
    }
    contents[MANIFEST] = to_json(manifest(contents))
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return digest(contents[MANIFEST])


def write_store(
    folder: Path,
    base: float = BASE,
    version: int = 1,
    alias: str = "champion",
    contract: str = CONTRACT_TEXT,
) -> str:
    """Write a fake bundle into a bundle store, with its record and an alias that points to it."""
    name = write_bundle(folder / "fresh", base, contract)
    (folder / "fresh").rename(folder / name)
    write_json(folder / f"{name}.json", {"digest": name, "version": version, "metrics": {}})
    write_bytes(folder / alias, f"{name}\n".encode())
    return name


def _graph(base: float) -> bytes:
    """where(isnan(rows), 0, rows) · weights + base, as bytes of an ONNX model."""
    constants = {
        "zero": np.zeros(1),
        "weights": np.array(WEIGHTS).reshape(-1, 1),
        "base": np.array([base]),
    }
    nodes = [
        helper.make_node("IsNaN", ["rows"], ["null"]),
        helper.make_node("Where", ["null", "zero", "rows"], ["filled"]),
        helper.make_node("MatMul", ["filled", "weights"], ["product"]),
        helper.make_node("Add", ["product", "base"], ["value"]),
    ]
    graph = helper.make_graph(
        nodes,
        "rents",
        [helper.make_tensor_value_info("rows", TensorProto.DOUBLE, [None, len(WEIGHTS)])],
        [helper.make_tensor_value_info("value", TensorProto.DOUBLE, [None, 1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return model.SerializeToString(deterministic=True)
