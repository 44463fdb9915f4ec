"""What the kernel says of processes: whose children they are, where they listen, if they live."""

from __future__ import annotations

import socket
import time
from collections import defaultdict
from pathlib import Path

PROC = Path("/proc")


def gone(pid: int, seconds: float = 20) -> bool:
    """Whether a process ends within some time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if _fields(pid)[:1] in ([], ["Z"]):
            return True
        time.sleep(0.05)
    return False


def descendants(pid: int) -> set[int]:
    """Every process below one, itself left out."""
    children = defaultdict(set)
    for place in PROC.glob("[0-9]*"):
        if fields := _fields(int(place.name)):
            children[int(fields[1])].add(int(place.name))
    found, waiting = set(), [pid]
    while waiting:
        below = children[waiting.pop()] - found
        found |= below
        waiting += below
    return found


def command(pid: int) -> str:
    """What it was started by, its arguments parted by spaces."""
    return (PROC / str(pid) / "cmdline").read_text().replace("\0", " ")


def listening(pid: int) -> set[str]:
    """The addresses of this machine at which a process takes TCP connections."""
    own = set()
    for handle in (PROC / str(pid) / "fd").iterdir():
        try:
            own.add(str(handle.readlink()))
        except OSError:  # closed in the meantime
            continue
    rows = [
        row.split()
        for kind in ("tcp", "tcp6")
        for row in (PROC / str(pid) / "net" / kind).read_text().splitlines()[1:]
    ]
    return {_address(row[1]) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own}


def _address(told: str) -> str:
    """Of the kernel's form: words of four bytes, each the other way round."""
    words = bytes.fromhex(told.partition(":")[0])
    text = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    if len(text) == 4:
        return socket.inet_ntop(socket.AF_INET, text)
    return socket.inet_ntop(socket.AF_INET6, text).removeprefix("::ffff:")


def _fields(pid: int) -> list[str]:
    """State, parent and so on; nothing for a process that is not there."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
