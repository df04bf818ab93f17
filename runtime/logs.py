"""Structured logs: a stable event name (``noun.past_verb``), facts as fields, one line per batch or request.

JSON unless a person watches a terminal. Secrets and personal data are never passed in; this module only formats.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

import structlog
from stamina import instrumentation

from runtime.floods import Flood, LibraryFlood

_waits: Final = Flood()
# The same event of another one of these is another piece of news.
_APART: Final = ("dependency", "client", "counter")


def configure(process: str, *, level: str = "INFO", json_lines: bool | None = None) -> None:
    """Set up logging of this process, once, from its composition root.

    ``json_lines`` of ``None`` means: JSON where standard error is no terminal.
    """
    as_json = not sys.stderr.isatty() if json_lines is None else json_lines

    def named(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        line.setdefault("process", process)  # threads do not inherit context variables
        return line

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        named,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    formatter = structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(LibraryFlood(Flood()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries speak up only when something is wrong; our own lines tell the story.
    root.setLevel(logging.WARNING)
    instrumentation.set_on_retry_hooks((_retried,))


def _retried(details: instrumentation.RetryDetails) -> None:
    """Stamina's own line would come at each attempt."""
    cause = details.caused_by
    seldom("call.retried", dependency=type(cause).__name__, error=str(cause))


def logger() -> structlog.typing.FilteringBoundLogger:
    """Return the logger."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return bound


def seldom(event: str, **facts: object) -> None:
    """Warn of what is tried again and again, at most once a minute for the same event of the same dependency."""
    kind = (event, *(facts.get(name) for name in _APART))
    left_out = _waits.admitted(kind)
    if left_out is not None:
        logger().warning(event, **facts, **({"times_before": left_out} if left_out else {}))
