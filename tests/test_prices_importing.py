"""A folder of price files into the cache: in parallel, resumable, each refusal in words."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from project import ROOT, Project

from contracts import BadPrices, InvalidTicker
from data_pipeline import StockDataPipeline, import_file, main, real_shelf
from generate_synthetic_data import Split, as_traded, generate_synthetic_stock_data
from prices.importing import files_in, import_files, import_folder, ticker_of

BARS = generate_synthetic_stock_data("AAPL", "2023-01-01", "2024-12-31", None, "calm")
TEXT = BARS.to_csv(index=False)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two good files, one that is no table and one whose name is no symbol."""
    place = tmp_path / "exports"
    place.mkdir()
    (place / "AAPL.csv").write_text(TEXT)
    (place / "brk-b.csv.gz").write_bytes(gzip.compress(TEXT.encode()))
    (place / "MSFT.csv").write_text("<html>sorry</html>")
    (place / "my prices.csv").write_text(TEXT)
    (place / "notes.txt").write_text("not looked at")
    return place


def states(outcomes) -> dict[str, str]:
    return {outcome.path.name: outcome.state for outcome in outcomes}


def test_a_folder_is_imported_and_each_refusal_said(settings, folder, capsys):
    assert main(["import", "--dir", str(folder)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "4 files: 2 imported, 0 skipped, 2 refused"
    assert told[1].startswith("MSFT.csv: MSFT.csv is a web page")
    assert told[2].startswith("my prices.csv: 'my prices' is not a ticker symbol")
    assert len(told) == 3
    assert StockDataPipeline("BRK-B", settings).read().provenance.rows == len(BARS)
    assert not real_shelf(settings).csv_path("MSFT").exists()


def test_a_folder_gives_the_same_cache_as_one_file_at_a_time(settings, folder):
    import_folder(real_shelf(settings), folder)
    together = real_shelf(settings).csv_path("AAPL").read_bytes()
    import_file("AAPL", folder / "AAPL.csv", settings)
    assert real_shelf(settings).csv_path("AAPL").read_bytes() == together


def test_what_came_from_the_same_bytes_is_skipped_and_what_changed_is_not(settings, folder):
    import_file("AAPL", folder / "AAPL.csv", settings)
    first = states(import_folder(real_shelf(settings), folder))
    assert (first["AAPL.csv"], first["brk-b.csv.gz"]) == ("skipped", "imported")
    (folder / "AAPL.csv").write_text("".join(TEXT.splitlines(keepends=True)[:-1]))
    second = states(import_folder(real_shelf(settings), folder))
    assert (second["AAPL.csv"], second["brk-b.csv.gz"]) == ("imported", "skipped")
    assert StockDataPipeline("AAPL", settings).read().provenance.rows == len(BARS) - 1


def test_another_reading_of_the_same_bytes_is_no_repetition(settings, folder):
    shelf, files = real_shelf(settings), [folder / "AAPL.csv"]
    outcomes = [
        next(iter(import_files(shelf, files, adjustment, processes=1))).state
        for adjustment in (None, "split", "split+dividend")
    ]
    assert outcomes == ["imported", "skipped", "imported"]


def test_bars_changed_by_hand_are_imported_again(settings, folder):
    import_file("AAPL", folder / "AAPL.csv", settings)
    path = real_shelf(settings).csv_path("AAPL")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-5]))
    assert states(import_folder(real_shelf(settings), folder))["AAPL.csv"] == "imported"
    assert StockDataPipeline("AAPL", settings).read().provenance.rows == len(BARS)


def test_two_files_for_one_ticker_are_both_refused(settings, folder):
    (folder / "aapl.CSV.gz").write_bytes(gzip.compress(TEXT.encode()))
    told = states(import_folder(real_shelf(settings), folder))
    assert told["AAPL.csv"] == told["aapl.CSV.gz"] == "refused"
    assert not real_shelf(settings).csv_path("AAPL").exists()


def test_the_answer_can_be_had_as_json(settings, folder, capsys):
    assert main(["import", "--dir", str(folder), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["imported"], told["skipped"], told["refused"]) == (2, 0, 2)
    assert set(told["refusals"]) == {"MSFT.csv", "my prices.csv"}


def test_a_split_in_raw_prices_is_undone_on_the_way_in(settings, tmp_path):
    raw = as_traded(BARS, [Split(BARS["Date"][200].date(), 4)])
    raw.to_csv(tmp_path / "AAPL.csv", index=False)
    prices = import_file("AAPL", tmp_path / "AAPL.csv", settings)
    assert prices.provenance.adjustment == "split"
    assert prices.bars["Close"].to_numpy() == pytest.approx(BARS["Close"].to_numpy(), rel=1e-12)


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_files_is_said_in_one_line(settings, tmp_path, capsys, name):
    (tmp_path / "empty").mkdir()
    assert main(["import", "--dir", str(tmp_path / name)]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 and name in told.err


@pytest.mark.parametrize("wish", [["AAPL"], [], ["AAPL", "a.csv", "--dir", "b"]])
def test_a_file_or_a_folder_but_not_half_of_either(settings, capsys, wish):
    with pytest.raises(SystemExit) as end:
        main(["import", *wish])
    assert end.value.code == 2
    assert "a ticker and its file, or --dir" in capsys.readouterr().err


def test_a_name_without_a_symbol_is_refused(tmp_path):
    assert ticker_of(tmp_path / "brk-b.CSV.GZ") == "BRK-B"
    with pytest.raises(InvalidTicker):
        ticker_of(tmp_path / ".csv")
    with pytest.raises(BadPrices, match="no file named like"):
        files_in(tmp_path)


MANY = 500  # files; a busy machine may look away for a second


def children_of(process: int) -> list[int]:
    """Processes started by one; Linux only."""
    listed = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(child) for child in listed]


def gone(process: int) -> bool:
    """Whether a process has ended, though perhaps nobody has asked how."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def many(tmp_path) -> Project:
    """A project beside a folder of so many files that an import of them can be interrupted."""
    (tmp_path / "exports").mkdir()
    for number in range(MANY):
        (tmp_path / "exports" / f"T{number}.csv").write_text(TEXT)
    return Project(tmp_path, {"STOCK_TICKERS": "AAPL"})


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_import_that_is_ended_leaves_nothing_running_and_goes_on_later(many, how):
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "data_pipeline.py"), "import", "--dir", "exports"],
        cwd=many.folder,
        env=many.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # a shell that starts the tests in the background has Ctrl-C ignored by all of them
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    written = many.folder / "data" / "raw"
    wait_until(lambda: any(written.glob("*.csv")))
    workers = children_of(process.pid)
    os.kill(process.pid, how)
    assert process.wait(60) != 0
    wait_until(lambda: all(gone(worker) for worker in workers))
    done = {path.name.split("_")[0] for path in written.glob("*.csv")}
    left = [path for path in (many.folder / "exports").iterdir() if path.stem not in done]
    assert left, "it had ended already"
    for path in left[20:]:  # a few show as well as hundreds that it goes on
        path.unlink()
    run = many.command("data_pipeline.py", "import", "--dir", "exports", "--json")
    told = json.loads(run.stdout)
    assert run.returncode == 0
    assert told["imported"] + told["skipped"] == len(done) + len(left[:20])
    assert told["skipped"] >= len(done) - 2  # at most what each worker had in hand


def wait_until(true) -> None:
    """Look again for at most a minute."""
    for _ in range(6000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it has not come to that within a minute")
