"""The cache on disk: never a CSV under another's description, whatever is killed or edited."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import threading
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from contracts import Finding, SourceUnavailable
from generate_synthetic_data import generate_synthetic_stock_data
from prices.cache import Label, Shelf
from prices.findings import Report
from prices.formats import sha256_of, to_csv_bytes

ROOT = Path(__file__).resolve().parent.parent
SHORT = generate_synthetic_stock_data("AAPL", "2025-01-01", "2025-02-28", None)
LONG = generate_synthetic_stock_data("AAPL", "2025-01-01", "2025-12-31", None, "bull")
FROM_FILE = Label(
    source="file",
    adjustment="split+dividend",
    fetched_at=datetime(2025, 3, 1, tzinfo=UTC),
    report=Report.of(
        [
            Finding(code="repeated_row", date=date(2025, 1, 8), action="dropped", text="again"),
            Finding(code="large_move", date=date(2025, 2, 3), action="kept", text="wild"),
        ]
    ),
    details={"file": "x.csv"},
)
FROM_YAHOO = Label(
    source="yfinance", adjustment="split", fetched_at=datetime(2026, 1, 1, tzinfo=UTC)
)

MOVED = {"extra_session": 1, "missing_session": 1}  # the bar of January 2 says January 1


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
        "findings": {
            "counts": {"large_move": 1, "repeated_row": 1},
            "first": [
                {
                    "code": "repeated_row",
                    "date": "2025-01-08",
                    "action": "dropped",
                    "text": "again",
                },
                {"code": "large_move", "date": "2025-02-03", "action": "kept", "text": "wild"},
            ],
        },
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


def test_findings_of_later_days_are_not_told_of_a_prefix(shelf):
    january = shelf.put("AAPL", SHORT, FROM_FILE).through(date(2025, 1, 31)).provenance()
    assert january.findings == {"repeated_row": 1}
    assert shelf.get("AAPL").provenance().findings == {"large_move": 1, "repeated_row": 1}


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
        seen.add((len(stored.bars), stored.label.source, str(stored.label.report)))
    writer.join()
    assert seen <= {
        (len(SHORT), "file", "large_move=1 repeated_row=1"),
        (len(LONG), "yfinance", "none"),
    }


@pytest.mark.parametrize("kills", [25, pytest.param(400, marks=pytest.mark.long)])
def test_writers_killed_at_any_moment_leave_one_whole_generation(shelf, kills):
    shelf.put("AAPL", SHORT, FROM_FILE)
    script = Path(__file__).with_name("kill_writers.py")
    run = subprocess.run(
        [sys.executable, script, shelf.folder, str(kills)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert seen["wrong"] == [] and seen["kills"] == kills
    assert seen["short"] + seen["long"] == kills and min(seen["short"], seen["long"]) > 0
    assert seen["in the midst"] > 0, "no kill fell between a draft and its name"
    assert not list(shelf.folder.glob("*.bad*"))
    with shelf.locked("AAPL", seconds=5):  # a dead process holds no lock
        shelf.put("AAPL", LONG, FROM_YAHOO)
    assert {path.name for path in shelf.folder.iterdir()} == {
        *("AAPL_raw.csv", "AAPL_raw.json", "AAPL_raw.lock")
    }


# The disk is full: the kernel refuses to let any file of this process grow beyond `limit` bytes.
FULL = """
import resource, sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from test_prices_cache import FROM_YAHOO, LONG
from contracts import SourceUnavailable
from prices.cache import Shelf
shelf = Shelf(Path({folder!r}), "raw", adopts="file")
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    with shelf.locked("AAPL"):
        shelf.put("AAPL", LONG, FROM_YAHOO)
except SourceUnavailable as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 100, 1000, 10_000])
def test_a_full_disk_loses_nothing(shelf, limit):
    shelf.put("AAPL", SHORT, FROM_FILE)
    before = {path.name: path.read_bytes() for path in shelf.folder.iterdir()}
    assert len(to_csv_bytes(LONG)) > 10_000
    code = FULL.format(
        root=str(ROOT), tests=str(ROOT / "tests"), folder=str(shelf.folder), limit=limit
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "cannot be written" in run.stdout and "File too large" in run.stdout, run.stderr
    after = {path.name: path.read_bytes() for path in shelf.folder.iterdir()}
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) <= {"AAPL_raw.lock"}
    assert shelf.get("AAPL").label == FROM_FILE


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
    assert dict(stored.label.report.counts) == {"edited_by_hand": 1, **MOVED}
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
        (lambda data: re.sub(rb"2025-\d\d-", b"soon", data), "is not like 2020-01-31"),
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


def test_damage_seen_while_another_writes_is_left_to_the_writer(shelf, caplog):
    shelf.put("AAPL", SHORT, FROM_YAHOO)
    path = shelf.csv_path("AAPL")
    path.write_bytes(b"")
    with shelf.locked("AAPL"):
        assert shelf.get("AAPL") is None and path.exists()
        shelf.put("AAPL", LONG, FROM_YAHOO)
    assert shelf.get("AAPL").label == FROM_YAHOO
    assert path.with_name("AAPL_raw.csv.bad").exists(), "nothing is ever deleted"


def test_bars_changed_by_hand_are_judged_once_not_at_every_request(shelf, monkeypatch):
    shelf.put("AAPL", SHORT, FROM_YAHOO)
    path = shelf.csv_path("AAPL")
    path.write_text(path.read_text().replace("2025-01-02", "2024-12-31"))
    first = shelf.get("AAPL")
    monkeypatch.setattr("prices.cache.check_bars", None)
    first.bars["Close"] = 0.0  # a reader's business only
    assert (shelf.get("AAPL").bars["Close"] > 0).all()


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
