"""Query parameters and settings: the documented ones pass, others are refused by name."""

import pytest

from sandbox.metrika.configuration import Configuration, InvalidConfiguration, as_json, changed
from sandbox.metrika.parameters import Page, page, upload_parameters
from sandbox.metrika.refusals import Refusal
from sandbox.metrika.uploading import Parameters

DEFAULT = Configuration()


def test_upload_parameters_are_as_documented() -> None:
    assert upload_parameters(1, {}, DEFAULT) == Parameters(counter=1, type="BASIC", client_id_type=None, comment="")
    query = {"type": "CALLS", "client_id_type": "YCLID", "comment": "mkb1Пакет7" + "x" * 245}
    assert isinstance(upload_parameters(1, query, DEFAULT), Parameters)


@pytest.mark.parametrize(
    "query", [{"type": "OTHER"}, {"client_id_type": "PURCHASE_ID"}, {"comment": "x" * 256}, {"comment": "a-b"}]
)
def test_other_upload_parameters_are_refused_by_name(query: dict[str, str]) -> None:
    refused = upload_parameters(1, query, DEFAULT)

    assert isinstance(refused, Refusal)
    assert refused.error_type == "invalid_parameter"
    assert next(iter(query)) in refused.message


def test_punctuation_in_comments_can_be_allowed() -> None:
    assert isinstance(
        upload_parameters(1, {"comment": "a-b c"}, Configuration(accept_comment_punctuation=True)), Parameters
    )


def test_pages_default_to_the_documented_ten_thousand() -> None:
    assert page({}) == Page(limit=10_000, offset=0, type=None)
    assert page({"limit": "5", "offset": "2", "type": "CHATS"}) == Page(limit=5, offset=2, type="CHATS")
    bad: list[dict[str, str]] = [{"limit": "0"}, {"limit": "10001"}, {"offset": "-1"}, {"type": "X"}]
    assert all(isinstance(page(query), Refusal) for query in bad)


def test_settings_change_one_by_one_and_survive_json() -> None:
    configuration = changed(DEFAULT, {"rejected_targets": ["b", "a"], "quota_status": 420})

    assert as_json(configuration)["rejected_targets"] == ["a", "b"]
    assert configuration.processed_after_seconds == DEFAULT.processed_after_seconds
    assert changed(DEFAULT, as_json(configuration)) == configuration


@pytest.mark.parametrize("changes", [{"unknown_setting": 1}, {"quota_status": 500}, {"access_token_seconds": 0}, []])
def test_a_wrong_setting_is_named(changes: object) -> None:
    with pytest.raises(InvalidConfiguration) as error:
        changed(DEFAULT, changes)

    assert (next(iter(changes)) if isinstance(changes, dict) else "JSON object") in str(error.value)
