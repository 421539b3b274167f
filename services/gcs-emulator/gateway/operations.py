"""What a request asks for: its bucket, its object and the permissions that it needs.

Every request that the gateway passes on is listed here; one that is not is denied. (fake-gcs-server has more ways to an
object, the XML API and `batch` among them: each would be a way around the roles.)
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from gateway import roles


@dataclass(frozen=True)
class Wanted:
    """A request in terms of permissions."""

    permission: str
    bucket: str
    name: str = ""
    # Where a copy is read from: needs storage.objects.get there.
    source_bucket: str = ""
    source_name: str = ""
    # The name of an upload may be in its body; it is known only when the first bytes have come.
    upload: bool = False
    # Replaces what is there: then it needs storage.objects.delete too.
    writes: bool = False
    # The answer is content, and so is that of an error: plain text.
    media: bool = False


_Build = Callable[[re.Match[str], dict[str, str]], Wanted]
_SEGMENT = "([^/]+)"


def _bucket(permission: str) -> _Build:
    return lambda match, _: Wanted(permission, unquote(match[1]))


def _object(permission: str) -> _Build:
    return lambda match, query: Wanted(
        permission, unquote(match[1]), unquote(match[2]), media=query.get("alt") == "media"
    )


def _download(match: re.Match[str], _: dict[str, str]) -> Wanted:
    return Wanted(roles.GET, unquote(match[1]), unquote(match[2]), media=True)


def _upload(match: re.Match[str], query: dict[str, str]) -> Wanted:
    return Wanted(roles.CREATE, unquote(match[1]), query.get("name", ""), upload=True, writes=True)


def _copy(match: re.Match[str], _: dict[str, str]) -> Wanted:
    source_bucket, source_name, bucket, name = (unquote(part) for part in match.groups())
    return Wanted(roles.CREATE, bucket, name, source_bucket, source_name, writes=True)


def _compose(match: re.Match[str], _: dict[str, str]) -> Wanted:
    # The parts are objects of the same bucket, and roles are held on the whole bucket.
    bucket, name = unquote(match[1]), unquote(match[2])
    return Wanted(roles.CREATE, bucket, name, source_bucket=bucket, writes=True)


_B = f"/storage/v1/b/{_SEGMENT}"
_O = f"{_B}/o/{_SEGMENT}"
_TABLE: tuple[tuple[str, str, _Build], ...] = (
    ("GET", r"/storage/v1/b/?", lambda *_: Wanted(roles.BUCKET_LIST, "")),
    ("POST", r"/storage/v1/b/?", lambda *_: Wanted(roles.BUCKET_CREATE, "")),
    ("GET", _B, _bucket(roles.BUCKET_GET)),
    ("GET", f"{_B}/storageLayout", _bucket(roles.BUCKET_GET)),
    ("PATCH", _B, _bucket(roles.BUCKET_UPDATE)),
    ("DELETE", _B, _bucket(roles.BUCKET_DELETE)),
    ("GET", f"{_B}/o/?", _bucket(roles.LIST)),
    ("GET", _O, _object(roles.GET)),
    ("HEAD", _O, _object(roles.GET)),
    ("GET", f"/download{_O}", _download),
    ("HEAD", f"/download{_O}", _download),
    ("PATCH", _O, _object(roles.UPDATE)),
    ("PUT", _O, _object(roles.UPDATE)),
    ("DELETE", _O, _object(roles.DELETE)),
    ("POST", f"{_O}/compose", _compose),
    ("POST", f"{_O}/(?:copyTo|rewriteTo)/b/{_SEGMENT}/o/{_SEGMENT}", _copy),
    ("POST", f"/upload{_B}/o/?", _upload),
    # The chunks of a resumable upload, questions about it and its end.
    ("PUT", f"/upload{_B}/o/?", _upload),
    ("DELETE", f"/upload{_B}/o/?", _upload),
)
_COMPILED = tuple((method, re.compile(path), build) for method, path, build in _TABLE)


def wanted(method: str, raw_path: str, query: dict[str, str]) -> Wanted | None:
    """Returns what a request asks for; None when it is not one that the emulator knows.

    Args:
        method: The HTTP method.
        raw_path: The path as it was sent, so that a slash inside a name (%2F) is told from one between segments.
        query: The query's parameters.
    """
    for known, path, build in _COMPILED:
        if known == method and (match := path.fullmatch(raw_path)):
            return build(match, query)
    return None
