"""The whole pipeline, kept alive as ``goalpost up`` keeps it, for tests that look from outside."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.pipeline import Pipeline

# What Metrika can place by itself goes ahead after three seconds; only a session alone is waited for any longer.
_SETTINGS = {"GOALPOST_WAITING_DELAYS_SECONDS": "1,2,15", "GOALPOST_SHORT_WAIT_SECONDS": "3"}


@contextmanager
def tended(home: Path) -> Iterator[Pipeline]:
    """Run a pipeline below ``home`` and restart whatever dies until the block ends."""
    done = threading.Event()
    with Pipeline(home, environ=_SETTINGS, report=print) as pipeline:
        pipeline.start()

        def keep() -> None:
            while not done.wait(0.2):
                pipeline.tend()

        keeper = threading.Thread(target=keep, name="keeper")
        keeper.start()
        try:
            yield pipeline
        finally:
            done.set()
            keeper.join()


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Stack, simulator and all four services."""
    with tended(tmp_path_factory.mktemp("pipeline")) as running:
        yield running
