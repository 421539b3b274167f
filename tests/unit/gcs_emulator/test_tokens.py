"""The token endpoint refuses what Google's refuses, in its words, and its tokens end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from gateway import tokens
from gateway.accounts import Account, email
from gateway.errors import TokenError

NOW = 1_800_000_000.0
Sign = Callable[..., str]


def refusal(assertion: str, accounts: dict[str, Account], now: float = NOW) -> TokenError:
    with pytest.raises(TokenError) as caught:
        tokens.check_assertion(assertion, accounts, now)
    return caught.value


def test_right_assertion_names_account_and_scopes(sign: Sign, accounts: dict[str, Account]) -> None:
    """A right assertion names its account and scopes."""
    account, scopes = tokens.check_assertion(sign(), accounts, NOW)
    assert account.email == email("mlflow-server")
    assert scopes == {"https://www.googleapis.com/auth/devstorage.read_write"}


def test_a_signature_of_another_key_is_refused(sign: Sign, accounts: dict[str, Account]) -> None:
    other = generate_private_key(public_exponent=65537, key_size=2048)
    error = refusal(sign(signer=other), accounts)
    assert error.body() == {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}


def test_changed_claims_are_refused(sign: Sign, accounts: dict[str, Account]) -> None:
    header, _, signature = sign().split(".")
    _, claims, _ = sign(scope="https://www.googleapis.com/auth/cloud-platform").split(".")
    assert refusal(f"{header}.{claims}.{signature}", accounts).description == "Invalid JWT Signature."


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS512"])
def test_another_algorithm_is_refused(sign: Sign, accounts: dict[str, Account], algorithm: str) -> None:
    assert refusal(sign(header={"alg": algorithm}), accounts).description == "Invalid JWT Signature."


def test_a_key_that_is_not_the_accounts_is_refused(sign: Sign, accounts: dict[str, Account]) -> None:
    assert refusal(sign(header={"kid": "deleted"}), accounts).description == "Invalid JWT Signature."


def test_revoked_key_is_refused_until_given_back(sign: Sign, accounts: dict[str, Account]) -> None:
    """A revoked key is refused until it is given back."""
    (account,) = accounts.values()
    account.revoked = True
    assert refusal(sign(), accounts).description == "Invalid JWT Signature."
    account.reset()
    assert tokens.check_assertion(sign(), accounts, NOW)[0] is account


def test_an_unknown_account_is_refused(sign: Sign, accounts: dict[str, Account]) -> None:
    assert refusal(sign(iss=email("nobody")), accounts).description == "Invalid grant: account not found"


@pytest.mark.parametrize("audience", ["http://gcs:4443/token", "", None, ["https://oauth2.googleapis.com/token"]])
def test_another_audience_is_refused(sign: Sign, accounts: dict[str, Account], audience: object) -> None:
    assert "Failed audience check" in refusal(sign(aud=audience), accounts).description


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"iat": NOW - 8000, "exp": NOW - 4400}, id="expired"),
        pytest.param({"iat": NOW + 1000, "exp": NOW + 2000}, id="from the future"),
        pytest.param({"exp": NOW + 3601}, id="longer than an hour"),
        pytest.param({"exp": NOW}, id="no time at all"),
        pytest.param({"exp": "tomorrow"}, id="not a number"),
        pytest.param({"iat": None}, id="missing"),
    ],
)
def test_an_unreasonable_time_is_refused(sign: Sign, accounts: dict[str, Account], claims: dict[str, Any]) -> None:
    error = refusal(sign(**claims), accounts)
    assert error.error == "invalid_grant"
    assert "reasonable timeframe" in error.description


@pytest.mark.parametrize("scope", ["", "https://www.googleapis.com/auth/everything"])
def test_a_missing_or_unknown_scope_is_refused(sign: Sign, accounts: dict[str, Account], scope: str) -> None:
    assert refusal(sign(scope=scope), accounts).error == "invalid_scope"


@pytest.mark.parametrize("assertion", ["", "a.b", "a.b.c", "....", "e30.W10.e30"])
def test_what_is_no_assertion_is_refused(accounts: dict[str, Account], assertion: str) -> None:
    assert refusal(assertion, accounts).error == "invalid_grant"


def test_another_grant_type_is_refused(accounts: dict[str, Account]) -> None:
    with pytest.raises(TokenError, match=r".*") as caught:
        tokens.Tokens(accounts, 60).exchange({"grant_type": "password"})
    assert caught.value.error == "unsupported_grant_type"


def test_a_token_is_valid_for_its_time_only(sign: Sign, accounts: dict[str, Account]) -> None:
    clock = [NOW]
    issuer = tokens.Tokens(accounts, 60, clock=lambda: clock[0])
    _, answer = issuer.exchange({"grant_type": tokens.GRANT_TYPE, "assertion": sign()})
    assert answer["expires_in"] == 60
    header = f"Bearer {answer['access_token']}"
    clock[0] = NOW + 59
    found = issuer.find(header)
    assert found is not None
    assert found.account.email == email("mlflow-server")
    clock[0] = NOW + 60
    assert issuer.find(header) is None


def test_tokens_can_be_ended_at_once(sign: Sign, accounts: dict[str, Account]) -> None:
    issuer = tokens.Tokens(accounts, 60, clock=lambda: NOW)
    _, answer = issuer.exchange({"grant_type": tokens.GRANT_TYPE, "assertion": sign()})
    assert issuer.expire_all() == 1
    assert issuer.find(f"Bearer {answer['access_token']}") is None


def self_signed(sign: Sign, **claims: Any) -> str:
    """A token as Google's C++ library signs it."""
    return sign(**({"aud": None, "sub": email("mlflow-server")} | claims))


