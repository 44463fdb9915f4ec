#!/usr/local/bin/python3 -I
"""with-files NAMES COMMAND...: become COMMAND, each X of NAMES (comma between) read from X_FILE.

For programs that read secrets from variables only; our own read `_FILE` variables themselves.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def opened(names: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The same variables, and of the names those that have a file read from it.

    Raises:
        OSError: a file cannot be read.
    """
    files = {name: environment.get(f"{name}_FILE") for name in names}
    read = {name: Path(path).read_text().strip() for name, path in files.items() if path}
    return {**environment, **read}


def main() -> int:
    """Replace this process; come back only where that fails, with exit status 2."""
    if len(sys.argv) < 3:
        print("with-files: give NAME[,NAME] and a command", file=sys.stderr)
        return 2
    names, command = sys.argv[1].split(","), sys.argv[2:]
    try:
        os.execvpe(command[0], command, opened(names, os.environ))
    except OSError as error:
        print(f"with-files: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
