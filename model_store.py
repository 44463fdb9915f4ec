"""The only door to bundles on disk: write, verify, publish, roll back. Knows no MLflow, no Keras.

A bundle is a folder `AAPL_lstm_20260117_225254` of plain data with a manifest of SHA-256 sums.
The champion of a ticker is a pointer file that is replaced in one step, so a reader sees the
old one or the new one. `python model_store.py check` says which configured tickers have one.
"""

from __future__ import annotations

import argparse
import glob
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from contracts import BadBundle, Champion, ForecastingError, ModelCard, WalkForward

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
CARD = "card.json"
NETWORK = "model.onnx"
WEIGHTS = "model.weights.h5"
REFERENCE = "reference.csv"
WALK = "walkforward.json"  # every model's scores by step; bundles of earlier versions have none
TEMPLATES = "templates.npy"  # joint errors of past forecasts, bands.templates; float16, no pickle
PointerMark = tuple[int, int]  # of a pointer file: it is replaced, never changed in place
BUNDLE_NAME = re.compile(r"^[A-Z0-9.^=\-]+_lstm_\d{8}_\d{6}$")
CARD_FORM: TypeAdapter[ModelCard] = TypeAdapter(ModelCard)
WALK_FORM: TypeAdapter[WalkForward] = TypeAdapter(WalkForward)


@dataclass(frozen=True, slots=True)
class Published:
    """The champion of a ticker, with the folder it lies in."""

    version: str
    bundle: str
    path: Path
    card: ModelCard

    def champion(self) -> Champion:
        """The same without the folder, for those who must not know files."""
        return Champion(version=self.version, bundle=self.bundle, card=self.card)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reign:
    """One entry of a ticker's pointer: which bundle was published, and when."""

    version: str
    bundle: str
    published_at: datetime  # UTC
    alias_left_at: str | None = None  # what MLflow's alias named when it could not be moved


def card_json(card: ModelCard) -> bytes:
    """The card as it is stored: indented JSON, ISO dates."""
    return CARD_FORM.dump_json(card, indent=2) + b"\n"


def walk_json(walk: WalkForward) -> bytes:
    """The walk-forward table as it is stored."""
    return WALK_FORM.dump_json(walk, indent=2) + b"\n"


