"""The error bodies have Google's shape and words."""

from __future__ import annotations

from gateway import errors, roles

ACCOUNT = "mlflow-server@mlflow-replica.iam.gserviceaccount.com"


def test_a_missing_permission_on_an_object() -> None:
    error = errors.forbidden(ACCOUNT, roles.DELETE)
    message = (
        f"{ACCOUNT} does not have storage.objects.delete access to the Google Cloud Storage object. "
        "Permission 'storage.objects.delete' denied on resource (or it may not exist)."
    )
    detail = {"message": message, "domain": "global", "reason": "forbidden"}
    assert error.body() == {"error": {"code": 403, "message": message, "errors": [detail]}}


def test_listing_is_asked_of_the_bucket() -> None:
    assert "access to the Google Cloud Storage bucket." in errors.forbidden(ACCOUNT, roles.LIST).message


def test_a_request_without_credentials() -> None:
    error = errors.anonymous(roles.GET)
    assert error.status == 401
    assert error.message.startswith("Anonymous caller does not have storage.objects.get access")
    assert error.headers()["WWW-Authenticate"].startswith("Bearer")
    body = error.body()["error"]
    assert isinstance(body, dict)
    assert body["errors"][0]["reason"] == "required"
    assert body["errors"][0]["location"] == "Authorization"


def test_an_invalid_token() -> None:
    error = errors.invalid_credentials()
    assert (error.status, error.message, error.reason) == (401, "Invalid Credentials", "authError")


def test_what_does_not_exist() -> None:
    assert errors.no_such_bucket().message == "The specified bucket does not exist."
    assert errors.no_such_object("bucket", "a/b").message == "No such object: bucket/a/b"
    assert errors.no_such_object("bucket", "a/b").status == 404


def test_a_busy_service_says_when_to_come_back() -> None:
    error = errors.injected(503, 7)
    assert (error.status, error.reason, error.headers()) == (503, "backendError", {"Retry-After": "7"})
    assert errors.injected(429, None).reason == "rateLimitExceeded"
