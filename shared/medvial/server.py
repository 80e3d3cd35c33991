"""The `invoke` method: an HTTP server that loads the model once and runs one case after the other.

GET /health is 503 while the model loads and 200 after; POST /invoke runs the case that is in the
input folder then, and is 201 on success and 500 with a line of text on failure. The platform asks
for nothing before /health is 200; a case that comes earlier is refused with 503. Whatever a request
has for a body is ignored.

Threads answer requests; the main thread loads and works, so that a signal reaches it at once.
"""

import logging
import queue
import socketserver
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

from medvial.errors import InputError
from medvial.program import Stopped, describe_failure, print_reason

log = logging.getLogger(__name__)

PORT = 4743  # fixed by the platform

_CLIENT_TIMEOUT_S = 30.0  # for a client that stops in the middle of a request
_CHUNK = 1 << 16
_POLL_S = 0.1  # for how long the server may go on after it is told to stop


class Servable(Protocol):
    """What can be served: an Algorithm."""

    def load(self) -> None:
        """Load the model."""

    def run(self) -> None:
        """Run the case in the input folder."""


def serve(algorithm: Servable, host: str = "0.0.0.0", port: int = PORT) -> NoReturn:
    """Serve an algorithm until the process is told to stop.

    Args:
        algorithm: Loaded here, once.
        host: Address to listen at.
        port: Port to listen at.

    Raises:
        InputError: The port is taken.
        Exception: The model could not be loaded.
    """
    cases: queue.Queue[Future[str | None]] = queue.Queue()
    with _listen(host, port, cases) as server:
        threading.Thread(target=server.serve_forever, args=(_POLL_S,), daemon=True).start()
        try:
            started = time.monotonic()
            algorithm.load()
            server.loaded.set()
            log.info("Model loaded in %.1f s; ready for cases", time.monotonic() - started)
            while True:
                case = cases.get()
                case.set_result(_run(algorithm))
        finally:
            server.shutdown()


def _run(algorithm: Servable) -> str | None:
    """Run a case; returns why it failed, None if it did not."""
    started = time.monotonic()
    try:
        algorithm.run()
    except Stopped:
        raise
    except (Exception, SystemExit) as error:
        reason = describe_failure(error)
        print_reason(reason)
        return reason
    log.info("Case done in %.1f s", time.monotonic() - started)
    return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], cases: "queue.Queue[Future[str | None]]") -> None:
        self.cases = cases
        self.loaded = threading.Event()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's, which looks its own name up: without a network that takes seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def handle_error(self, request: Any, client_address: Any) -> None:
        # The default prints a traceback to standard error.
        log.info("A request ended early", exc_info=log.isEnabledFor(logging.DEBUG))


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _CLIENT_TIMEOUT_S
    server_version, sys_version = "medvial", ""

    def answer(self) -> None:
        """Answer a request of any method."""
        self._drop_body()
        path = urlsplit(self.path).path.rstrip("/")
        known: dict[str, tuple[str, Callable[[], None]]] = {
            "/health": ("GET", self._health),
            "/invoke": ("POST", self._invoke),
        }
        if path not in known:
            self._reply(HTTPStatus.NOT_FOUND, f"Expected one of {', '.join(known)}")
            return
        method, action = known[path]
        if self.command != method:
            self._reply(HTTPStatus.METHOD_NOT_ALLOWED, f"Expected {method}", Allow=method)
            return
        action()

    def __getattr__(self, name: str) -> Any:
        # The base class looks for do_GET, do_POST, and so on.
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def _health(self) -> None:
        if self.server.loaded.is_set():
            self._reply(HTTPStatus.OK, "ready")
        else:
            self._reply(HTTPStatus.SERVICE_UNAVAILABLE, "the model is being loaded")

    def _invoke(self) -> None:
        if not self.server.loaded.is_set():
            self._reply(HTTPStatus.SERVICE_UNAVAILABLE, "the model is being loaded")
            return
        case: Future[str | None] = Future()
        self.server.cases.put(case)
        reason = case.result()
        if reason is None:
            self._reply(HTTPStatus.CREATED, "done")
        else:
            self._reply(HTTPStatus.INTERNAL_SERVER_ERROR, reason)

    def _reply(self, status: HTTPStatus, text: str, **headers: str) -> None:
        content = f"{text}\n".encode(errors="backslashreplace")  # a file name may hold any byte
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _drop_body(self) -> None:
        """Read what the client sends, as it may not listen before; a piece at a time."""
        length = self.headers.get("Content-Length", "0")
        left = int(length) if length.isascii() and length.isdigit() else 0
        while left and (piece := self.rfile.read(min(left, _CHUNK))):
            left -= len(piece)

    def log_message(self, format: str, *args: Any) -> None:
        """One line on standard output, whatever the client sent."""
        text = ascii(format % args)[1:-1]
        log.info("%s %s", self.address_string(), text[:300])


def _listen(host: str, port: int, cases: "queue.Queue[Future[str | None]]") -> _Server:
    try:
        return _Server((host, port), cases)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"Expected to listen at {host}:{port}, got: "
            f"{getattr(error, 'strerror', error)}. Is another server running there?"
        ) from None
