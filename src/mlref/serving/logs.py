"""Structured logs: lines of JSON for machines, columns for people."""

import logging
import sys

import structlog


def configure() -> None:
    """Write logs to standard error: readable on a terminal, else one JSON object a line.

    They tell what happens to the service and what fails in it; no line holds a value of a feature. Warnings
    of uvicorn and other libraries come in the same form.
    """
    people = sys.stderr.isatty()
    before: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=not people),
    ]
    # the usual form of a trace shows local variables, and those hold rows
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    shown: list[structlog.typing.Processor] = [plain]
    if not people:
        shown = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*before, *shown], logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shown],
            foreign_pre_chain=before,
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
