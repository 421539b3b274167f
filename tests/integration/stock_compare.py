"""Sends requests as they are, and says where two servers' answers differ, whatever ids and times they hold."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

#: Headers that say nothing about the answer: of the connection, of the moment, of the program.
PASSED_OVER = {"connection", "date", "keep-alive", "server", "transfer-encoding", "content-length"}
#: Ids and times wherever they stand.
PATTERNS = (
    (r"\b[0-9a-f]{32}\b", "<id>"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<id>"),
    (r"\b1[789]\d{11}\b", "<time>"),
    (r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?", "<time>"),
    (r"mlflow-artifacts:/\d+", "mlflow-artifacts:/<number>"),
    (r'"digest": "[0-9a-f]{8}"', '"digest": "<digest>"'),
    (r'"(experiment_id|experimentId)": "\d+"', r'"\1": "<number>"'),
)


#: Lists that both servers read from the database without an order: it gives them back in the one that vacuuming leaves.
WITHOUT_ORDER = {"tags", "params"}


@dataclass(frozen=True)
class Request:
    """A request, and the row of docs/operators/server-answers.md by which the two answers differ; empty for none.

    Path, body and headers may name things of ``stock_state`` in braces.
    """

    method: str
    target: str
    body: Any = None
    headers: Mapping[str, str] | None = None
    row: str = ""

    @property
    def name(self) -> str:
        """Return what a failed test calls it."""
        shown = self.body if isinstance(self.body, bytes) else json.dumps(self.body) if self.body is not None else ""
        return f"{self.method} {self.target[:150]} {shown[:150]!s} {dict(self.headers or {})}".rstrip(" {}")


@dataclass(frozen=True)
class Answer:
    """What a server has answered."""

    status: int
    headers: dict[str, str]
    body: bytes


def filled(text: str, known: Mapping[str, str]) -> str:
    """Returns a text with the ids of things in the place of their names."""
    return re.sub(r"\{(\w+)\}", lambda match: known.get(match[1], match[0]), text)


class Sender:
    """A connection to a server.

    Args:
        url: The server's address.
        known: The ids of what is there.
    """

    def __init__(self, url: str, known: Mapping[str, str]) -> None:
        address = urlsplit(url)
        self.connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=120)
        self.known = known

    def send(self, request: Request) -> Answer:
        """Sends a request, once more on a new connection where the server has closed this one."""
        headers = {name: filled(value, self.known) for name, value in (request.headers or {}).items()}
        body = request.body
        if isinstance(body, dict | list | str):
            body = filled(json.dumps(body), self.known).encode()
            headers = {"Content-Type": "application/json", **headers}
        target = filled(request.target, self.known)
        for attempt in range(2):
            try:
                self.connection.request(request.method, target, body, headers)
                got = self.connection.getresponse()
                return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
            except (http.client.HTTPException, ConnectionError):
                self.connection.close()
                if attempt:
                    raise
        raise AssertionError


def in_order(content: Any) -> Any:
    """Returns an answer's JSON with the lists that have no order sorted by their entries' keys."""
    if isinstance(content, list):
        return [in_order(each) for each in content]
    if not isinstance(content, dict):
        return content
    ordered = {name: in_order(value) for name, value in content.items()}
    for name in WITHOUT_ORDER & set(ordered):
        if isinstance(ordered[name], list):
            ordered[name].sort(key=lambda entry: json.dumps(entry, sort_keys=True))
    return ordered


def normal(answer: Answer, known: Mapping[str, str]) -> dict[str, Any]:
    """Returns what of an answer has to be the same on both servers."""

    def same(text: str) -> str:
        for name, value in sorted(known.items(), key=lambda item: -len(item[1])):
            if len(value) > 20:
                text = text.replace(value, f"<{name}>")
        for pattern, word in PATTERNS:
            text = re.sub(pattern, word, text)
        return text

    headers = {name: same(value) for name, value in answer.headers.items() if name not in PASSED_OVER}
    # They are of the moment, or in any order: what counts is that they are there.
    for name in {"etag", "last-modified"} & set(headers):
        headers[name] = "given"
    if "allow" in headers:
        headers["allow"] = ", ".join(sorted(headers["allow"].split(", ")))
    # A client shows by it how far a download is.
    headers["content-length"] = "given" if "content-length" in answer.headers else "missing"
    body: Any = answer.body
    if headers.get("content-type", "").startswith("application/json"):
        try:
            body = same(json.dumps(in_order(json.loads(body)), sort_keys=True, ensure_ascii=False))
        except ValueError:
            body = same(body.decode(errors="replace"))
    elif headers.get("content-type", "").startswith("text/"):
        body = same(body.decode(errors="replace"))
    return {"status": answer.status, **headers, "body": body}


def difference(here: dict[str, Any], there: dict[str, Any]) -> str:
    """Returns how two normal answers differ, in a line; empty when they do not."""
    names = [name for name in sorted({*here, *there}) if here.get(name) != there.get(name)]

    def shown(value: Any, other: Any) -> str:
        text, against = str(value), str(other)
        start = next((at for at, pair in enumerate(zip(text, against, strict=False)) if pair[0] != pair[1]), 0)
        return repr(text[max(start - 60, 0) : start + 160])

    return "; ".join(
        f"{name}: here {shown(here.get(name), there.get(name))}, MLflow {shown(there.get(name), here.get(name))}"
        for name in names
    )
