"""Who may ask: the key pair, and everything that counts as not having it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from futureagi_async.testing._standin.web.answers import Answer, detailed_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from futureagi_async.testing._standin.wire.dialect import DialectName

_FOREIGN_AUTHORIZATION = "Invalid Token parsed: Invalid Token parsed: Invalid token encryption"
_CHALLENGE = {"WWW-Authenticate": "ApiKey"}


def check_keys(
    headers: Mapping[str, str], api_key: str, secret_key: str, dialect: DialectName
) -> Answer | None:
    """Refuse a request without the right pair; any `Authorization` header wins over it, and is wrong."""
    if "Authorization" in headers:
        return _unauthorized(dialect, "authentication_failed", _FOREIGN_AUTHORIZATION)
    given = (headers.get("X-Api-Key"), headers.get("X-Secret-Key"))
    if not all(given):
        return _unauthorized(dialect, "not_authenticated", "Authentication credentials were not provided.")
    if given != (api_key, secret_key):
        return _unauthorized(dialect, "authentication_failed", "Invalid API key or secret key")
    return None


def _unauthorized(dialect: DialectName, code: str, message: str) -> Answer:
    answer = detailed_refusal(dialect, 401, message, code=code)
    return Answer(answer.status, answer.body, headers=_CHALLENGE)
