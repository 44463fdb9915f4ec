"""Keep hold of leased work while it is done. Knows no database: renewing is handed in."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from contracts import LogUnavailable

log = logging.getLogger(__name__)


def worker_name() -> str:
    """This process among all that share the database."""
    return f"{socket.gethostname()}-{os.getpid()}"


@contextmanager
def renewed(renew: Callable[[], bool], seconds: float) -> Iterator[None]:
    """Call `renew` every third of `seconds` while the body runs, until it says False: lost."""
    over = threading.Event()

    def keep() -> None:
        """In a thread of its own; a database that is away may be back by the next third."""
        while not over.wait(seconds / 3):
            try:
                if not renew():
                    return
            except LogUnavailable as error:
                log.warning("lease_not_renewed reason=%s", error)

    keeper = threading.Thread(target=keep, name="lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
