"""Which conversions share a file."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from sinks.metrika.conversions import IdType, Line, Placed
from sinks.metrika.files import Fineness, Key, common, fineness, first_goals, merged

GROUPS = [(IdType.CLIENT_ID, goal, source) for goal in ("sale", "call") for source in ("tilda", "bitrix24")]


def row(target: str = "sale", source: str = "tilda") -> Placed:
    """A conversion with its line."""
    return Placed(UUID(int=1), IdType.CLIENT_ID, source, Line("1", target, 1, None, None))


def test_files_are_told_apart_as_far_as_requests_reach() -> None:
    found = [fineness(GROUPS, files=files, separate_goals=False) for files in (1, 2, 3, 4)]
    assert found == [Fineness.ID_TYPE, Fineness.GOAL, Fineness.GOAL, Fineness.GOAL_AND_SOURCE]


def test_goals_that_metrika_has_missed_are_told_apart_whatever_it_costs() -> None:
    assert fineness(GROUPS, files=1, separate_goals=True) is Fineness.GOAL
    many = [(IdType.CLIENT_ID, f"goal {number}", "tilda") for number in range(51)]
    assert fineness(many, files=1, separate_goals=True) is Fineness.ID_TYPE


def test_a_file_knows_what_its_rows_have_in_common() -> None:
    assert common([row(), row()]) == Key(IdType.CLIENT_ID, "sale", "tilda")
    assert common([row(), row(source="bitrix24")]) == Key(IdType.CLIENT_ID, "sale", None)
    assert merged(common([row()]), common([row(target="call")])) == Key(IdType.CLIENT_ID, None, "tilda")
    assert Fineness.GOAL.key(IdType.YCLID, "sale", "tilda") == Key(IdType.YCLID, "sale", None)


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 99), min_size=1, max_size=20))
def test_a_refused_file_is_divided_between_goals_until_one_is_left(sizes: dict[str, int]) -> None:
    first = first_goals(sizes)
    assert first < sizes.keys()
    assert bool(first) is (len(sizes) > 1)
