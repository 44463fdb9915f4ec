"""Folders that last as long as this process: one that is killed leaves its to the next.

Knows nothing of what is put there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def own_folder(prefix: str, longest: int | None = None) -> Iterator[Path]:
    """An empty folder of the system's temporary ones, removed at the end.

    Those of processes that are gone are removed first.

    Args:
        prefix: of its name; the process id follows.
        longest: characters of the path above it; a longer one is passed over for /tmp.
    """
    place = Path(tempfile.gettempdir())
    if longest is not None and len(str(place)) > longest:
        place = Path("/tmp")
    for left in place.glob(f"{prefix}*-*"):
        if not _lives(left.name.removeprefix(prefix).partition("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lives(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, PermissionError):  # no process id, or somebody else's
        return True
    return True
