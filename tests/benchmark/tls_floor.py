"""The floor of what the cluster's transfer can take: the same bytes from one process to others, by TLS alone."""

from __future__ import annotations

import multiprocessing
import socket
import ssl
import threading
import time
from pathlib import Path

#: Bytes that are written or read at once.
_STEP = 1 << 18


def _context(purpose: int, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(purpose)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(str(folder / "ca.pem"))
    context.load_cert_chain(str(folder / "certificate.pem"), str(folder / "key.pem"))
    return context


def _receive(port: int, size: int, folder: Path) -> None:
    context = _context(ssl.PROTOCOL_TLS_CLIENT, folder)
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port))) as connection:
        whole, offset = memoryview(bytearray(size)), 0
        while offset < size:
            offset += connection.recv_into(whole[offset : offset + _STEP])
        connection.sendall(b"x")


def seconds_by_tls(content: bytes, receivers: int, certificates: Path) -> float:
    """Returns how long the bytes take to so many processes at once, in seconds.

    Args:
        content: The bytes.
        receivers: How many processes.
        certificates: The folder of a cluster's certificates.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, certificates / "cluster-scheduler")

    def send(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) as connection:
            whole = memoryview(content)
            for offset in range(0, len(whole), _STEP):
                connection.sendall(whole[offset : offset + _STEP])
            connection.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        arguments = (port, len(content), certificates / "cluster-worker")
        fork = multiprocessing.get_context("fork")
        processes = [fork.Process(target=_receive, args=arguments) for _ in range(receivers)]
        for process in processes:
            process.start()
        threads = [threading.Thread(target=send, args=(listener.accept()[0],)) for _ in range(receivers)]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - begin
        for process in processes:
            process.join()
    return took
