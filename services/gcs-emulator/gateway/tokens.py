"""The token endpoint: checks a signed assertion as Google does, and issues bearer tokens that expire.

https://developers.google.com/identity/protocols/oauth2/service-account describes the exchange, and how a client does
without: it signs its token itself. Google's C++ library does that, by which pyarrow reads buckets.
"""

import base64
import binascii
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.accounts import Account
from gateway.errors import TokenError
from gateway.roles import SCOPES

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# Google's libraries name this audience whatever the key's token_uri says, and Google accepts no other.
AUDIENCE = "https://oauth2.googleapis.com/token"
MAX_LIFETIME = 3600
# How far the caller's clock may differ.
SKEW = 300


@dataclass(frozen=True)
class Token:
    """What the gateway remembers of a bearer token."""

    account: Account
    scopes: frozenset[str]
    expires: float


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _parsed(assertion: str) -> tuple[dict[str, object], dict[str, object], bytes, bytes]:
    """Returns header, claims, the signed bytes and the signature of an assertion."""
    try:
        header, claims, signature = assertion.split(".")
        parsed = json.loads(_decoded(header)), json.loads(_decoded(claims))
        if not all(isinstance(part, dict) for part in parsed):
            raise ValueError
        return *parsed, f"{header}.{claims}".encode(), _decoded(signature)
    except (ValueError, binascii.Error):
        raise TokenError("invalid_grant", "Invalid JWT: Failed to parse the assertion.") from None


def _signer(assertion: str, accounts: Mapping[str, Account]) -> tuple[Account, dict[str, object]]:
    """Returns the account that signed an assertion, and its claims; raises TokenError."""
    header, claims, signed, signature = _parsed(assertion)
    account = accounts.get(str(claims.get("iss")))
    if account is None:
        raise TokenError("invalid_grant", "Invalid grant: account not found")
    if account.revoked:
        raise TokenError("invalid_grant", "Invalid JWT Signature.")
    # The algorithm is ours to choose, never the sender's: an assertion that names another one, or none, is not signed.
    if header.get("alg") != "RS256" or header.get("kid", account.key_id) != account.key_id:
        raise TokenError("invalid_grant", "Invalid JWT Signature.")
    try:
        account.key.verify(signature, signed, PKCS1v15(), SHA256())
    except InvalidSignature:
        raise TokenError("invalid_grant", "Invalid JWT Signature.") from None
    return account, claims


def _check_times(claims: Mapping[str, object], now: float) -> None:
    issued, expires = claims.get("iat"), claims.get("exp")
    if (
        not isinstance(issued, int | float)
        or not isinstance(expires, int | float)
        or not 0 < expires - issued <= MAX_LIFETIME
        or not issued - SKEW <= now < expires + SKEW
    ):
        raise TokenError(
            "invalid_grant",
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
            "Check your iat and exp values in the JWT claim.",
        )


def _scopes(claims: Mapping[str, object]) -> frozenset[str]:
    scopes = frozenset(str(claims.get("scope", "")).split())
    if not scopes or not scopes <= SCOPES.keys():
        raise TokenError("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
    return scopes


def check_assertion(assertion: str, accounts: Mapping[str, Account], now: float) -> tuple[Account, frozenset[str]]:
    """Returns the account that signed the assertion, and the scopes that it asks for.

    Raises:
        TokenError: Anything about it is wrong; the text is the one that Google's endpoint answers.
    """
    account, claims = _signer(assertion, accounts)
    if claims.get("aud") != AUDIENCE:
        raise TokenError("invalid_grant", f"Invalid JWT: Failed audience check. The right audience is {AUDIENCE}")
    _check_times(claims, now)
    return account, _scopes(claims)


def check_self_signed(token: str, accounts: Mapping[str, Account], now: float) -> tuple[Account, frozenset[str]]:
    """Returns the account that signed a bearer token itself, and the scopes that the token has.

    Raises:
        TokenError: It is no such token, or has expired; an assertion for the token endpoint is none.
    """
    account, claims = _signer(token, accounts)
    if claims.get("aud") is not None or claims.get("sub") != claims.get("iss"):
        raise TokenError("invalid_grant", "Invalid JWT: is no self-signed access token.")
    _check_times(claims, now)
    return account, _scopes(claims)


class Tokens:
    """Issues tokens and knows those that are valid. They live in memory: a restart is a revocation of all."""

    def __init__(self, accounts: Mapping[str, Account], seconds: float, clock: Callable[[], float] = time.time) -> None:
        self.accounts = accounts
        self.seconds = seconds
        self._clock = clock
        self._tokens: dict[str, Token] = {}

    def exchange(self, form: Mapping[str, object]) -> tuple[Account, dict[str, object]]:
        """Returns the account and the endpoint's answer to a form; raises TokenError."""
        if form.get("grant_type") != GRANT_TYPE:
            raise TokenError("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', '')}")
        account, scopes = check_assertion(str(form.get("assertion", "")), self.accounts, self._clock())
        return account, self.issue(account, scopes)

    def issue(self, account: Account, scopes: frozenset[str]) -> dict[str, object]:
        """Issues a token to an account whose identity is established."""
        now = self._clock()
        self._tokens = {value: token for value, token in self._tokens.items() if token.expires > now}
        value = f"ya29.{secrets.token_urlsafe(48)}"
        self._tokens[value] = Token(account, scopes, now + self.seconds)
        return {"access_token": value, "expires_in": int(self.seconds), "token_type": "Bearer"}

    def find(self, authorization: str) -> Token | None:
        """Returns the valid token in an Authorization header, if there is one: issued here, or signed by an account."""
        kind, _, value = authorization.partition(" ")
        if kind.lower() != "bearer":
            return None
        now = self._clock()
        token = self._tokens.get(value.strip())
        if token is not None:
            return token if token.expires > now else None
        try:
            return Token(*check_self_signed(value.strip(), self.accounts, now), now)
        except TokenError:
            return None

    def expire_all(self) -> int:
        """Makes every issued token invalid, though its holder believes it good; returns how many there were."""
        count = len(self._tokens)
        self._tokens.clear()
        return count
