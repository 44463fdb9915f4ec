"""Ray itself: a cluster of this machine's own, or one that is there already and gets our code.

Knows neither tasks nor their outcomes.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from contracts import EngineUnavailable
from engines.places import own_folder
from engines.worker import QUIET, environment, put_in_place

HOME = Path(__file__).resolve().parent.parent  # of the project's modules
STORE = 128 * 2**20  # bytes of shared memory for what travels, and
STORE_EACH = 16 * 2**20  # more for each worker; what does not fit waits on the disk
FOLDER = "stock-ray-"  # with the driver's process id: logs and sockets of a cluster of its own
LONGEST = 30  # characters of what is above it: Unix sockets below it may have 107 in all
ANSWER_SECONDS = 5.0  # that an address has

# All listen on 127.0.0.1 alone, which Ray does where it takes clusters for unsupported, and ask
# for a token that is in no file; its makers are told nothing.
PRIVATE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def installed() -> Any:
    """The library, imported for the first time here.

    Raises:
        EngineUnavailable: it is not there.
    """
    try:
        import ray
    except ImportError as error:
        raise EngineUnavailable(
            "--engine ray needs Ray, which is not installed: "
            "pip install --require-hashes -r requirements-scale.txt (or: make scale)"
        ) from error
    return ray


def start(workers: int) -> Callable[[], None]:
    """A cluster on this machine for so many tasks at a time; gives what ends it.

    Raises:
        EngineUnavailable: Ray is not installed or does not start.
    """
    os.environ.update({name: os.environ.get(name, said) for name, said in PRIVATE.items()})
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # once: Ray remembers it
    ray = installed()
    variables = {**environment(), **QUIET, "PYTHONPATH": _path()}
    with ExitStack() as stack:
        folder = stack.enter_context(own_folder(FOLDER, longest=LONGEST))
        stack.callback(ray.shutdown)
        with put_in_place(variables), _own_signals(), _explained("does not start on this machine"):
            ray.init(
                address="local",  # whatever RAY_ADDRESS says
                num_cpus=workers,
                object_store_memory=STORE + workers * STORE_EACH,
                _temp_dir=str(folder),
                **_silent(),
            )
        return stack.pop_all().close


def join(address: str) -> Callable[[], None]:
    """A cluster that is there; its nodes get the project's modules. Gives what leaves it.

    Args:
        address: `auto` for the one of this machine, or its head's host:port. What it asks for
            (RAY_AUTH_MODE, RAY_AUTH_TOKEN) comes from the environment.

    Raises:
        EngineUnavailable: Ray is not installed, or nothing answers there.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = installed()
    if address != "auto":
        _check_answers(address)
    with (
        tempfile.TemporaryDirectory(prefix=FOLDER) as staged,
        _own_signals(),
        _explained(f"cannot join the cluster at {address}"),
    ):
        copy_modules(HOME, Path(staged))
        ray.init(address=address, runtime_env={"working_dir": staged}, **_silent())
    leave: Callable[[], None] = ray.shutdown
    return leave


def copy_modules(home: Path, into: Path) -> None:
    """The project's modules, packages and shipped bases, and nothing else that lies beside them."""
    for path in home.glob("*.py"):
        shutil.copy(path, into)
    folders = {path.parent for path in home.glob("*/__init__.py")} | {home / "pretrained"}
    for folder in folders:
        if folder.is_dir():
            shutil.copytree(
                folder, into / folder.name, ignore=shutil.ignore_patterns("__pycache__")
            )


def _silent() -> dict[str, Any]:
    import ray._private.worker as printing

    # it would put every death of a worker on stdout, between a command's own lines
    printing._worker_logs_enabled = False
    return {
        "configure_logging": False,
        "logging_level": "ERROR",
        "log_to_driver": False,  # warnings come back with the outcomes
        "include_dashboard": False,
    }


def _path() -> str:
    """For workers of this machine: our modules, and whatever the user has put there."""
    return os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # a refused connection is an OSError
        reason = str(error).strip().partition("\n")[0]
        raise EngineUnavailable(f"Ray {what}: {reason}") from error


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself; what was there is put back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_answers(address: str) -> None:
    """Ray itself would try for a minute and then end the process."""
    host, _, port = address.rpartition(":")
    try:
        if not host or not port.isdigit() or "://" in address:
            raise ValueError("expected `auto` or host:port")
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
    except (OSError, ValueError) as error:
        raise EngineUnavailable(
            f"--ray-address {address}: {error}; `ray start --head` says a cluster's address"
        ) from error
