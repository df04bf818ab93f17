"""What the simulator knows and how it behaves: settings, tokens, goals, visits, quotas."""

import json

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.metrika.configuration import InvalidConfiguration, as_json
from sandbox.metrika.control.requests import object_of, refused, simulator_of, wrong
from sandbox.metrika.oauth.codes import Consent
from sandbox.metrika.refusals import Refusal
from sandbox.metrika.site import InvalidVisits, parse_visits

_LOGIN = "shop"


async def config(request: Request) -> Response:
    """GET the settings, PATCH (or POST) some of them, DELETE to return to those of the start."""
    simulator = simulator_of(request)
    if request.method in ("PATCH", "POST"):
        try:
            simulator.change(json.loads(await request.body()))
        except (InvalidConfiguration, ValueError) as error:
            return refused(wrong("configuration", f"an object of settings ({error})"))
    elif request.method == "DELETE":
        simulator.reset()
    return JSONResponse(as_json(simulator.configuration))


async def tokens(request: Request) -> Response:
    """POST {"login": NAME}: a pair of tokens, as a consent would give. DELETE ?login= or ?token=: end them."""
    simulator = simulator_of(request)
    if request.method == "DELETE":
        query = request.query_params
        return JSONResponse({"ended": simulator.tokens.end(token=query.get("token"), login=query.get("login"))})
    content = await object_of(request)
    if isinstance(content, Refusal):
        return refused(content)
    login = str(content.get("login", _LOGIN))
    return JSONResponse(simulator.tokens.issue(login, simulator.now(), simulator.configuration).as_json())


async def codes(request: Request) -> Response:
    """POST {"client_id": ID, "login": NAME}: an authorization code, as a consent on the page would give."""
    content = await object_of(request)
    if isinstance(content, Refusal):
        return refused(content)
    if not content.get("client_id"):
        return refused(wrong("client_id", "the id of the application that will redeem the code"))
    consent = Consent(login=str(content.get("login", _LOGIN)), client_id=str(content["client_id"]))
    return JSONResponse({"code": simulator_of(request).give_code(consent)})


async def goals(request: Request) -> Response:
    """GET the goals of a counter, PUT a JSON list of identifiers; an empty one returns to the setting `goals`."""
    simulator, counter = simulator_of(request), request.path_params["counter"]
    if request.method == "PUT":
        try:
            names = json.loads(await request.body())
        except ValueError:
            names = None
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            return refused(wrong("goals", "a JSON list of goal identifiers"))
        simulator.site.set_goals(counter, names)
    return JSONResponse(list(simulator.site.goals(counter, simulator.configuration)))


async def visits(request: Request) -> Response:
    """POST a JSON list of {"counter", "column", "identifier", "at"}; GET how many are known; DELETE all."""
    site = simulator_of(request).site
    if request.method == "POST":
        try:
            site.add_visits(parse_visits(await request.body()))
        except InvalidVisits as error:
            return refused(wrong("visits", f"a list of visits ({error})"))
    elif request.method == "DELETE":
        site.forget_visits()
    return JSONResponse({"visits": site.visits()})


async def quotas(request: Request) -> Response:
    """GET the requests since 00:00 GMT by login and by counter."""
    simulator = simulator_of(request)
    return JSONResponse(simulator.quotas.today(simulator.now()))
