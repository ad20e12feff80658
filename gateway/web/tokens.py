"""Bearer tokens of `/v1` and `/ui`: only their digests are kept."""

import hashlib
import hmac
from collections.abc import Mapping

from starlette.requests import Request

from gateway.errors import RefusalError
from gateway.settings.web import Token
from gateway.wire import Reason


class Tokens:
    """Who may call what. Without any token everybody may."""

    def __init__(self, tokens: Mapping[str, Token]) -> None:
        self._tokens = dict(tokens)

    def check(self, request: Request, method: str) -> None:
        """Raises RefusalError: no known token (UNAUTHENTICATED), or one of other methods (PERMISSION_DENIED)."""
        if self._tokens:
            self.bearer(request.headers.get("authorization", ""), method)

    def bearer(self, authorization: str, method: str) -> None:
        """As `check`, of an Authorization header's value."""
        kind, _, given = authorization.partition(" ")
        digest = hashlib.sha256(given.strip().encode()).hexdigest() if kind.lower() == "bearer" else ""
        found = [(name, one) for name, one in self._tokens.items() if hmac.compare_digest(one.sha256, digest)]
        if not found:
            raise RefusalError("UNAUTHENTICATED", "expected a known token: Authorization: Bearer ...", Reason.NO_TOKEN)
        name, token = found[0]
        if method not in token.methods:
            sentence = f"the token of {name} is not for {method}; expected one that is"
            raise RefusalError("PERMISSION_DENIED", sentence, Reason.NO_TOKEN)
