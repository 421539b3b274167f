"""Decides whether a request may pass: its token, its account's permissions and its token's scopes."""

from urllib.parse import quote

from gateway import errors, roles
from gateway.accounts import Account
from gateway.operations import Wanted
from gateway.state import Gateway
from gateway.tokens import Token
from gateway.versions import Versions


class Access:
    """The decisions on one request. Each is written to the audit log; the one that refuses raises StorageError."""

    def __init__(self, gateway: Gateway, wanted: Wanted, method: str) -> None:
        self._gateway = gateway
        self._wanted = wanted
        self._method = method
        self._token: Token | None = None

    @property
    def account(self) -> Account:
        """Whose request it is; known after `authenticate`."""
        if self._token is None:
            raise RuntimeError("authenticate first")
        return self._token.account

    def _log(self, permission: str, *, allowed: bool, reason: str = "") -> None:
        self._gateway.audit.add(
            "access",
            self._token.account.email if self._token else None,
            allowed=allowed,
            permission=permission,
            bucket=self._wanted.bucket,
            object=self._wanted.name,
            method=self._method,
            reason=reason,
        )

    def authenticate(self, authorization: str) -> None:
        """Finds the caller by its token."""
        self._token = self._gateway.tokens.find(authorization)
        if self._token is None:
            self._log(self._wanted.permission, allowed=False, reason="invalid token" if authorization else "no token")
            raise errors.invalid_credentials() if authorization else errors.anonymous(self._wanted.permission)

    def for_object(self, wanted: Wanted) -> "Access":
        """Returns the same caller's access to what turned out to be wanted."""
        access = Access(self._gateway, wanted, self._method)
        access._token = self._token
        return access

    def holds(self, permission: str) -> bool:
        """Tells whether the account's roles on this bucket hold a permission."""
        return permission in self.account.permissions_on(self._wanted.bucket)

    def require(self, permission: str) -> None:
        """Lets the request go on only with this permission."""
        if self._token is None or permission not in roles.of_scopes(self._token.scopes):
            self._log(permission, allowed=False, reason="scope")
            raise errors.insufficient_scope()
        if not self.holds(permission):
            self._log(permission, allowed=False, reason="role")
            raise errors.forbidden(self.account.email, permission)
        self._log(permission, allowed=True)

    async def require_bucket(self) -> None:
        """Answers as Google does when there is no such bucket: 404, whatever the caller may do."""
        bucket = self._wanted.bucket
        if not bucket or bucket in self._gateway.buckets:
            return
        if bucket == Versions(self._gateway.store, self._gateway.settings.bucket).hidden:
            raise errors.no_such_bucket()
        async with self._gateway.store.get(f"/storage/v1/b/{quote(bucket, safe='')}") as answer:
            if answer.status != 200:
                self._log(self._wanted.permission, allowed=False, reason="no such bucket")
                raise errors.no_such_bucket()
        self._gateway.buckets.add(bucket)

    async def require_write(self, name: str) -> None:
        """Replacing an object is deleting it: `storage.objects.create` alone can write each name once."""
        path = f"/storage/v1/b/{quote(self._wanted.bucket, safe='')}/o/{quote(name, safe='')}"
        async with self._gateway.store.get(path) as answer:
            exists = answer.status == 200
        if exists:
            self.require(roles.DELETE)
