"""The one package that knows MLflow: where its store is, what goes into it, what is found there.

MLflow is imported inside functions: it takes a second and a half, which `mlref register` spares when
there is nothing to publish.
"""

from mlref.tracking.publication import (
    LIBRARIES,
    Figures,
    Publication,
    libraries,
    mirror,
    publish,
    publish_runs,
    warm_up,
)
from mlref.tracking.runs import NONE_YET, Run, Runs, opened
from mlref.tracking.store import holds, mirrors, open_store, server, uri

__all__ = [
    "LIBRARIES",
    "NONE_YET",
    "Figures",
    "Publication",
    "Run",
    "Runs",
    "holds",
    "libraries",
    "mirror",
    "mirrors",
    "open_store",
    "opened",
    "publish",
    "publish_runs",
    "server",
    "uri",
    "warm_up",
]
