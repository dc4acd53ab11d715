"""Stage 5: fit the chosen model on all training rows, and measure how far its intervals must reach."""

import io
import math
import re
import zipfile

import numpy as np
import skops.io
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import Pipeline

from mlref.core import settings
from mlref.core.contract import load
from mlref.core.errors import DataError
from mlref.core.rows import Array
from mlref.core.storage import Project, read_json, write_bytes, write_json
from mlref.data.tables import encode, read_parquet
from mlref.training.candidates import build


def conformal_width(residuals: Array, coverage: float) -> float:
    """Half the width of an interval that holds a new value with probability ``coverage``.

    The ceil((n + 1) · coverage)-th smallest absolute out-of-fold residual, around the model of all
    rows: the K-fold form of the jackknife (Barber, Candès, Ramdas and Tibshirani 2021), with one width
    for all rows. The residuals come from models fitted without their row, so the width does not
    shrink with over-fitting. The coverage is not guaranteed for every distribution; evaluate
    measures it on held-out rows.

    Parameters
    ----------
    residuals : ndarray of float64, shape (n,)
        Out-of-fold residuals, target units.
    coverage : float
        Between 0 and 1.

    Raises
    ------
    DataError
        When n is too small for the coverage.

    Examples
    --------
    >>> conformal_width(np.array([3.0, -1.0, 2.0, -4.0]), 0.6)
    3.0
    """
    rank = math.ceil((len(residuals) + 1) * coverage)
    if rank > len(residuals):
        need = math.ceil(coverage / (1 - coverage) - 1e-9)
        problem = f"{len(residuals)} rows are too few for intervals of coverage {coverage:g}"
        raise DataError("the training split", problem, f"At least {need} are needed.")
    return float(np.sort(np.abs(residuals))[rank - 1])


def canonical(model: Pipeline) -> bytes:
    """Serialise with skops so that equal models give equal bytes.

    skops 0.16 names the parts of its archive by memory address and stamps them with the time. Here
    they are numbered in the order in which the schema names them, and the time is the zip epoch.
    Learned numbers keep eight significant digits: the last ones depend on which instructions the
    processor's linear algebra uses, and the archive is what all later stages load.
    """
    archive = zipfile.ZipFile(io.BytesIO(skops.io.dumps(model)))
    schema = archive.read("schema.json").decode()
    numbers: dict[str, str] = {}
    pattern = re.compile(r'(?<="__id__": )\d+|(?<=": ")\d{6,}(?=\.\w+")')
    schema = pattern.sub(lambda m: numbers.setdefault(m[0], str(len(numbers))), schema)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as target:
        for name in archive.namelist():
            stem, _, suffix = name.partition(".")
            content = schema.encode() if name == "schema.json" else archive.read(name)
            content = _round(content) if suffix == "npy" else content
            fresh = f"{numbers[stem]}.{suffix}" if stem in numbers else name
            target.writestr(zipfile.ZipInfo(fresh), content)
    return written.getvalue()


def _round(content: bytes, digits: int = 8) -> bytes:
    """An array file with its float64 values at so many significant digits; others as they are."""
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype != np.float64:
        return content
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** (digits - 1 - np.floor(np.log10(np.abs(array))))
        rounded = np.round(array * scale) / scale
    written = io.BytesIO()
    np.save(written, np.where(np.isfinite(rounded), rounded, array))
    return written.getvalue()


def run(project: Project) -> str:
    """Train on the training split of this clone."""
    contract, knobs = load(project.contract), settings.load(project.params).train
    tuning = read_json(project.tuning)
    features, target = encode(contract, read_parquet(project.train))
    model = build(contract, tuning["model"], tuning["parameters"], knobs.seed)
    folds = KFold(knobs.folds, shuffle=True, random_state=knobs.seed)
    residuals = target - cross_val_predict(model, features, target, cv=folds)
    width = conformal_width(residuals, knobs.coverage)
    write_bytes(project.model, canonical(model.fit(features, target)))
    write_json(
        project.intervals,
        {
            "coverage": knobs.coverage,
            "half_width": width,
            "method": "jackknife, K-fold",
            "rows": len(target),
        },
    )
    return f"{tuning['model']} on {len(target)} rows; {knobs.coverage:.0%} intervals ± {width:.1f}"
