"""Goals and visitors of a counter: who is linked, and who came too late."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.metrika.configuration import Configuration
from sandbox.metrika.csv_file import Row
from sandbox.metrika.site import InvalidVisits, Linking, Site, Visit, audience, parse_visits

NOW = 1_700_000_000
DAY = 86_400
KNOWN_ONLY = Configuration(every_visitor_known=False, every_goal_known=False)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "state.sqlite")
    yield made
    made.close()


def came(site: Site, *days_ago: int, column: str = "ClientId") -> None:
    site.add_visits(
        Visit(counter=1, column=column, identifier="7", at=NOW - days * DAY)  # type: ignore[arg-type]  # one of four
        for days in days_ago
    )


def by_client_id(moment: int = NOW, identifier: str = "7") -> Row:
    return Row(2, identifier, None, None, None, "paid", moment, None, None)


def linking(site: Site, row: Row, *, counter: int = 1, now: float = NOW) -> Linking:
    return audience(site, counter, KNOWN_ONLY, now=now).link(row)


def test_a_visitor_is_found_at_the_counter_that_was_visited(site: Site) -> None:
    came(site, 3)

    assert linking(site, by_client_id()) is Linking.LINKED
    assert linking(site, by_client_id(identifier="8")) is Linking.USER_NOT_FOUND
    assert linking(site, by_client_id(), counter=2) is Linking.USER_NOT_FOUND


def test_the_window_of_21_days_runs_from_the_last_visit_to_the_processing_of_the_file(site: Site) -> None:
    came(site, 40, 20)
    conversion = by_client_id(NOW - 30 * DAY)

    assert linking(site, conversion) is Linking.LINKED
    assert linking(site, conversion, now=NOW + DAY - 2) is Linking.LINKED
    assert linking(site, conversion, now=NOW + DAY - 1) is Linking.NO_VISIT_IN_TIME  # two seconds to process


def test_a_conversion_before_the_first_visit_is_linked_by_click_but_not_by_client_id(site: Site) -> None:
    came(site, 3)
    came(site, 3, column="Yclid")
    moment = NOW - 4 * DAY

    assert linking(site, by_client_id(moment)) is Linking.NO_VISIT_IN_TIME
    assert linking(site, Row(2, None, None, "7", None, "paid", moment, None, None)) is Linking.LINKED


def test_goals_are_a_counters_own_or_those_of_the_setting_and_survive(tmp_path: Path) -> None:
    site = Site(tmp_path / "state.sqlite")
    site.set_goals(1, ["paid", "spam_lead"])
    site.close()

    again = Site(tmp_path / "state.sqlite")
    assert again.goals(1, KNOWN_ONLY) == ("paid", "spam_lead")
    assert again.goals(2, KNOWN_ONLY) == ("crm_conversion",)
    assert audience(again, 1, KNOWN_ONLY, now=NOW).has_goal("paid")
    assert not audience(again, 2, KNOWN_ONLY, now=NOW).has_goal("paid")
    again.set_goals(1, [])
    assert again.goals(1, KNOWN_ONLY) == ("crm_conversion",)
    again.close()


@pytest.mark.parametrize("body", [b"", b"{}", b'[{"counter": 1, "column": "Email", "identifier": "a", "at": 1}]'])
def test_visits_that_cannot_be_read_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidVisits):
        parse_visits(body)
