"""RocksDB as the join's state uses it: how it is tuned, and what its errors mean.

It has no write-ahead log and its topics have all that it holds, so a damaged one is thrown away without a loss.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict

from runtime.failures import Fatal

# Shared by all partitions of a worker, holds their indexes and bloom filters too: bounds the memory of reads.
_CACHE_BYTES: Final = 128 * 1024 * 1024
# Two per partition at most. Larger ones load no faster; eight partitions stay below 64 MiB.
_WRITE_BUFFER_BYTES: Final = 4 * 1024 * 1024
_OPEN_FILES: Final = 256
_BLOOM_BITS: Final = 10
_SECONDS_FOR_LOCK: Final = 30
# Beside the database, where it was found to be damaged while it was in use: opening alone does not read every block.
_DAMAGED: Final = "damaged"
_DAMAGE: Final = ("Corruption", "No such file or directory")


class Damaged(Fatal):
    """A database that a full disk, a lost file or a bad block has made unreadable. Its topics have all of it."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"{path} is damaged ({cause}): it is thrown away and rebuilt from its topics.")


class Unusable(Fatal):
    """A database that is whole, as far as is known, and cannot be read or written now."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(
            f"{path} cannot be used ({cause}). Mend the cause: the next start goes on from where it stood. If it stays "
            "like this, delete the folder: it is rebuilt from its topics."
        )


def shared_cache() -> Cache:
    """The block cache that all stores of a process share."""
    return Cache(_CACHE_BYTES)


def opened(path: Path, cache: Cache) -> Rdict:
    """Open or create a database, waiting for a process that is just closing it.

    Raises:
        Damaged: it has to be thrown away first.
        Fatal: another live process has it open and keeps it, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if (path / _DAMAGED).exists():
        raise Damaged(path, "a block could not be read")
    return _open(path, _options(cache))


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn RocksDB's errors inside the block into ours, and remember a damage for the next start."""
    try:
        yield
    except Exception as exc:
        problem = _explained(path, exc)
        if isinstance(problem, Damaged):
            with suppress(OSError):
                (path / _DAMAGED).touch()
        raise problem from exc


def _options(cache: Cache) -> Options:
    blocks = BlockBasedOptions()
    blocks.set_block_cache(cache)
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
    blocks.set_bloom_filter(_BLOOM_BITS, False)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(blocks)
    # Twice the disk, half the time of a lookup that is not in the cache: a block would be unpacked for one key of it.
    options.set_compression_type(DBCompressionType.none())
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_max_open_files(_OPEN_FILES)
    options.set_keep_log_file_num(1)
    return options


def _open(path: Path, options: Options) -> Rdict:
    """Open the database, waiting for a process that is just closing it."""
    deadline = time.monotonic() + _SECONDS_FOR_LOCK
    while True:
        try:
            return Rdict(str(path), options)
        except Exception as exc:  # rocksdict raises plain Exception for everything
            if "lock hold" not in str(exc) and "lock file" not in str(exc):
                raise _explained(path, exc) from exc
            if time.monotonic() > deadline:
                problem = f"{path} is in use by another process for {_SECONDS_FOR_LOCK} s."
                raise Fatal(f"{problem} End that process, or give this one its own GOALPOST_STATE_DIR.") from exc
        time.sleep(0.1)


def _explained(path: Path, error: Exception) -> Fatal:
    """Return our error for RocksDB's, which are all of one type."""
    cause = str(error)
    return (Damaged if any(word in cause for word in _DAMAGE) else Unusable)(path, cause)
