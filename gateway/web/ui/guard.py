"""Who may see the pages of `/ui`, which show users' histories: holders of a token, or whoever uses this machine."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access import Tokens
from gateway.errors import RefusalError
from gateway.settings.access import Method, Token
from gateway.settings.web import is_loopback
from gateway.web.responses import WebRefusal
from gateway.wire import Reason

UI: Method = "ui"
"""The method of a token that opens the pages."""

COOKIE = "tandem_ui"
PARAMETER = "token"
_COOKIE_SECONDS = 12 * 3600


class Guard:
    """Checks each request: a token in the Authorization header or in the cookie that a login set.

    Without any token the pages are for this machine only: then the request's host must name it, so that a page from
    elsewhere cannot reach them under a name of its own (DNS rebinding).
    """

    def __init__(self, tokens: Mapping[str, Token], key: bytes) -> None:
        """`tokens`: those of method `ui` count. `key`: signs the cookie."""
        self._own = {name: one for name, one in tokens.items() if UI in one.methods}
        self._tokens, self._key = Tokens(self._own), key

    def refuses(self, request: Request) -> bool:
        """Whether a login is needed. Raises WebRefusal: no token is asked for, and the host is not this machine."""
        if not self._own:
            if not is_loopback(request.url.hostname or ""):
                raise WebRefusal(403, "PERMISSION_DENIED", "these pages are read on this machine only", Reason.NO_TOKEN)
            return False
        return not (self._holds(request.headers.get("authorization", "")) or self._cookie_is_ours(request))

    def login(self, token: str, back: str, https: bool) -> Response | None:
        """To the page asked for, with a cookie; None if the token opens nothing."""
        if not self._holds(f"Bearer {token}"):
            return None
        response = RedirectResponse(back, 303, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
        ends = int(time.time()) + _COOKIE_SECONDS
        mac = self._mac(ends, hashlib.sha256(token.encode()).hexdigest())
        response.set_cookie(
            COOKIE, f"{ends}.{mac}", _COOKIE_SECONDS, path="/ui", secure=https, httponly=True, samesite="lax"
        )
        return response

    def _holds(self, authorization: str) -> bool:
        try:
            self._tokens.check(authorization, UI)
        except RefusalError:
            return False
        return True

    def _cookie_is_ours(self, request: Request) -> bool:
        ends, _, mac = request.cookies.get(COOKIE, "").partition(".")
        if not (ends.isascii() and ends.isdigit() and len(ends) < 12 and int(ends) > time.time()):
            return False
        ours = (self._mac(int(ends), one.sha256) for one in self._own.values())
        return any(hmac.compare_digest(mac.encode(), one.encode()) for one in ours)

    def _mac(self, ends: int, digest: str) -> str:
        return hmac.digest(self._key, f"ui {ends} {digest}".encode(), "sha256").hex()


def given_token(request: Request, body: bytes) -> tuple[str, str]:
    """(token, page to go to) of a link's query or of the login form; the page is one of these."""
    query = dict(request.query_params)
    token = query.pop(PARAMETER, "")
    back = request.url.path + (f"?{urlencode(query)}" if query else "")
    if body:
        form = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        token, back = form.get(PARAMETER, ""), form.get("back", "")
    return token.strip(), back if back.startswith("/ui/") and "\\" not in back else "/ui/banner"
