"""Headers that claim a name in the proxy's place, and how to send them as they are.

It is also the program that does so inside of a container, with Python's own modules alone.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys

NAMES = ("X-Replica-User", "X-Replica-Role", "X-Replica-Proof", "X-Replica-Console")
GUESS = "a-guess-of-forty-three-letters-and-digits-1"
#: What other proxies pass a name on in.
OF_OTHERS = (
    "X-Forwarded-User: ada\nX-Forwarded-Email: ada",
    "X-Auth-Request-User: ada\nX-Auth-Request-Email: ada\nX-Auth-Request-Groups: admin",
    "Remote-User: ada\nX-Remote-User: ada\nREMOTE_USER: ada",
    "X-Forwarded-For: 127.0.0.1\nForwarded: for=127.0.0.1;host=localhost\nX-Real-IP: 127.0.0.1",
    "Cookie: __Host-mlflow=ada; _oauth2_proxy=ada",
    "X-Mlflow-User: ada\nX-Databricks-User: ada",
)


def _spellings(block: str) -> list[str]:
    """Returns a block of headers with its names spelled as one of these would read them in another way."""
    lines = [line.partition(": ") for line in block.split("\n")]
    return [
        "\n".join(f"{spell(name)}{colon}{value}" for name, _, value in lines)
        for spell, colon in (
            (str, ": "),
            (str.lower, ":"),
            (str.upper, ": "),
            (str.swapcase, ":\t"),
            (lambda name: name.replace("-", "_"), ": "),
            (lambda name: name.lower().replace("-", "_"), ": "),
            (lambda name: "HTTP_" + name.upper().replace("-", "_"), ": "),
            (lambda name: name.replace("-", "_", 1), ": "),
            # No header's name, as it is written here: a lenient reader takes it for one.
            (str, " : "),
            (lambda name: f" {name}", ": "),
            (lambda name: f"{name}\0", ": "),
            (lambda name: name.replace("-", "\N{EN DASH}"), ": "),
        )
    ]


def blocks(near: str = GUESS) -> list[str]:
    """Returns the headers of each request, a line each.

    Args:
        near: What is nearly the proxy's proof.
    """
    user, role, proof, console = NAMES
    plain = [
        f"{user}: ada",
        f"{role}: admin",
        f"{proof}: ",
        f"{console}: ",
        f"{console}: {GUESS}",
        f"{console}: {near}",
        f"{user}: ada\n{role}: admin",
        f"{user}: ada\n{proof}: ",
        *(f"{user}: ada\n{proof}: {wrong}" for wrong in (GUESS, near, f"{near}, {near}", f'"{near}"', "\x00", "None")),
        f"{user}: ada\n{role}: admin\n{proof}: {GUESS}\n{console}: {GUESS}",
        # Twice: one reader takes the first, another the last, a third joins them.
        f"{user}: ada\n{user}: ada\n{proof}: {GUESS}\n{proof}: {near}",
        f"{user}: vera\n{user}: ada\n{proof}: {GUESS}",
        f"{console}: {GUESS}\n{console}: {near}",
        # Folded, split by a bare line end, and after the body.
        f"{user}:\n ada\n{proof}:\n {GUESS}",
        f"X-Other: a\r{user}: ada\r{proof}: {GUESS}",
        f"Transfer-Encoding: chunked\nTrailer: {user}, {proof}\n\n0\n{user}: ada\n{proof}: {GUESS}",
        f"Connection: {proof}\n{user}: ada\n{proof}: {GUESS}",
    ]
    spelled = [one for block in (f"{user}: ada\n{proof}: {GUESS}", f"{console}: {GUESS}") for one in _spellings(block)]
    return list(dict.fromkeys([*plain, *spelled, *OF_OTHERS]))


def ask(host: str, port: int, request: str, headers: str, authority: str = "") -> tuple[int, str]:
    """Sends a request and returns the answer's status and body; status 0 where the connection ends without one.

    Args:
        host: The server's.
        port: The server's.
        request: Method and path.
        headers: A line each, sent as they are.
        authority: The file of a certificate's authority, for HTTPS; empty: HTTP.
    """
    plain = socket.create_connection((host, port), timeout=30)
    context = ssl.create_default_context(cafile=authority) if authority else None
    with context.wrap_socket(plain, server_hostname=host) if context else plain as connection:
        lines = f"{request} HTTP/1.1\nHost: {host}:{port}\nConnection: close\n{headers}\n\n"
        try:
            connection.sendall(lines.replace("\n", "\r\n").encode())
            # What it sends after a refused header is no matter.
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        except (ConnectionError, ssl.SSLError, TimeoutError):
            pass
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split()
    return (int(words[1]) if len(words) > 1 else 0), body.decode(errors="replace")


if __name__ == "__main__":
    # Its cases are the first argument: host, port, request and headers each.
    print(json.dumps([ask(*case) for case in json.loads(sys.argv[1])]))
