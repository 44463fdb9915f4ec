"""A real HTTP server on this machine that takes what a webhook posts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SILENCE = 0  # in place of a status: no answer until the test is over


@dataclass
class Receiver:
    """Answers the statuses given, then 200; keeps every body."""

    statuses: list[int] = field(default_factory=list)
    bodies: list[dict] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    hanging: int = 0  # requests that are being kept waiting
    url: str = ""


@contextmanager
def local_receiver() -> Iterator[Receiver]:
    """A receiver that runs while the body does."""
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = state.statuses.pop(0) if state.statuses else 200
            state.bodies.append(json.loads(body))
            if status == SILENCE:
                state.hanging += 1
                state.over.wait(60)
                state.hanging -= 1
                return
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/hook?token=very-secret"
    try:
        yield state
    finally:
        state.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
