"""Ten ports for one sandbox, the same ones at its next start, and no one else's while it runs."""

from __future__ import annotations

import errno
import random
import socket
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
BLOCK_SIZE = 10
# Below the range from which Linux and macOS take the ports of outgoing connections: any of those could sit on a
# remembered port just when the sandbox starts again.
BLOCKS = range(20_000, 30_000, BLOCK_SIZE)
ATTEMPTS = 200


@dataclass(frozen=True, slots=True)
class PortBlock:
    """A claim on ten neighbouring ports.

    The claim is a socket bound to the first of them for as long as the sandbox runs. The kernel grants it to one
    process only and takes it back when that ends, so two sandboxes that start at the same moment never share a block.
    """

    claim: socket.socket

    @property
    def first(self) -> int:
        """The port of the claim itself."""
        return int(self.claim.getsockname()[1])

    def port(self, place: int) -> int:
        """The port at a place from 1 to 9."""
        if not 1 <= place < BLOCK_SIZE:
            raise ValueError(f"a block has places 1 to {BLOCK_SIZE - 1}, not {place}")
        return self.first + place

    def close(self) -> None:
        """Gives the block back."""
        self.claim.close()


def claim(remembered: Path) -> PortBlock:
    """Claims the block that the file names, else a free one, and writes that down.

    Raises OSError when no free block is found.
    """
    block = _try_claim(_read(remembered))
    for _ in range(ATTEMPTS):
        if block is not None:
            break
        block = _try_claim(random.choice(BLOCKS))  # noqa: S311 - nothing secret about a port
    else:
        raise OSError(errno.EADDRINUSE, f"no ten neighbouring ports are free from {BLOCKS[0]} to {BLOCKS[-1]}")
    remembered.write_text(f"{block.first}\n")
    return block


def _read(remembered: Path) -> int | None:
    try:
        return int(remembered.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _try_claim(first: int | None) -> PortBlock | None:
    if first is None:
        return None
    held = _bind(first, exclusive=True)
    if held is None:
        return None
    for port in range(first + 1, first + BLOCK_SIZE):
        probe = _bind(port, exclusive=False)
        if probe is None:
            held.close()
            return None
        probe.close()
    return PortBlock(held)


def _bind(port: int, *, exclusive: bool) -> socket.socket | None:
    """A bound socket, or None when the port is taken.

    Not exclusive is how servers bind: a closed connection that lingers at the port is no obstacle, but on Linux
    neither is another socket of this kind that does not listen.
    """
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(not exclusive))
        bound.bind((LOOPBACK, port))
    except OSError:
        bound.close()
        return None
    return bound
