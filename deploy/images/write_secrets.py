#!/usr/local/bin/python3 -I
"""Write random passwords on the first start, and the addresses that hold them: /secrets by default.

A password that is there is never replaced; addresses are written anew from the passwords. Each
folder is a volume of its own and is mounted only where it is needed: that, not the mode of a file,
keeps the others out, since each reader runs as another user.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

PASSWORDS = ("db/admin", "db/stock", "db/mlflow", "grafana/admin_password")
ADDRESSES = {
    "stock/database_url": ("db/stock", "postgresql+psycopg://stock:{}@db:5432/forecasts"),
    "mlflow/database_url": ("db/mlflow", "postgresql+psycopg://mlflow:{}@db:5432/mlflow"),
}


def fill(folder: Path) -> list[str]:
    """Make what is missing; give the names of what was written, never what it says."""
    fresh = [name for name in PASSWORDS if not (folder / name).exists()]
    _write(folder, {name: secrets.token_urlsafe(32) for name in fresh})
    due = {
        name: form.format((folder / source).read_text())
        for name, (source, form) in ADDRESSES.items()
    }
    changed = {name: text for name, text in due.items() if _read(folder / name) != text}
    _write(folder, changed)
    return [*fresh, *changed]


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    """Each file whole or not at all."""
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with draft.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o444)
        draft.replace(path)


def main(argv: list[str] | None = None) -> int:
    """Fill the folder named, or /secrets. Exit 1 where it cannot be written."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        written = fill(Path(arguments[0] if arguments else "/secrets"))
    except OSError as error:
        print(f"write_secrets: {error}", file=sys.stderr)
        return 1
    print(f"written: {', '.join(written) or 'nothing, all are there'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
