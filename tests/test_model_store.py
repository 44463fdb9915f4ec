"""Bundles on disk: whole or absent, verified, published in one step."""

import json
import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import card

from contracts import BadBundle
from model_store import CARD, MANIFEST, NETWORK, ModelStore, card_json, main, read_card

AT = datetime(2026, 1, 17, 22, 52, 54, tzinfo=UTC)


@pytest.fixture
def store(tmp_path) -> ModelStore:
    return ModelStore(tmp_path / "models")


def write(store: ModelStore, ticker: str = "AAPL") -> Path:
    return store.write(ticker, AT, {CARD: card_json(card(ticker=ticker)), NETWORK: b"weights"})


def test_a_bundle_is_named_after_ticker_and_time_and_reads_back(store):
    folder = write(store)
    assert folder.name == "AAPL_lstm_20260117_225254"
    assert read_card(folder) == card()


def test_a_second_bundle_of_the_same_second_takes_the_next_one(store):
    assert [write(store).name for _ in range(3)] == [
        "AAPL_lstm_20260117_225254",
        "AAPL_lstm_20260117_225255",
        "AAPL_lstm_20260117_225256",
    ]


@pytest.mark.parametrize("name", [CARD, NETWORK])
def test_a_changed_byte_is_noticed(store, name):
    folder = write(store)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BadBundle, match=f"{name} was altered"):
        read_card(folder)


@pytest.mark.parametrize("damage", ["missing file", "extra file", "no manifest", "cut manifest"])
def test_an_incomplete_bundle_is_refused(store, damage):
    folder = write(store)
    if damage == "missing file":
        (folder / NETWORK).unlink()
    elif damage == "extra file":
        (folder / "extra.py").write_text("print('hello')")
    elif damage == "no manifest":
        (folder / MANIFEST).unlink()
    else:
        (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes()[:20])
    with pytest.raises(BadBundle):
        read_card(folder)


def test_a_failed_write_leaves_nothing_behind(store, tmp_path):
    with pytest.raises(FileNotFoundError):
        store.write("AAPL", AT, {CARD: card_json(card()), NETWORK: tmp_path / "absent.onnx"})
    assert [p for p in store.models_dir.iterdir() if p.name != "locks"] == []


def test_nothing_is_served_before_something_is_published(store):
    write(store)
    assert store.champion("AAPL") is None


def test_the_newest_published_bundle_is_the_champion_and_rollback_returns_to_the_former(store):
    first, second = write(store), write(store)
    store.publish("AAPL", first, "1")
    store.publish("AAPL", second, "2")
    assert (store.champion("AAPL").version, store.champion("AAPL").bundle) == ("2", second.name)
    store.rollback("AAPL")
    assert (store.champion("AAPL").version, store.champion("AAPL").bundle) == ("1", first.name)
    with pytest.raises(BadBundle, match="no earlier champion"):
        store.rollback("AAPL")
    assert store.champion("AAPL").version == "1"


def test_an_altered_bundle_is_never_published(store):
    folder = write(store)
    (folder / NETWORK).write_bytes(b"other weights")
    with pytest.raises(BadBundle):
        store.publish("AAPL", folder, "1")
    assert store.champion("AAPL") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '[{"bundle": "../../etc", "version": "1"}]', "7"])
def test_a_damaged_pointer_is_refused(store, text):
    store.publish("AAPL", write(store), "1")
    store.pointer_path("AAPL").write_text(text)
    with pytest.raises(BadBundle, match="pointer"):
        store.champion("AAPL")


def publish_one(folder: str, version: int) -> None:
    store = ModelStore(Path(folder))
    store.publish("AAPL", write(store), str(version))


def test_publishing_from_many_processes_loses_none(store):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(publish_one, [(str(store.models_dir), n) for n in range(8)])
    rows = json.loads(store.pointer_path("AAPL").read_bytes())
    assert sorted(int(row["version"]) for row in rows) == list(range(8))
    assert len({row["bundle"] for row in rows}) == 8


def test_check_says_which_ticker_has_no_champion(settings, capsys):
    store = ModelStore(settings.models_dir)
    for ticker in settings.tickers[:2]:
        store.publish(ticker, write(store, ticker), "1")
    assert main(["check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "version 1" in lines[0]
    assert lines[2].split() == ["MSFT", "no", "champion", "yet"]
    store.publish("MSFT", write(store, "MSFT"), "1")
    assert main(["check"]) == 0
