"""Which Metrika a sandbox uploads to, who renews its tokens, and as whom: decided from a person's settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from runtime.sections import MetrikaSettings
from runtime.settings import BadSettings

# Any number does for the simulator; this one is easy to find in a listing.
SIMULATED_COUNTER: Final = 10_000_001
SIMULATED_TOKEN: Final = "simulated-token"  # noqa: S105 - opens nothing but the simulator
# Where only a refresh token is given: it opens nothing anywhere, and is over at once, so it is renewed before its use.
NO_TOKEN_YET: Final = "not-renewed-yet"  # noqa: S105

_YANDEX_OAUTH: Final = str(MetrikaSettings.model_fields["oauth_url"].default)
# Hosts of Metrika itself; at other addresses stands a simulator or somebody's double, which takes any token.
_YANDEX: Final = (".yandex.net", ".yandex.ru", ".yandex.com")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetrikaAccount:
    """Where uploads go and as whom. ``simulated``: our own simulator has to run for it."""

    api_url: str
    oauth_url: str
    simulated: bool
    access_token: str
    refresh_token: str | None
    counter_id: int
    remark: str | None = None

    @property
    def renews_first(self) -> bool:
        """Whether the access token is none yet."""
        return self.access_token == NO_TOKEN_YET


def metrika_account(environ: Mapping[str, str], *, simulator_url: str) -> MetrikaAccount:
    """Return what ``environ`` asks for; what it leaves open is the simulator's, and nothing of Yandex's ever is.

    Yandex's OAuth renews the tokens of whatever Metrika a person names, unless they name another one.

    Raises:
        BadSettings: Metrika itself is named, and no account or counter of it; or a token that nobody could renew.
    """
    given = {name: value.strip() for name, value in environ.items() if value.strip()}
    api_url, access, refresh = (
        given.get(name) for name in ("METRIKA_API_URL", "METRIKA_ACCESS_TOKEN", "METRIKA_REFRESH_TOKEN")
    )
    counter = given.get("METRIKA_COUNTER_ID")
    renewable = refresh is not None and {"YANDEX_CLIENT_ID", "YANDEX_CLIENT_SECRET"} <= given.keys()
    if api_url is not None and _is_yandex(api_url):
        _require(access, refresh, counter, renewable=renewable)
    only_refresh = access is None and renewable and api_url is not None
    return MetrikaAccount(
        api_url=api_url or simulator_url,
        oauth_url=given.get("YANDEX_OAUTH_URL") or (simulator_url if api_url is None else _YANDEX_OAUTH),
        simulated=api_url is None,
        access_token=access or (NO_TOKEN_YET if only_refresh else SIMULATED_TOKEN),
        refresh_token=refresh,
        counter_id=int(counter or SIMULATED_COUNTER),
        remark=_remark(api_url, access or refresh, refresh, renewable=renewable),
    )


def _is_yandex(url: str) -> bool:
    return f".{urlsplit(url).hostname or ''}".endswith(_YANDEX)


def _require(access: str | None, refresh: str | None, counter: str | None, *, renewable: bool) -> None:
    problems = []
    if access is None and refresh is None:
        problems.append("METRIKA_ACCESS_TOKEN: is needed, because METRIKA_API_URL is Metrika itself")
    if access is None and refresh is not None and not renewable:
        problems.append(
            "METRIKA_REFRESH_TOKEN: cannot be exchanged without YANDEX_CLIENT_ID and YANDEX_CLIENT_SECRET; set them, "
            "or METRIKA_ACCESS_TOKEN"
        )
    if counter is None:
        problems.append("METRIKA_COUNTER_ID: is needed, because METRIKA_API_URL is Metrika itself")
    if problems:
        raise BadSettings(problems)


def _remark(api_url: str | None, token: str | None, refresh: str | None, *, renewable: bool) -> str | None:
    """Return what a person would not expect, in a sentence."""
    if api_url is None and token is not None:
        return "A token is set, but METRIKA_API_URL is not: uploads go to the simulator, and nothing to Yandex."
    if api_url is not None and refresh is not None and not renewable:
        return (
            "METRIKA_REFRESH_TOKEN is set, but YANDEX_CLIENT_ID and YANDEX_CLIENT_SECRET are not both: the access "
            "token will not be renewed when it ends."
        )
    return None
