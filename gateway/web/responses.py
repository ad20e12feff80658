"""Refusals over HTTP: a status, and one sentence with a reason for programs as JSON."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.errors import RefusalError
from gateway.wire import Reason

HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "FAILED_PRECONDITION": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNIMPLEMENTED": 501,
    "CANCELLED": 503,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""Of a gRPC status."""

_AGAIN = {429, 503}


class WebRefusal(RefusalError):
    """A refusal with an HTTP status of its own, where gRPC has none that fits."""

    def __init__(self, http_status: int, status: str, sentence: str, reason: str = Reason.INVALID_FIELD) -> None:
        super().__init__(status, sentence, reason)
        self.http_status = http_status


def bad_request(sentence: str, http_status: int = 400) -> WebRefusal:
    """A request that cannot be read."""
    return WebRefusal(http_status, "INVALID_ARGUMENT", sentence, Reason.UNREADABLE_MESSAGE)


def http_status_of(refusal: RefusalError) -> int:
    return getattr(refusal, "http_status", 0) or HTTP_STATUS.get(refusal.status, 500)


def refusal_response(refusal: RefusalError) -> Response:
    """`{"error": {"status", "reason", "message"}}`, with the HTTP status that fits."""
    number = http_status_of(refusal)
    said = {"status": refusal.status, "reason": str(refusal.reason), "message": str(refusal)}
    headers = {"Retry-After": "1"} if number in _AGAIN else {}
    if number == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": said}, number, headers)


def base_of(request: Request, public_url: str = "") -> str:
    """Where browsers reach this server, without a slash at the end; by default as the request says."""
    return public_url or str(request.base_url).rstrip("/")


async def on_refusal(request: Request, error: Exception) -> Response:
    """Starlette's handler of RefusalError."""
    assert isinstance(error, RefusalError)
    return refusal_response(error)
