"""Whose inbox is asked for: a borrower's token, signed by the lender."""

import time
from dataclasses import dataclass
from typing import Final

import jwt

MIN_SECRET_BYTES: Final = 32
"""RFC 7518, section 3.2: an HS256 key is at least as long as the hash."""
LEEWAY_S: Final = 10
"""How far the lender's clock and ours may be apart."""


class TokenInvalid(Exception):
    """Not a valid token; why is nobody's business but the lender's, and says so in words without content."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A borrower, known by the lender's id, and until when the token speaks for them."""

    borrower: str
    expires_at_s: float
    """Unix time."""

    @property
    def seconds_left(self) -> float:
        return self.expires_at_s - time.time()


class Tokens:
    """Verifies tokens with one key, one algorithm, one audience; nothing in a token can choose another."""

    def __init__(self, key: str, algorithm: str, audience: str) -> None:
        """Raises:
        ValueError: the key is not one of the algorithm's kind.
        """
        if algorithm == "HS256" and len(key.encode()) < MIN_SECRET_BYTES:
            raise ValueError(f"inbox_jwt_key: HS256 needs a secret of at least {MIN_SECRET_BYTES} bytes")
        try:
            self._key = jwt.get_algorithm_by_name(algorithm).prepare_key(key)
        except (jwt.PyJWTError, ValueError, TypeError, NotImplementedError):
            raise ValueError(f"inbox_jwt_key: cannot be used for {algorithm}") from None
        self._algorithm = algorithm
        self._audience = audience

    def caller(self, authorization: str) -> Caller:
        """Reads `Bearer <token>`.

        Raises:
            TokenInvalid: none, expired, forged, for somebody else, or without a subject.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise TokenInvalid("a bearer token is needed")
        try:
            claims = jwt.decode(
                token.strip(),
                self._key,
                algorithms=[self._algorithm],
                audience=self._audience,
                leeway=LEEWAY_S,
                options={"require": ["exp", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise TokenInvalid("the token has expired") from None
        except jwt.PyJWTError:
            raise TokenInvalid("the token is not valid") from None
        if not claims["sub"]:
            raise TokenInvalid("the token is not valid")
        return Caller(claims["sub"], float(claims["exp"]) + LEEWAY_S)
