"""A certificate that is not trusted is called so, is no lost upload, and is mended by REQUESTS_CA_BUNDLE."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from goalpost.doctor.diagnosis import metrika
from producers.fetching.portal import Portal, PortalBusy
from runtime.certificates import tls_trouble
from runtime.sections import MetrikaSettings
from sinks.metrika.answers import ListAnswer, TokenAnswer, Unclear, Unsent, UploadAnswer
from sinks.metrika.client import Metrika, OAuth
from sinks.metrika.form import Form, fingerprint
from tests.unit.certificates import certificate, https_server

KINDS: dict[str, dict[str, Any]] = {
    "self-signed": {},
    "expired": {"days": -1},
    "of-another-host": {"host": "metrika.example"},
}


@pytest.fixture(params=KINDS)
def untrusted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a server whose certificate nobody can trust."""
    with https_server(certificate(tmp_path, **KINDS[request.param])) as url:
        yield url


def _upload(url: str) -> UploadAnswer:
    file = [b"ClientId\n1\n"]
    form = Form(boundary="b", file=lambda: file, expected=fingerprint(file))
    return Metrika(url, answer_seconds=5).upload(1, "token", form=form, comment="c")


def _list(url: str) -> ListAnswer:
    return Metrika(url, answer_seconds=5).uploadings(1, "token", offset=0)


def _refresh(url: str) -> TokenAnswer:
    return OAuth(url, client_id="id", client_secret="s").refresh("r")


@pytest.mark.parametrize("ask", [_upload, _list, _refresh])
def test_an_untrusted_certificate_is_named_with_the_remedy_and_nothing_was_sent(
    untrusted: str, ask: Callable[[str], object]
) -> None:
    answer = ask(untrusted)

    assert isinstance(answer, Unsent)
    assert answer.message.startswith("the certificate of localhost is not trusted: ")
    assert "REQUESTS_CA_BUNDLE" in answer.message


def test_what_speaks_no_tls_is_named_so() -> None:
    with https_server(None) as url:
        answer = _list(url)

    assert isinstance(answer, Unsent)
    assert answer.message.startswith("no TLS with localhost (")


def test_a_connection_that_ends_after_the_request_is_unclear_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    with https_server(trusted, cuts=True) as url:
        assert isinstance(_list(url), Unclear)


def test_the_remedy_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    with https_server(trusted) as url:
        answer = _list(url)

    assert not isinstance(answer, Unsent)
    assert "certificate" not in str(answer)


def test_the_doctor_says_the_same(untrusted: str) -> None:
    settings = MetrikaSettings.model_validate({"METRIKA_API_URL": untrusted, "YANDEX_OAUTH_URL": untrusted})

    assert all("the certificate of localhost is not trusted" in finding.detail for finding in metrika(settings))


def test_of_a_portal_only_the_host_is_told(untrusted: str) -> None:
    with requests.Session() as session, pytest.raises(PortalBusy) as said:
        Portal(f"{untrusted}/rest/1/s3cret", session).deals(["1"])

    assert "the certificate of localhost is not trusted" in str(said.value)
    assert "s3cret" not in str(said.value)


def test_an_error_of_another_kind_is_no_trouble_with_tls() -> None:
    assert tls_trouble(requests.ConnectionError("gone"), "https://x") is None