def verify(folder: Path) -> None:
    """Hold every file of a bundle against its manifest.

    Raises:
        BadBundle: a file is missing, altered or extra.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
        present = {item.name for item in folder.iterdir()} - {MANIFEST}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadBundle(f"{folder.name}: no readable manifest ({type(error).__name__})") from error
    if present != set(manifest) or not {CARD, NETWORK} <= present:
        raise BadBundle(f"{folder.name}: files differ from the manifest; train it again")
    for name, digest in manifest.items():
        if not (folder / name).is_file() or _digest(folder / name) != digest:
            raise BadBundle(f"{folder.name}: {name} was altered after training; train it again")


def fill(folder: Path, files: Mapping[str, Path | bytes]) -> None:
    """Write files and their manifest into an empty folder, durably."""
    for name, content in files.items():
        _write_durably(folder / name, content)
    sums = {name: _digest(folder / name) for name in sorted(files)}
    _write_durably(folder / MANIFEST, _json({"files": sums}))


def read_card(folder: Path) -> ModelCard:
    """Verify every file of a bundle against its manifest, then read its card.

    Raises:
        BadBundle: a file is missing, altered or extra, or the card does not parse.
    """
    verify(folder)
    try:
        return CARD_FORM.validate_json((folder / CARD).read_bytes())
    except ValidationError as error:
        raise BadBundle(f"{folder.name}: {CARD} is not a card of this version") from error


def read_walk(folder: Path) -> WalkForward | None:
    """The walk-forward table of a verified bundle; None where it was made without one.

    Raises:
        BadBundle: the table does not parse.
    """
    try:
        return WALK_FORM.validate_json((folder / WALK).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise BadBundle(f"{folder.name}: {WALK} is not a table of this version") from error


class ModelStore:
    """The models folder: bundles side by side, a pointer file per ticker under `champions/`."""

    def __init__(self, models_dir: Path) -> None:
        self.models_dir = models_dir
        self._pointers = models_dir / "champions"

    def write(self, ticker: str, at: datetime, files: Mapping[str, Path | bytes]) -> Path:
        """Store a new bundle whole or not at all, under the first free second from `at` on.

        Args:
            ticker: symbol the bundle is for.
            at: UTC time that names the folder.
            files: name to content; CARD and NETWORK must be among them.

        Returns:
            The bundle's folder.
        """
        self.models_dir.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self.models_dir))
        try:
            fill(draft, files)
            draft.chmod(0o755)
            with self.lock("bundles"):
                folder = self._free_name(ticker, at)
                draft.rename(folder)
            _sync_folder(self.models_dir)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return folder

    def _free_name(self, ticker: str, at: datetime) -> Path:
        while (folder := self.models_dir / f"{ticker}_lstm_{at:%Y%m%d_%H%M%S}").exists():
            at += timedelta(seconds=1)
        return folder

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """One holder at a time across processes, per ticker or for the whole folder."""
        folder = self.models_dir / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            yield

    def publish(self, ticker: str, folder: Path, version: str) -> Published:
        """Make a verified bundle the champion; the former one stays in the pointer's history."""
        card = read_card(folder)
        with self.lock(f"{ticker}.pointer"):
            pointer = self._pointer(ticker)
            row = {
                "bundle": folder.name,
                "version": version,
                "published_at": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            self._point(ticker, [*pointer, row])
        log.info("published ticker=%s version=%s bundle=%s", ticker, version, folder.name)
        return Published(version, folder.name, folder, card)

    def former(self, ticker: str) -> Published:
        """The champion before the present one, verified.

        Raises:
            BadBundle: there is none, or it no longer verifies.
        """
        pointer = self._pointer(ticker)
        if len(pointer) < 2:
            raise BadBundle(f"{ticker} has no earlier champion to return to")
        return self._resolve(pointer[-2])

    def rollback(self, ticker: str, *, alias_moved: bool = True) -> Published:
        """Return to the champion before the present one.

        Args:
            ticker: whose.
            alias_moved: False where MLflow could not be told; the pointer then says what its
                alias still names, so that a later sync moves that and not the pointer.

        Raises:
            BadBundle: there is none, or it no longer verifies; the present one stays.
        """
        with self.lock(f"{ticker}.pointer"):
            former = self.former(ticker)
            *earlier, newest, left = self._pointer(ticker)
            if not alias_moved:
                newest = {**newest, "alias_left_at": left.get("alias_left_at", left["version"])}
            self._point(ticker, [*earlier, newest])
        return former

    def alias_told(self, ticker: str) -> None:
        """Note that MLflow's alias names the champion again."""
        with self.lock(f"{ticker}.pointer"):
            *earlier, newest = self._pointer(ticker)
            kept = {name: value for name, value in newest.items() if name != "alias_left_at"}
            self._point(ticker, [*earlier, kept])

    def reigns(self, ticker: str) -> tuple[Reign, ...]:
        """Every bundle that was published and not rolled back, the newest last; none if none was.

        Raises:
            BadBundle: the pointer is unreadable.
        """
        return tuple(
            Reign(
                version=row["version"],
                bundle=row["bundle"],
                published_at=datetime.fromisoformat(row["published_at"]),
                alias_left_at=row.get("alias_left_at"),
            )
            for row in self._pointer(ticker)
        )

    def bundle(self, name: str) -> Path | None:
        """The folder of a bundle that is here, not yet verified; None for any other name."""
        folder = self.models_dir / name
        return folder if BUNDLE_NAME.match(name) and folder.is_dir() else None

    def bundles(self, ticker: str) -> tuple[Path, ...]:
        """Every bundle of a ticker that is here, the oldest name first; none is verified."""
        found = sorted(self.models_dir.glob(f"{glob.escape(ticker)}_lstm_*"))
        return tuple(folder for folder in found if BUNDLE_NAME.match(folder.name))

    def discard(self, folder: Path) -> None:
        """Delete a bundle: first its name, so that nobody meets half of one, then its files."""
        trash = Path(tempfile.mkdtemp(prefix=".draft-", dir=self.models_dir))
        folder.rename(trash / folder.name)
        shutil.rmtree(trash)

    def adopt(self, ticker: str, folder: Path) -> Path:
        """Take a bundle that lies elsewhere into the store, under the time it was trained at.

        Raises:
            BadBundle: it does not verify, or is another ticker's; nothing is kept then.
        """
        card = read_card(folder)
        if card.ticker != ticker:
            raise BadBundle(f"{folder.name} is a model of {card.ticker}, not {ticker}")
        names = [item.name for item in folder.iterdir() if item.name != MANIFEST]
        return self.write(ticker, card.trained_at, {name: folder / name for name in names})

    def champion(self, ticker: str) -> Published | None:
        """The published bundle, verified; None where the ticker has none.

        Raises:
            BadBundle: the pointer or the bundle was altered or is gone.
        """
        pointer = self._pointer(ticker)
        return self._resolve(pointer[-1]) if pointer else None

    def tickers(self) -> tuple[str, ...]:
        """Every ticker with a champion, sorted."""
        return tuple(sorted(p.stem for p in (self.models_dir / "champions").glob("*.json")))

    def pointer_path(self, ticker: str) -> Path:
        """The file that names the champion; its change is the sign of a promotion."""
        return self._pointers / f"{ticker}.json"

    def pointer_mark(self, ticker: str) -> PointerMark | None:
        """Another one after every promotion and rollback; None without a champion."""
        try:
            # a Path takes several times as long as the look, of which a batch takes a hundred
            facts = os.stat(f"{self._pointers}/{ticker}.json")  # noqa: PTH116
        except OSError:
            return None
        return facts.st_mtime_ns, facts.st_ino

    def _pointer(self, ticker: str) -> list[dict[str, Any]]:
        try:
            rows: list[dict[str, Any]] = json.loads(self.pointer_path(ticker).read_bytes())
            assert_pointer(rows)
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError) as error:
            raise BadBundle(f"{ticker}: its champion pointer is unreadable; train again") from error
        return rows

    def _point(self, ticker: str, rows: list[dict[str, Any]]) -> None:
        path = self.pointer_path(ticker)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_durably(draft := path.with_suffix(".json.tmp"), _json(rows))
        draft.replace(path)
        _sync_folder(path.parent)

    def _resolve(self, row: Mapping[str, Any]) -> Published:
        folder = self.models_dir / row["bundle"]
        return Published(row["version"], row["bundle"], folder, read_card(folder))