def test_account_may_sign_its_token_itself(sign: Sign, accounts: dict[str, Account]) -> None:
    """Without the exchange; it ends by its own time, and when the key is revoked."""
    clock = [NOW]
    issuer = tokens.Tokens(accounts, 60, clock=lambda: clock[0])
    header = f"Bearer {self_signed(sign)}"
    found = issuer.find(header)
    assert found is not None
    assert found.account.email == email("mlflow-server")
    assert found.scopes == {"https://www.googleapis.com/auth/devstorage.read_write"}
    clock[0] = NOW + 3600 + tokens.SKEW
    assert issuer.find(header) is None
    clock[0] = NOW
    (account,) = accounts.values()
    account.revoked = True
    assert issuer.find(header) is None


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"aud": tokens.AUDIENCE}, id="an assertion for the exchange"),
        pytest.param({"sub": email("mlflow-admin")}, id="for another account"),
        pytest.param({"iss": email("nobody"), "sub": email("nobody")}, id="of an unknown account"),
        pytest.param({"exp": NOW + 3601}, id="longer than an hour"),
        pytest.param({"scope": ""}, id="without a scope"),
        pytest.param({"header": {"alg": "none"}}, id="not signed"),
        pytest.param({"signer": generate_private_key(public_exponent=65537, key_size=2048)}, id="by another key"),
    ],
)
def test_other_signed_tokens_are_not_valid(sign: Sign, accounts: dict[str, Account], claims: dict[str, Any]) -> None:
    issuer = tokens.Tokens(accounts, 60, clock=lambda: NOW)
    assert issuer.find(f"Bearer {self_signed(sign, **claims)}") is None


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer guess", "Basic dXNlcg=="])
def test_other_credentials_are_not_valid(accounts: dict[str, Account], header: str) -> None:
    assert tokens.Tokens(accounts, 60).find(header) is None


def test_generated_keys_are_in_googles_format(tmp_path: Any) -> None:
    from gateway.keys import generate
    from google.oauth2 import service_account

    holder, public = generate("mlflow-server", "http://gcs:4443/token")
    (tmp_path / "key.json").write_text(json.dumps(holder))
    credentials = service_account.Credentials.from_service_account_file(str(tmp_path / "key.json"))  # type: ignore[no-untyped-call]
    assert credentials.service_account_email == email("mlflow-server")
    assert "PRIVATE" not in public["public_key"]
