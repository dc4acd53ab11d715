"""The log of the process: lines for people on a terminal, JSON for machines everywhere else."""

import logging
import sys
from typing import TextIO

import structlog


def configure(stream: TextIO = sys.stderr) -> None:
    """Send everything that is logged to a stream, one event a line.

    Standard logging stays the way in, so that uvicorn's lines look like ours. What an event tells
    besides its sentence comes from ``extra=``; the values of features are never among it.
    """
    render: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if stream.isatty() else structlog.processors.JSONRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ExtraAdder(),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            render,
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
