"""Google's own error answers: the storage service's JSON bodies and texts, and those of the token endpoint.

The messages are the service's, because people and programs read them: MLflow shows them to its users, and the client
library decides by status and reason whether to try again.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class StorageError(Exception):
    """An answer of the storage service that refuses a request."""

    status: int
    message: str
    reason: str
    domain: str = "global"
    # Where the mistake was, for refused credentials: the Authorization header.
    location: str | None = None
    retry_after: int | None = None

    def body(self) -> dict[str, object]:
        """Returns the JSON body."""
        detail: dict[str, object] = {"message": self.message, "domain": self.domain, "reason": self.reason}
        if self.location:
            detail |= {"locationType": "header", "location": self.location}
        return {"error": {"code": self.status, "message": self.message, "errors": [detail]}}

    def headers(self) -> dict[str, str]:
        """Returns the headers that go with it."""
        headers = {}
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="https://accounts.google.com/"'
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return headers


@dataclass(frozen=True)
class TokenError(Exception):
    """An answer of the token endpoint that refuses an assertion."""

    error: str
    description: str
    status: int = 400

    def body(self) -> dict[str, str]:
        """Returns the JSON body."""
        return {"error": self.error, "error_description": self.description}


def _lacks(caller: str, permission: str, resource: str) -> str:
    return (
        f"{caller} does not have {permission} access to the Google Cloud {resource}. "
        f"Permission '{permission}' denied on resource (or it may not exist)."
    )


def _resource(permission: str) -> str:
    if permission in ("storage.buckets.create", "storage.buckets.list"):
        return "project"
    # Listing is asked of the bucket, though its permission is one on objects.
    bucket = permission.startswith("storage.buckets.") or permission == "storage.objects.list"
    return "Storage bucket" if bucket else "Storage object"


def forbidden(account: str, permission: str) -> StorageError:
    """The account is known and lacks the permission."""
    return StorageError(403, _lacks(account, permission, _resource(permission)), "forbidden")


def anonymous(permission: str) -> StorageError:
    """The request carries no credentials."""
    message = _lacks("Anonymous caller", permission, _resource(permission))
    return StorageError(401, message, "required", location="Authorization")


def invalid_credentials() -> StorageError:
    """The request's token is not one of ours, or no longer valid."""
    return StorageError(401, "Invalid Credentials", "authError", location="Authorization")


def insufficient_scope() -> StorageError:
    """The account would be allowed, but its token was issued for less."""
    return StorageError(403, "Provided scope(s) are not authorized", "forbidden")


def no_such_bucket() -> StorageError:
    """There is no bucket of that name."""
    return StorageError(404, "The specified bucket does not exist.", "notFound")


def no_such_object(bucket: str, name: str) -> StorageError:
    """There is no object of that name, and the caller may know."""
    return StorageError(404, f"No such object: {bucket}/{name}", "notFound")


def unknown_request(method: str, path: str) -> StorageError:
    """The emulator does not map this request to a permission. This one is not Google's: it has no such answer."""
    return StorageError(403, f"The emulator does not know {method} {path}: denied.", "forbidden", domain="emulator")


def invalid(message: str) -> StorageError:
    """The request itself is malformed."""
    return StorageError(400, message, "invalid")


def injected(status: int, retry_after: int | None) -> StorageError:
    """The answer of a service that is busy (429) or broken for a moment (5xx)."""
    if status == 429:
        message = "The rate of requests to the bucket exceeds the limit. Please reduce your request rate."
        return StorageError(429, message, "rateLimitExceeded", domain="usageLimits", retry_after=retry_after)
    message = "We encountered an internal error. Please try again."
    return StorageError(status, message, "backendError", retry_after=retry_after)
