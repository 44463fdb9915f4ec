"""The cache on disk: never a CSV under another's description, whatever is killed or edited."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from contracts import SourceUnavailable
from generate_synthetic_data import generate_synthetic_stock_data
from prices.cache import Label, Shelf
from prices.formats import sha256_of, to_csv_bytes

ROOT = Path(__file__).resolve().parent.parent
SHORT = generate_synthetic_stock_data("AAPL", "2025-01-01", "2025-02-28", None)
LONG = generate_synthetic_stock_data("AAPL", "2025-01-01", "2025-12-31", None, "bull")
FROM_FILE = Label(
    source="file",
    adjustment="split+dividend",
    fetched_at=datetime(2025, 3, 1, tzinfo=UTC),
    notes=("1 repeated rows dropped",),
    details={"file": "x.csv"},
)
FROM_YAHOO = Label(
    source="yfinance", adjustment="split", fetched_at=datetime(2026, 1, 1, tzinfo=UTC)
)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "raw", "raw", adopts="file")


def test_an_empty_shelf_has_nothing(shelf):
    assert shelf.get("AAPL") is None and not shelf.folder.exists()


def test_what_is_put_comes_back_bit_for_bit_with_its_label(shelf):
    shelf.put("AAPL", SHORT, FROM_FILE)
    stored = shelf.get("AAPL")
    pd.testing.assert_frame_equal(stored.bars, SHORT, check_exact=True)
    assert stored.label == FROM_FILE
    assert stored.data == shelf.csv_path("AAPL").read_bytes() == to_csv_bytes(SHORT)


def test_the_sidecar_says_all_there_is_to_say(shelf):
    shelf.put("AAPL", SHORT, FROM_FILE)
    assert json.loads((shelf.folder / "AAPL_raw.json").read_text()) == {
        "source": "file",
        "adjustment": "split+dividend",
        "fetched_at": "2025-03-01T00:00:00+00:00",
        "first_session": "2025-01-02",
        "last_session": "2025-02-28",
        "rows": 39,
        "sha256": sha256_of((shelf.folder / "AAPL_raw.csv").read_bytes()),
        "notes": ["1 repeated rows dropped"],
        "details": {"file": "x.csv"},
    }


def test_a_reader_cannot_spoil_what_the_next_reader_gets(shelf):
    shelf.put("AAPL", SHORT, FROM_FILE)
    shelf.get("AAPL").bars["Close"] = 0.0
    pd.testing.assert_frame_equal(shelf.get("AAPL").bars, SHORT, check_exact=True)


@pytest.mark.parametrize("ticker", ["^GSPC", "0700.HK", "EURUSD=X", "BRK-B"])
def test_tickers_do_not_share_a_file(shelf, ticker):
    shelf.put("AAPL", SHORT, FROM_FILE)
    shelf.put(ticker, LONG, FROM_YAHOO)
    assert len(shelf.get("AAPL").bars) == len(SHORT) and len(shelf.get(ticker).bars) == len(LONG)


def test_a_prefix_has_the_hash_of_its_own_canonical_bytes(shelf):
    whole = shelf.put("AAPL", LONG, FROM_YAHOO)
    early = whole.through(date(2025, 6, 8))  # a Sunday
    assert early.last == date(2025, 6, 6)
    assert early.provenance().sha256 == sha256_of(to_csv_bytes(early.bars))
    assert whole.through(date(2025, 12, 31)) is whole


def test_killed_between_the_two_replaces_the_old_bars_keep_their_own_label(shelf):
    shelf.put("AAPL", SHORT, FROM_FILE)
    before = shelf.csv_path("AAPL").read_bytes()
    shelf.put("AAPL", LONG, FROM_YAHOO)
    shelf.csv_path("AAPL").write_bytes(before)  # the disk after a kill: new sidecar, old CSV
    stored = shelf.get("AAPL")
    assert stored.label == FROM_FILE and len(stored.bars) == len(SHORT)
    shelf.put("AAPL", LONG, FROM_YAHOO)
    assert shelf.get("AAPL").label == FROM_YAHOO


def test_a_reader_beside_a_busy_writer_never_sees_a_mixture(shelf):
    shelf.put("AAPL", SHORT, FROM_FILE)
    done = threading.Event()

    def write() -> None:
        for turn in range(60):
            shelf.put("AAPL", *((LONG, FROM_YAHOO) if turn % 2 else (SHORT, FROM_FILE)))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        stored = shelf.get("AAPL")
        seen.add((len(stored.bars), stored.label.source, stored.label.notes))
    writer.join()
    assert seen <= {(len(SHORT), "file", FROM_FILE.notes), (len(LONG), "yfinance", ())}


WRITER = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from test_prices_cache import FROM_FILE, FROM_YAHOO, LONG, SHORT
from prices.cache import Shelf
shelf = Shelf(Path({folder!r}), "raw", adopts="file")
print("writing", flush=True)
while True:
    with shelf.locked("AAPL"):
        shelf.put("AAPL", SHORT, FROM_FILE)
        shelf.put("AAPL", LONG, FROM_YAHOO)
"""


