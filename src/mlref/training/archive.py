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
    numbers = {address: str(place) for place, address in enumerate(addresses)}

    def _renamed(text: str) -> str:
        return re.sub(r"\d{6,}", lambda found: numbers.get(found[0], found[0]), text)

    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as target:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "schema.json":
                content = _renamed(schema).encode()
            elif name.endswith(".npy"):
                content = _rounded(content)
            target.writestr(zipfile.ZipInfo(_renamed(name)), content)
    return written.getvalue()


def _rounded(content: bytes) -> bytes:
    """An array file with its float64 values at ``DIGITS`` significant digits; others unchanged."""
    array, written = np.load(io.BytesIO(content), allow_pickle=False), io.BytesIO()
    if array.dtype != np.float64:
        return content
    short = [float(f"{value:.{DIGITS}g}") for value in array.ravel().tolist()]
    np.save(written, np.array(short).reshape(array.shape))
    return written.getvalue()
