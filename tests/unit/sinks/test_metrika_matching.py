"""What Metrika linked, by source, goal and kind of identifier."""

from __future__ import annotations

import uuid

from prometheus_client import REGISTRY

from sinks.metrika.conversions import IdType
from sinks.metrika.matching import Matching, Share, lines_by_group
from tests.unit.sinks.metrika_material import uploading


def counted(source: str, goal: str, result: str) -> float:
    """The metric's value."""
    labels = {"source": source, "goal": goal, "id_type": "ClientId", "result": result}
    return REGISTRY.get_sample_value("metrika_lines_total", labels) or 0.0


def test_a_file_of_one_group_is_counted_exactly() -> None:
    counts = uploading(source_quantity=10, line_quantity=9, linked_quantity=6, user_not_found_quantity=3)
    assert set(lines_by_group({("tilda", "sale"): 10}, counts)) == {
        Share("tilda", "sale", "sent", 10),
        Share("tilda", "sale", "refused", 1),
        Share("tilda", "sale", "linked", 6),
        Share("tilda", "sale", "user_not_found", 3),
    }


def test_a_mixed_file_gives_each_group_its_share() -> None:
    counts = uploading(source_quantity=4, line_quantity=4, linked_quantity=2)
    found = {share[:3]: share.lines for share in lines_by_group({("a", "x"): 3, ("b", "y"): 1}, counts)}
    assert found == {("a", "x", "sent"): 3, ("b", "y", "sent"): 1, ("a", "x", "linked"): 1.5, ("b", "y", "linked"): 0.5}


def test_unknown_counts_are_not_guessed() -> None:
    counts = uploading(source_quantity=None, linked_quantity=None, goal_not_found_quantity=None)
    assert {share.result for share in lines_by_group({("a", "x"): 1}, counts)} == {"sent"}


def test_goals_that_a_crm_makes_up_do_not_make_as_many_time_series() -> None:
    source, matching = uuid.uuid4().hex, Matching()
    counts = uploading(linked_quantity=0)
    for number in range(300):
        matching.count({(source, f"goal {number}"): 1}, IdType.CLIENT_ID, counts)
    assert counted(source, "goal 199", "sent") == 1
    assert counted(source, "other", "sent") == 100
    matching.count({(source, "goal 5"): 1}, IdType.CLIENT_ID, counts)
    assert counted(source, "goal 5", "sent") == 2