def test_writers_killed_at_any_moment_leave_one_whole_generation(shelf):
    shelf.put("AAPL", SHORT, FROM_FILE)
    code = WRITER.format(root=str(ROOT), tests=str(ROOT / "tests"), folder=str(shelf.folder))
    for attempt in range(4):
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        with writer:
            assert writer.stdout.readline() == "writing\n"
            time.sleep(0.05 + 0.013 * attempt)  # wherever it happens to be
            writer.send_signal(signal.SIGKILL)
        stored = shelf.get("AAPL")
        kinds = {(len(SHORT), "file"): FROM_FILE, (len(LONG), "yfinance"): FROM_YAHOO}
        assert stored.label == kinds[len(stored.bars), stored.label.source]
    with shelf.locked("AAPL", seconds=5):  # a dead process holds no lock
        shelf.put("AAPL", LONG, FROM_YAHOO)


def test_one_process_writes_at_a_time(shelf):
    with shelf.locked("AAPL"):
        with pytest.raises(SourceUnavailable, match="another process"), shelf.locked("AAPL", 0):
            pass
        with shelf.locked("MSFT", 0):
            assert shelf.csv_path("MSFT").with_suffix(".lock").exists()
    with shelf.locked("AAPL", 0):
        assert shelf.get("AAPL") is None


def test_bars_changed_by_hand_are_noticed_and_called_a_file(shelf, caplog):
    shelf.put("AAPL", SHORT, FROM_YAHOO)
    path = shelf.csv_path("AAPL")
    path.write_text(path.read_text().replace("2025-01-02", "2025-01-01"))
    with caplog.at_level(logging.WARNING):
        stored = shelf.get("AAPL")
    assert (stored.label.source, stored.label.adjustment) == ("file", "split")
    assert stored.label.notes[0] == "changed by hand since it was written"
    assert stored.first == date(2025, 1, 1)
    assert "cache_changed_by_hand" in caplog.text


def test_a_file_put_there_without_a_sidecar_is_taken_as_a_users(shelf):
    shelf.folder.mkdir(parents=True)
    shelf.csv_path("AAPL").write_bytes(to_csv_bytes(SHORT))
    assert shelf.get("AAPL").label.source == "file"


def test_a_sidecar_changed_by_hand_describes_nothing(shelf):
    shelf.put("AAPL", SHORT, FROM_YAHOO)
    sidecar = shelf.sidecar_path("AAPL")
    sidecar.write_text(sidecar.read_text().replace("yfinance", "my broker"))
    assert shelf.get("AAPL").label.source == "file"


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: b"", "is empty"),
        (lambda data: data[: len(data) // 2], "is cut off"),
        (lambda data: b"\x00" * 100 + b"\n", "no column"),
        (lambda data: data.replace(b"2025-01-02", b"soon"), "is not like 2020-01-31"),
    ],
    ids=["empty", "cut off", "zeroes", "text"],
)
def test_damaged_bars_are_set_aside_not_deleted(shelf, caplog, damage, why):
    shelf.put("AAPL", SHORT, FROM_YAHOO)
    path = shelf.csv_path("AAPL")
    for name in ("AAPL_raw.csv.bad", "AAPL_raw.csv.bad2"):  # twice: the first one stays too
        damaged = damage(to_csv_bytes(SHORT))
        path.write_bytes(damaged)
        with caplog.at_level(logging.WARNING):
            assert shelf.get("AAPL") is None
        assert path.with_name(name).read_bytes() == damaged and not path.exists()
    assert "cache_bad" in caplog.text and why in caplog.text


def test_a_place_that_cannot_be_a_folder_is_said_plainly(tmp_path):
    (tmp_path / "raw").write_text("a file")
    shelf = Shelf(tmp_path / "raw", "raw", adopts="file")
    with pytest.raises(SourceUnavailable, match="cannot be written"), shelf.locked("AAPL"):
        pass


def test_a_failed_write_leaves_what_was_there_and_no_rubbish(shelf):
    shelf.put("AAPL", SHORT, FROM_FILE)
    (shelf.folder / "MSFT_raw.csv").mkdir()  # takes the name MSFT's bars should get
    with pytest.raises(SourceUnavailable):
        shelf.put("MSFT", SHORT, FROM_FILE)
    assert not list(shelf.folder.glob(".*"))
    assert shelf.get("AAPL").label == FROM_FILE
