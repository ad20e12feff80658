"""`POST /v1/...`: the gRPC services as JSON, in protobuf's own JSON mapping."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from google.protobuf.json_format import MessageToJson, ParseDict, ParseError
from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.access import Rates, Tokens
from gateway.web.responses import bad_request
from gateway.web.upstream import Upstream
from proto.tandem.v1 import tandem_pb2 as pb

MESSAGES: dict[str, tuple[type[Message], type[Message]]] = {
    "banner": (pb.GetBannerRequest, pb.GetBannerResponse),
    "candidates": (pb.GetCandidatesRequest, pb.GetCandidatesResponse),
    "similar": (pb.GetSimilarItemsRequest, pb.GetSimilarItemsResponse),
    "rank": (pb.RankRequest, pb.RankResponse),
    "track": (pb.TrackRequest, pb.TrackResponse),
}
"""What each method of `/v1` takes and gives."""

JSON = "application/json"


def routes(upstream: Upstream, tokens: Tokens, rates: Rates | None) -> list[Route]:
    """`POST /v1/METHOD` for every method."""
    return [Route(f"/v1/{name}", _endpoint(name, upstream, tokens, rates), methods=["POST"]) for name in MESSAGES]


def _endpoint(
    name: str, upstream: Upstream, tokens: Tokens, rates: Rates | None
) -> Callable[[Request], Awaitable[Response]]:
    asked = MESSAGES[name][0]

    async def answer(request: Request) -> Response:
        client = tokens.check(request.headers.get("authorization", ""), name)
        if rates is not None:
            rates.take(client or (request.client.host if request.client is not None else ""))
        message = parse_message(request.headers.get("content-type", ""), await request.body(), asked())
        if isinstance(message, pb.GetBannerRequest) and message.preview:
            tokens.check(request.headers.get("authorization", ""), "preview")
        response = await upstream.call(name, message)
        text = MessageToJson(response, always_print_fields_with_no_presence=True, indent=None)
        return Response(text, media_type=JSON, headers={"Cache-Control": "no-store"})

    return answer


def parse_message(content_type: str, body: bytes, message: Message) -> Message:
    """The request's JSON as a message. Raises WebRefusal: another content type (415), or no such message (400)."""
    if content_type.partition(";")[0].strip().lower() != JSON:
        raise bad_request(f"Content-Type is {content_type!r:.80}; expected {JSON}", 415)
    try:
        found = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"expected a JSON object; found {_first(error)}") from None
    if not isinstance(found, dict):
        raise bad_request(f"expected a JSON object; found a {type(found).__name__}")
    try:
        return ParseDict(found, message, max_recursion_depth=16)
    except (ParseError, ValueError, TypeError, RecursionError) as error:
        raise bad_request(f"{message.DESCRIPTOR.name}: {_first(error)}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"the constant {name}")


def _first(error: Exception) -> Any:
    """The first line of what a library says, not longer than a line of a log."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
