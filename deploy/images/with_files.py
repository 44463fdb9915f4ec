#!/usr/local/bin/python3 -I
"""with-files COMMAND...: become COMMAND, each variable X_FILE replaced by X, the text of its file.

For programs that read secrets from variables only; our own read `_FILE` variables themselves.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

SUFFIX = "_FILE"


def opened(environment: Mapping[str, str]) -> dict[str, str]:
    """The same variables, those that name a file replaced by what it holds.

    Raises:
        OSError: a file cannot be read.
    """
    files = {name: path for name, path in environment.items() if name.endswith(SUFFIX) and path}
    plain = {name: text for name, text in environment.items() if name not in files}
    read = {name.removesuffix(SUFFIX): Path(path).read_text() for name, path in files.items()}
    return plain | {name: text.strip() for name, text in read.items()}


def main() -> int:
    """Replace this process; come back only where that fails, with exit status 2."""
    if len(sys.argv) < 2:
        print("with-files: name a command", file=sys.stderr)
        return 2
    try:
        os.execvpe(sys.argv[1], sys.argv[1:], opened(os.environ))
    except OSError as error:
        print(f"with-files: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
