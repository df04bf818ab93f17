"""Yandex OAuth's routes: `/authorize` for people, `/token` for programs."""

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from sandbox.metrika.faults import Operation
from sandbox.metrika.gate import Answer, Gate
from sandbox.metrika.oauth.codes import Consent
from sandbox.metrika.oauth.pages import code_page, consent_page, error_page
from sandbox.metrika.oauth.tokens import TokenPair
from sandbox.metrika.simulator import Simulator

# Where Yandex shows the code itself, for applications without an address of their own.
CODE_PAGE = "/verification_code"
_CARRIED = ("client_id", "redirect_uri", "state", "scope", "login_hint", "code_challenge", "code_challenge_method")


async def authorize(request: Request) -> Response:
    """GET the consent page; POST its answer: a code or `access_denied` goes to the redirect address."""
    simulator: Simulator = request.app.state.simulator
    if request.method == "POST":
        form = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
        return _answered(simulator, form)
    query = request.query_params
    if problem := _problem(query, simulator):
        return HTMLResponse(error_page(problem), 400)
    fields = {name: query[name] for name in _CARRIED if name in query}
    configuration = simulator.configuration
    logins = sorted({*configuration.logins.values(), *configuration.counters_by_login})
    return HTMLResponse(consent_page(fields, logins))


async def verification_code(request: Request) -> Response:
    """GET: the code for people, to be typed into an application."""
    return HTMLResponse(code_page(request.query_params.get("code", "")))


async def token(simulator: Simulator, request: Request) -> Answer:
    """New tokens for a code or a refresh token."""
    form = {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
    form.update(_basic_credentials(request.headers.get("authorization", "")))
    outcome = simulator.tokens.exchange(form, simulator.now(), simulator.configuration)
    return outcome.as_json() if isinstance(outcome, TokenPair) else outcome


def _problem(query: Mapping[str, str], simulator: Simulator) -> str | None:
    known = simulator.configuration.oauth_clients
    if query.get("response_type") != "code":
        return "response_type must be 'code'; other flows are not simulated."
    if not query.get("client_id") or (known and query["client_id"] not in known):
        return "client_id is missing or unknown (setting oauth_clients)."
    if query.get("code_challenge_method", "plain") not in ("plain", "S256"):
        return "code_challenge_method must be 'plain' or 'S256'."
    if (target := query.get("redirect_uri")) and urlsplit(target).scheme in ("", "javascript", "data"):
        return "redirect_uri is not an address."
    return None


def _answered(simulator: Simulator, form: Mapping[str, str]) -> Response:
    if problem := _problem({**form, "response_type": "code"}, simulator):
        return HTMLResponse(error_page(problem), 400)
    answer = {"error": "access_denied", "error_description": "The person denied access"}
    if form.get("decision") != "deny":
        consent = Consent(
            login=form.get("login") or "shop",
            client_id=form["client_id"],
            challenge=form.get("code_challenge", ""),
            challenge_method=form.get("code_challenge_method", "plain"),
        )
        answer = {"code": simulator.give_code(consent)}
    if "state" in form:
        answer["state"] = form["state"]
    target = form.get("redirect_uri") or CODE_PAGE
    if target.endswith(CODE_PAGE):  # Yandex's own page, wherever the application thinks that Yandex is
        target = CODE_PAGE
    return RedirectResponse(f"{target}{'&' if '?' in target else '?'}{urlencode(answer)}", 302)


def _basic_credentials(authorization: str) -> dict[str, str]:
    # The header overrides the ids of the body (Yandex ID, "Refreshing a token").
    scheme, _, encoded = authorization.partition(" ")
    if scheme != "Basic":
        return {}
    try:
        client_id, _, client_secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return {"client_id": "", "client_secret": ""}
    return {"client_id": client_id, "client_secret": client_secret}


ROUTES = [
    Route("/authorize", authorize, methods=["GET", "POST"]),
    Route(CODE_PAGE, verification_code, methods=["GET"]),
    Route("/token", Gate(Operation.TOKEN, token), methods=["POST"]),
]
