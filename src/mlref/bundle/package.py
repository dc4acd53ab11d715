"""Stage 6: turn the fitted Pipeline into a bundle, and measure that both predict the same."""

import numpy as np
import skops.io
from skops.io.exceptions import UntrustedTypesFoundException

from mlref.bundle.convert import convert
from mlref.bundle.predictor import MANIFEST, Predictor, manifest
from mlref.core.contract import load
from mlref.core.errors import BundleError
from mlref.core.rows import generate
from mlref.core.settings import load as load_settings
from mlref.core.storage import Project, replacing, to_json
from mlref.data.tables import encode, read_stage

TRUSTED = [
    "numpy.dtype",
    "mlref.training.candidates.LogTarget",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.model_selection._split.KFold",
    "sklearn.tree._tree.Tree",
]
"""Types of our own estimators that skops does not trust by itself; nothing else is loaded."""


def run(project: Project) -> str:
    """Package the trained model of this clone."""
    contract, settings = load(project.contract), load_settings(project.params).package
    try:
        model = skops.io.load(project.model, trusted=TRUSTED)
    except UntrustedTypesFoundException as error:
        raise BundleError(
            f"The fitted model holds types that are not known to be safe: {error}. Leave them out, or add"
            " them to TRUSTED in bundle/package.py."
        ) from error
    onnx = convert(model, len(contract.features))
    lo, hi = contract.target.valid or contract.target.span
    tolerance = settings.tolerance * (hi - lo)
    golden_rows = generate(contract, settings.golden_rows, settings.seed)
    golden = {
        "rows": golden_rows.tolist(),  # NaN becomes null
        "values": model.predict(golden_rows).tolist(),
        "tolerance": tolerance,
    }
    contents = {
        "model.onnx": onnx,
        "contract.yaml": project.contract.read_bytes(),
        "profile.json": project.profile.read_bytes(),
        "intervals.json": project.intervals.read_bytes(),
        "golden.json": to_json(golden, digits=9),
    }
    contents[MANIFEST] = to_json(manifest(contents))
    with replacing(project.bundle) as fresh:
        fresh.mkdir()
        for name, content in contents.items():
            (fresh / name).write_bytes(content)
        rows = np.vstack([
            encode(contract, read_stage(contract, project.validated, "validate"))[0],
            generate(contract, settings.generated_rows, settings.seed + 1),
        ])  # fmt: skip
        predictor = Predictor(fresh)
        off = float(np.abs(predictor.values(rows) - model.predict(rows)).max())
        if not off <= tolerance:  # nor NaN
            raise BundleError(
                f"model.onnx differs from the scikit-learn model by up to {off:.3g} over {len(rows)}"
                f" rows; allowed: {tolerance:.3g} (package.tolerance). Trees belong in"
                " training.candidates.TREES, which leaves their columns unscaled."
            )
    return f"bundle {predictor.digest[:12]}; differs from scikit-learn by {off:.1e} over {len(rows)} rows"
