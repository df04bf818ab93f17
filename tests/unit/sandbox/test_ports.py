"""Ports are a sandbox's own while it runs, and the same ones when it runs again."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from sandbox import ports


def test_a_block_is_the_same_next_time(tmp_path: Path) -> None:
    with closing(ports.claim(tmp_path / "ports")) as block:
        first = block.first
    with closing(ports.claim(tmp_path / "ports")) as block:
        assert block.first == first
        assert [block.port(place) for place in (1, 9)] == [first + 1, first + 9]


def test_no_two_claims_share_a_port(tmp_path: Path) -> None:
    with ThreadPoolExecutor(20) as pool:
        blocks = list(pool.map(ports.claim, [tmp_path / str(number) for number in range(20)]))
    assert len({block.first // ports.BLOCK_SIZE for block in blocks}) == 20
    for block in blocks:
        block.close()


@pytest.mark.parametrize("place", [0, 7])
def test_another_block_is_taken_when_a_port_of_the_remembered_one_is_not_free(tmp_path: Path, place: int) -> None:
    ports.claim(tmp_path / "ports").close()
    remembered = int((tmp_path / "ports").read_text())
    taken = socket.create_server((ports.LOOPBACK, remembered + place))
    with closing(taken), closing(ports.claim(tmp_path / "ports")) as block:
        assert block.first != remembered
        assert int((tmp_path / "ports").read_text()) == block.first


def test_a_server_can_listen_on_a_port_of_a_claimed_block(tmp_path: Path) -> None:
    with closing(ports.claim(tmp_path / "ports")) as block:
        socket.create_server((ports.LOOPBACK, block.port(1))).close()


def test_a_damaged_memory_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "ports").write_text("not a number")
    ports.claim(tmp_path / "ports").close()
    assert int((tmp_path / "ports").read_text()) in ports.BLOCKS


@pytest.mark.parametrize("place", [0, 10])
def test_a_place_outside_the_block_is_refused(tmp_path: Path, place: int) -> None:
    with closing(ports.claim(tmp_path / "ports")) as block, pytest.raises(ValueError, match="places 1 to 9"):
        block.port(place)
