"""Where a field stands in a sender's object: names of forms taken apart, paths, and names however they are spelt."""

from __future__ import annotations

from typing import Any

import pytest

from producers.dialects.lookup import Sheet
from producers.dialects.nesting import nested


@pytest.mark.parametrize(
    ("form", "found"),
    [
        ({"a": "1"}, {"a": "1"}),
        ({"a[b][c]": "1", "a[b][d]": "2"}, {"a": {"b": {"c": "1", "d": "2"}}}),
        ({"a[0][id]": "1", "a[7][id]": "2"}, {"a": {"0": {"id": "1"}, "7": {"id": "2"}}}),
        ({"a[]": ["1", "2"]}, {"a": {"0": "1", "1": "2"}}),
        ({"a[][b]": "1"}, {"a": {"0": {"b": "1"}}}),
        ({"a": ["1", "2"]}, {"a": "2"}),
        ({"a[b]": ["1", "2"]}, {"a": {"b": "2"}}),
        ({"a": "1", "a[b]": "2"}, {"a": {"b": "2"}}),
        ({"a[b]": "2", "a": "1"}, {"a": {"b": "2"}}),
        ({"a[": "1", "b]": "2", "[c]": "3", "": "4"}, {"a[": "1", "b]": "2", "[c]": "3", "": "4"}),
        ({"a" + "[b]" * 40: "1"}, {"a" + "[b]" * 40: "1"}),
    ],
)
def test_brackets_are_taken_apart(form: dict[str, Any], found: dict[str, Any]) -> None:
    assert nested(form) == found


DEAL = {
    "data": {"FIELDS": {"ID": "5"}, "list": [{"x": "first"}, {"x": "second"}]},
    "payment.amount": "literal",
    "payment": {"amount": "nested"},
    "YM UID": "7",
    "empty": " ",
    "Номер заказа": "12",
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.FIELDS.ID", "5"),
        ("data[FIELDS][ID]", "5"),
        ("data[list][1].x", "second"),
        ("data.list.7.x", None),
        ("data.FIELDS.ID.more", None),
        ("payment.amount", "literal"),
        ("payment[amount]", "nested"),
        ("ym_uid", "7"),
        ("_ym_uid", "7"),
        ("номер_заказа", "12"),
        ("empty", None),
        ("nothing", None),
        ("[", None),
    ],
)
def test_a_field_is_found_by_name_path_or_spelling(path: str, value: str | None) -> None:
    assert Sheet(DEAL).find(path) == value


def test_of_several_objects_the_first_with_content_counts() -> None:
    sheet = Sheet({"a": "", "b": "1"}, {"a": "2", "b": "3"})
    assert (sheet.find("a"), sheet.find("b")) == ("2", "1")
