"""The one package that knows MLflow: where its store is, what goes into it, what is found there.

MLflow is imported inside functions: it takes a second and a half, which `mlref register` spares when
there is nothing to publish.
"""

from mlref.tracking.publication import (
    LIBRARIES,
    Publication,
    libraries,
    mirror,
    publish,
    warm_up,
)
from mlref.tracking.store import holds, mirrors, open_store, server, uri

__all__ = [
    "LIBRARIES",
    "Publication",
    "holds",
    "libraries",
    "mirror",
    "mirrors",
    "open_store",
    "publish",
    "server",
    "uri",
    "warm_up",
]
