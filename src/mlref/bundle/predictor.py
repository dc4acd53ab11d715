"""A bundle in memory: checked when it is loaded, then rows in, values and intervals out.

Evaluation, batch scoring and the service predict with this class alone, so what is evaluated is what
is served.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from mlref.core import contract as contracts
from mlref.core.errors import BundleError, ContractError, MlrefError, reason
from mlref.core.rows import Array
from mlref.core.storage import digest
from mlref.core.task import Prediction, task_of

__all__ = ["Prediction", "Predictor", "load"]

MANIFEST = "MANIFEST.json"
AGAIN = "Run `make train` to make it again."
FILES = ("contract.yaml", "golden.json", "intervals.json", "model.onnx", "profile.json")


class Predictor:
    """One loaded bundle.

    Parameters
    ----------
    folder : Path
        The bundle: its files and MANIFEST.json.
    expected : str, optional
        The digest that the bundle must have.

    Attributes
    ----------
    digest : str
        SHA-256 of MANIFEST.json, which identifies the model.
    contract : Contract
        The contract that the model was trained by.
    manifest, profile, intervals : dict
        What the files of these names hold.

    Raises
    ------
    BundleError
        For a file that is missing, unknown or altered, or a model whose outputs are not the recorded
        ones; it names the file.
    """

    def __init__(self, folder: Path, expected: str | None = None) -> None:
        contents = _verified(folder, expected)
        self.digest = digest(contents[MANIFEST])
        self.manifest = json.loads(contents[MANIFEST])
        self.profile = json.loads(contents["profile.json"])
        with _readable("contract.yaml"):
            self.contract = contracts.parse(contents["contract.yaml"].decode(), "contract.yaml")
        self._task = task_of(self.contract)
        puts = len(self.contract.features), self._task.outputs(self.contract)
        self._session = _session(contents["model.onnx"], *puts)
        with _readable("intervals.json"):
            self.intervals = json.loads(contents["intervals.json"])
            self._calibration = {  # arrays once, not at each request
                name: _numbers(value) if isinstance(value, list) else value
                for name, value in self.intervals.items()
            }
            self._task.answer(np.ones((1, puts[1])), self._calibration)
        with _readable("golden.json"):
            golden = json.loads(contents["golden.json"])
            self._check_golden(golden["rows"], golden["values"], float(golden["tolerance"]))

    def predict(self, rows: Array) -> Prediction:
        """Predict encoded rows.

        An interval ends where the contract's ``valid`` range of the target does: what lies outside is
        impossible, so nothing is lost. The value itself is what the model gives.

        Parameters
        ----------
        rows : ndarray of float64, shape (n, features)
            Encoded by ``mlref.core.rows`` with this bundle's contract.

        Raises
        ------
        BundleError
            When the model gives something that is no finite number.
        """
        # Where a request has one row each call counts: count_nonzero costs less than .all().
        outputs = self._outputs(rows)
        if np.count_nonzero(np.isfinite(outputs)) < outputs.size:
            raise BundleError("The model gave a value that is not a finite number.")
        return self._task.answer(outputs, self._calibration)

    def values(self, rows: Array) -> Array:
        """Only the predicted values, shape (n,), unchecked."""
        return self._outputs(rows).ravel()

    def _outputs(self, rows: Array) -> Array:
        """The model's output, shape (n, k)."""
        return self._session.run(["value"], {"rows": rows})[0]

    def _check_golden(self, rows: list[Any], values: list[float], tolerance: float) -> None:
        wanted = np.array(values, dtype=np.float64)
        given = self.values(np.array(rows, dtype=np.float64).reshape(len(wanted), -1))
        off = float(np.abs(given - wanted).max())
        if not off <= tolerance:
            raise BundleError(
                f"The bundle's model.onnx gives golden rows values that are off by {off:.3g};"
                f" allowed: {tolerance:.3g}. This machine computes something else."
            )


def manifest(contents: Mapping[str, bytes]) -> dict[str, Any]:
    """What MANIFEST.json says of a bundle's files: digests of each, of the contract, of the training rows."""
    digests = {name: digest(contents[name]) for name in FILES}
    data = json.loads(contents["profile.json"])["data"]
    return {"files": digests, "contract": digests["contract.yaml"], "data": data}


def _numbers(values: list[float]) -> Array:
    array = np.array(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("one of its numbers is not finite")
    return array


@contextlib.contextmanager
def _readable(name: str) -> Iterator[None]:
    """Name the file of a bundle whose content makes no sense, or was another version's of mlref."""
    try:
        yield
    except (ValueError, KeyError, TypeError, ContractError) as error:
        raise BundleError(
            f"The bundle's {name} cannot be read: {reason(error)}. {AGAIN}"
        ) from error


def _verified(folder: Path, expected: str | None) -> dict[str, bytes]:
    """Read every file of a bundle and compare it with the manifest."""
    contents: dict[str, bytes] = {}
    for name in (MANIFEST, *FILES):
        try:
            contents[name] = (folder / name).read_bytes()
        except OSError as error:
            raise BundleError(f"The bundle has no {name} ({error.strerror}). {AGAIN}") from error
    if expected not in (None, digest(contents[MANIFEST])):
        raise BundleError(
            f"The bundle's {MANIFEST} was altered: it is not {expected:.12}…. {AGAIN}"
        )
    for path in folder.iterdir():
        if path.name not in contents:
            raise BundleError(f"The bundle has {path.name}, which no bundle has. {AGAIN}")
    with _readable(MANIFEST):
        recorded = json.loads(contents[MANIFEST])
        digests = dict(recorded["files"])
    for name in FILES:
        if digest(contents[name]) != digests.get(name):
            raise BundleError(
                f"The bundle's {name} was altered: its digest is not the one in {MANIFEST}. {AGAIN}"
            )
    with _readable("profile.json"):
        if recorded != manifest(contents):
            raise BundleError(f"The bundle's {MANIFEST} does not describe its files. {AGAIN}")
    return contents


def _session(model: bytes, width: int, outputs: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # failures are raised; nothing needs printing
    # weights in files outside of the model, which no digest covers, are found nowhere
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", os.devnull
    )
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no public root of its errors
        raise BundleError("The bundle's model.onnx is not an ONNX model that runs here.") from error
    puts = [*session.get_inputs(), *session.get_outputs()]
    wanted = [("rows", "tensor(double)", width), ("value", "tensor(double)", outputs)]
    if [(put.name, put.type, put.shape[-1]) for put in puts] != wanted:
        raise BundleError(
            f"The bundle's model.onnx does not take the {width} features of its contract.yaml and give"
            f" {outputs} value{'s' * (outputs > 1)}."
        )
    return session


def load(folder: Path, contract_digest: str) -> Predictor:
    """Load the bundle of the last `make train`; refuse one that was made with another contract."""
    predictor = Predictor(folder)
    made_by = predictor.manifest["contract"]
    if made_by != contract_digest:
        raise MlrefError(
            f"The bundle is of another contract ({made_by[:12]}…) than config/dataset.yaml"
            f" ({contract_digest[:12]}…). Run `make train` to make one of this contract."
        )
    return predictor
