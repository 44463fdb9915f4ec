"""Files that a reader sees whole or not at all. Knows bytes and a path, not what they mean."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` in place of what is there, making the folder where it is missing.

    After a power cut the file may be damaged: nothing waits for the disk, so this is for what can
    be made anew.

    Raises:
        OSError: the folder cannot be written; what was there is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    new = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        new.chmod(0o644)  # the temporary file is the owner's alone
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
