"""A tabular machine-learning model carried through its whole life."""

import os

__version__ = "0.1.0"

# MLflow, Great Expectations, DVC and ONNX Runtime report their use over the network unless told before
# they are imported; so this is the one thing that happens at import.
for _switch, _off in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "true",
}.items():
    os.environ.setdefault(_switch, _off)