def assert_pointer(rows: object) -> None:
    """A pointer is a list of champions, newest last, each naming a bundle below the folder."""
    if not isinstance(rows, list) or not rows:
        raise ValueError("a pointer is a list with at least one champion")
    for row in rows:
        if not BUNDLE_NAME.match(row["bundle"]) or not isinstance(row["version"], str):
            raise ValueError(f"no bundle is called {row['bundle']!r}")


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_durably(path: Path, content: Path | bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content if isinstance(content, bytes) else content.read_bytes())
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def main(argv: list[str] | None = None) -> int:
    """Say which champion each configured ticker has; exit 1 while one has none."""
    from config import get_settings

    parser = argparse.ArgumentParser(prog="model_store.py", description=main.__doc__)
    parser.add_argument("command", choices=["check"], help="verify every champion")
    parser.parse_args(argv)
    try:
        settings = get_settings()
    except ForecastingError as error:
        print(f"model_store.py: {error}", file=sys.stderr)
        return 2
    rows = {ticker: _status(ModelStore(settings.models_dir), ticker) for ticker in settings.tickers}
    for ticker, (_, text) in rows.items():
        print(f"{ticker:8} {text}")
    return 0 if all(ready for ready, _ in rows.values()) else 1


def _status(store: ModelStore, ticker: str) -> tuple[bool, str]:
    try:
        champion = store.champion(ticker)
    except BadBundle as error:
        return False, str(error)
    if champion is None:
        return False, "no champion yet"
    data = champion.card.data.source
    return True, f"version {champion.version}  {champion.bundle}  trained on {data} prices"


if __name__ == "__main__":
    sys.exit(main())
