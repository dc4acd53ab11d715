"""A fitted Pipeline as a skops archive whose bytes depend on the model alone."""

import io
import re
import zipfile

import numpy as np
import skops.io
from sklearn.pipeline import Pipeline

DIGITS = 8
"""Significant digits of a learned number: the last ones depend on the processor's instructions."""


def dumps(model: Pipeline) -> bytes:
    """Serialise with skops so that equal models give equal bytes.

    skops 0.16 names the parts of its archive by memory address and stamps them with the time. Here
    they are numbered in the order of its schema, and every time is the zip epoch.
    """
    archive = zipfile.ZipFile(io.BytesIO(skops.io.dumps(model)))
    schema = archive.read("schema.json").decode()
    addresses = dict.fromkeys(re.findall(r'"__id__": (\d+)', schema))
    number = {address: str(place) for place, address in enumerate(addresses)}
    schema = re.sub(r"\d{6,}", lambda found: number.get(found[0], found[0]), schema)
    parts = {"schema.json": schema.encode()}
    for name in archive.namelist():
        address, _, suffix = name.partition(".")
        if suffix == "npy":
            parts[f"{number[address]}.npy"] = _rounded(archive.read(name))
        elif name not in parts:
            parts[f"{number[address]}.{suffix}"] = archive.read(name)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as target:
        for name in sorted(parts):
            target.writestr(zipfile.ZipInfo(name), parts[name])
    return written.getvalue()


def _rounded(content: bytes) -> bytes:
    """An array file with its float64 values at ``DIGITS`` significant digits; others unchanged."""
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype != np.float64:
        return content
    short = [float(f"{value:.{DIGITS}g}") for value in array.ravel().tolist()]
    written = io.BytesIO()
    np.save(written, np.array(short).reshape(array.shape))
    return written.getvalue()
