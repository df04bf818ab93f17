"""A thread for what takes long, so that the event loop answers everybody else meanwhile.

Python runs one thread at a time, but changes between them every few milliseconds: so much at most does long work of one
sender delay the others. Small requests are handled where they are: a hop to a thread costs as much as they do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

# Nearly every real body is smaller. What is made of so many bytes to cost as much as possible takes 5 ms of a core.
INLINE_BYTES: Final = 4 * 1024

_Found = TypeVar("_Found")


class Worker:
    """One thread, which does things in the order in which they come. Made inside the running loop, and not closed."""

    def __init__(self) -> None:
        # A second thread would not make anything faster, and would take more from the loop.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="worker")

    async def do(self, size_bytes: int, action: Callable[[], _Found]) -> _Found:
        """Return what ``action`` returns: called at once where ``size_bytes`` is small, else in the thread."""
        if size_bytes <= INLINE_BYTES:
            return action()
        return await asyncio.get_running_loop().run_in_executor(self._thread, action)
