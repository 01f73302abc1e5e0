"""The routes: bodies in, the Python interface's results out, errors in one shape."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from rmr1_lite import __version__
from rmr1_lite.api.inputs import check_pair
from rmr1_lite.endpoint import schemas
from rmr1_lite.endpoint.checks import check_list, check_score, check_sizes, check_votes
from rmr1_lite.endpoint.desk import Call, Compare, Desk
from rmr1_lite.endpoint.errors import KINDS, Refused, refused_by, refused_fields
from rmr1_lite.endpoint.gate import VISIT
from rmr1_lite.endpoint.metrics import MEDIA_TYPE, Metrics
from rmr1_lite.endpoint.page import docs_page
from rmr1_lite.endpoint.settings import EndpointConfig
from rmr1_lite.types import InputError

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.ErrorBody, "description": said} for status, (_, said) in KINDS.items()
}
FIELDS = {
    "/compare": tuple(schemas.CompareRequest.model_fields),
    "/rank": tuple(schemas.RankRequest.model_fields),
    "/best-of": tuple(schemas.RankRequest.model_fields),
    "/score": tuple(schemas.ScoreRequest.model_fields),
}


class AsciiJSON(JSONResponse):
    """JSON that can hold half a character, which a server's text may have; the default cannot."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


class StrictRequest(Request):
    """A body in which nothing is passed over: not a field that appears twice, not NaN."""

    async def json(self) -> Any:
        try:
            return json.loads(
                await self.body(), object_pairs_hook=_object_once, parse_constant=_refuse_constant
            )
        except (ValueError, RecursionError) as error:
            words = (
                f"The body is not JSON ({str(error) or 'nested too deeply'!s:.120}). Send one JSON object."
            )
            raise HTTPException(400, words) from None


class StrictRoute(APIRoute):
    """A route whose body is a StrictRequest."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return strict


def _object_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{twice!r:.40} appears twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


def build_app(desk: Desk, metrics: Metrics, config: EndpointConfig, spec: str) -> FastAPI:
    """The application behind the gate. spec: the judge's name, as shown."""
    app = FastAPI(
        title="rmr1_lite judge endpoint",
        version=__version__,
        description=f"Verdicts of the judge {spec}. A pair without a verdict has winner null and its reason.",
        docs_url=None,  # its page loads scripts from elsewhere; /docs here is this kit's own
        redoc_url=None,
        redirect_slashes=False,
    )
    app.router.route_class = StrictRoute
    _add_verdicts(app, desk, config)
    _add_reports(app, desk, metrics, spec)
    _add_errors(app)
    return app


def _add_verdicts(app: FastAPI, desk: Desk, config: EndpointConfig) -> None:
    def route(path: str, model: type) -> Any:
        return app.post(path, response_model=None, responses={200: {"model": model}, **ERRORS})

    @route("/compare", schemas.Comparison)
    async def compare(asked: schemas.CompareRequest, request: Request) -> Response:
        """Which of two responses is better, judged in both orders."""
        check_votes(asked.votes, config)
        pair = check_pair(asked.prompt, asked.a, asked.b)
        check_sizes([pair], config, ("a", "b"))
        work = Compare(pair, asked.both_orders, asked.votes, asked.confidence)
        return _reply(request, await desk.ask(work), asked.chains)

    @route("/rank", schemas.Ranked)
    async def rank(asked: schemas.RankRequest, request: Request) -> Response:
        """Order responses by a round robin of all pairs in both orders."""
        check_list(asked, config)
        options = {"votes": asked.votes}
        work = Call(lambda judge: judge.rank(asked.prompt, asked.responses, **options))
        return _reply(request, await desk.ask(work), asked.chains)

    @route("/best-of", schemas.Best)
    async def best_of(asked: schemas.RankRequest, request: Request) -> Response:
        """The best of several responses by a knockout, with fewer judge calls than /rank."""
        check_list(asked, config)
        options = {"votes": asked.votes}
        work = Call(lambda judge: judge.best_of(asked.prompt, asked.responses, **options))
        return _reply(request, await desk.ask(work), asked.chains)

    @route("/score", schemas.Score)
    async def score(asked: schemas.ScoreRequest, request: Request) -> Response:
        """How good one response is, compared with a reference or a panel."""
        check_score(asked, config)
        given = {"reference": asked.reference, "panel": asked.panel, "votes": asked.votes}
        work = Call(lambda judge: judge.score(asked.prompt, asked.response, **given))
        return _reply(request, await desk.ask(work), asked.chains)


def _add_reports(app: FastAPI, desk: Desk, metrics: Metrics, spec: str) -> None:
    began = time.monotonic()

    @app.get("/health", response_model=None, responses={200: {"model": schemas.Health}})
    async def health() -> Response:
        """Status 200 once the judge answers, 503 before and while stopping."""
        state = {
            "ready": desk.ready,
            "loading": desk.judge is None and not desk.stopping,
            "stopping": desk.stopping,
            "judge": spec,
            "version": __version__,
            "uptime_seconds": round(time.monotonic() - began, 1),
        }
        return AsciiJSON(state, 200 if desk.ready else 503)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def numbers() -> Response:
        """Counters in Prometheus' text form."""
        return Response(metrics.text(), media_type=MEDIA_TYPE)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(docs_page(app.openapi()))


def _add_errors(app: FastAPI) -> None:
    """Every error in one shape. One that nobody expected is raised again behind its answer, for the gate to
    record its place."""

    async def answer(request: Request, error: Exception) -> Response:
        fields = FIELDS.get(request.url.path, ())
        if isinstance(error, RequestValidationError):
            refused = refused_fields(error.errors(), fields)
        elif isinstance(error, HTTPException):
            refused = Refused(error.status_code, _words(error, request))
        else:
            refused = refused_by(error, fields)
        return Response(refused.body(), refused.status, refused.headers, "application/json")

    for kind in (RequestValidationError, HTTPException, Refused, InputError, Exception):
        app.add_exception_handler(kind, answer)


def _words(error: HTTPException, request: Request) -> str:
    known = {
        404: "There is no such route. /docs lists them.",
        405: f"This route does not take {request.method:.10}. /docs lists the routes.",
    }
    return known.get(error.status_code, str(error.detail))


def _reply(request: Request, found: Any, chains: bool) -> Response:
    """The result as JSON. Raises Refused if every judge call failed at the judge's server."""
    row = found.to_dict()
    comparisons = row.get("comparisons", [row])
    calls = [call for comparison in comparisons for call in comparison["calls"]]
    request.scope[VISIT].calls = len(calls)
    failed = [call for call in calls if call["status"] == "error"]
    if calls and len(failed) == len(calls):
        words = f"All {len(calls)} judge calls failed: {failed[0].get('error', '')}"
        raise Refused(502, words.rstrip(".") + ". Try again, and check the judge's server.")
    if not chains:
        for call in calls:
            del call["text"], call["parts"]
    return AsciiJSON(row)
