"""What to click: a text for each dialect, complete with the webhook's own addresses."""

from __future__ import annotations

import re

import pytest

from goalpost.webhooks.instructions import instructions
from producers.dialects import DIALECTS

URL, ADDRESS = "https://door.example/hooks/1/geheim", "https://door.example/hooks/1"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_dialect_has_steps_with_its_address_and_no_gap_left(dialect: str) -> None:
    text = "\n".join(instructions(dialect, url=URL, address=ADDRESS, secret="geheim", counter=77, name="shop"))
    assert ADDRESS in text
    assert "geheim" in text
    assert not re.search(r"<(?:URL|ADDRESS|SECRET|COUNTER|NAME)>", text)


def test_tildas_snippet_asks_the_webhooks_own_counter() -> None:
    lines = instructions("tilda", url=URL, address=ADDRESS, secret="geheim", counter=77, name="shop")
    snippet = "\n".join(lines[lines.index("<script>") : lines.index("</script>")])
    assert "ym(77, 'getClientID'" in snippet
    assert "ta_session_id" in snippet
