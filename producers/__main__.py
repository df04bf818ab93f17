"""Composition root of the webhook service: ``goalpost webhook`` or ``python -m producers``."""

from __future__ import annotations

import asyncio
import logging
import sys

from producers.service import Service
from runtime.failures import Fatal
from runtime.lifecycle import Stop
from runtime.logs import configure, logger
from runtime.private_files import keep_private
from runtime.sections import (
    HealthSettings,
    KafkaSettings,
    LogSettings,
    TimeSettings,
    VaultSettings,
    WebhookSettings,
)
from runtime.settings import BadSettings, load


def main() -> None:
    """Serve until SIGTERM, then finish what is in flight and return.

    Raises:
        SystemExit: 2 where the settings are not usable, 1 where the service cannot go on.
    """
    try:
        settings = load(KafkaSettings, WebhookSettings, VaultSettings, LogSettings, HealthSettings, TimeSettings)
    except BadSettings as exc:
        sys.stderr.write(f"{exc}\n")
        raise SystemExit(2) from exc
    keep_private()  # the spool holds what senders sent
    logs: LogSettings = settings[3]
    configure("webhook", level=logs.level, json_lines=logs.json_lines)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # its warnings quote bytes of the body
    Stop().listen()  # uvicorn takes the signals over and gives each back at its end, when it has to hurt no more
    try:
        service = Service(*settings)
        with asyncio.Runner(loop_factory=service.config.get_loop_factory()) as runner:
            runner.run(service.serve())
    except Fatal as exc:
        logger().error("webhook.failed", error=str(exc))
        raise SystemExit(1) from exc


if __name__ == "__main__":
    main()
