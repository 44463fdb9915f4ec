"""Published models in memory: bounded, swapped when promoted, kept when the new one is bad."""

import logging
import threading

import pytest
from staged import publish, truncate

from champions import RETRY_SECONDS, Champions
from contracts import BadBundle
from model_store import NETWORK, ModelStore


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def champions(settings, clock) -> Champions:
    return Champions(ModelStore(settings.models_dir), 2, clock)


def test_a_ticker_without_a_champion_has_none(champions):
    assert champions.get("AAPL") is None
    assert champions.mark("AAPL") is None


def test_a_model_is_read_once_until_another_is_promoted(settings, champions):
    publish(settings, "1")
    first = champions.get("AAPL")
    assert champions.get("AAPL") is first
    publish(settings, "2", which=1)
    second = champions.get("AAPL")
    assert (first.served.identity.version, second.served.identity.version) == ("1", "2")
    ModelStore(settings.models_dir).rollback("AAPL")
    assert champions.get("AAPL").published.bundle == first.published.bundle


def test_a_half_written_version_is_refused_and_the_old_one_goes_on(settings, champions, caplog):
    publish(settings, "1")
    old = champions.get("AAPL")
    truncate(publish(settings, "2", which=1) / NETWORK)
    with caplog.at_level(logging.ERROR):
        assert [champions.get("AAPL") for _ in range(3)] == [old] * 3
    assert [record.message.split()[0] for record in caplog.records] == ["version_refused"]
    assert "was altered" in str(champions.refused("AAPL"))
    assert champions.broken("AAPL") is None


def test_a_refused_version_is_taken_once_it_is_complete(settings, champions, clock):
    publish(settings, "1")
    champions.get("AAPL")
    path = publish(settings, "2", which=1) / NETWORK
    whole = truncate(path)
    champions.get("AAPL")
    path.write_bytes(whole)
    assert champions.get("AAPL").published.version == "1", "not looked at again so soon"
    clock.now += RETRY_SECONDS + 1
    assert champions.get("AAPL").published.version == "2"
    assert champions.refused("AAPL") is None


def test_after_a_restart_the_version_before_a_bad_one_answers(settings, champions):
    publish(settings, "1")
    truncate(publish(settings, "2", which=1) / NETWORK)
    assert champions.get("AAPL").published.version == "1"
    assert champions.refused("AAPL")


def test_with_nothing_that_verifies_there_is_an_error(settings, champions):
    truncate(publish(settings, "1") / NETWORK)
    for _ in range(2):
        with pytest.raises(BadBundle, match="was altered"):
            champions.get("AAPL")
    assert champions.broken("AAPL") and champions.refused("AAPL") is None


def test_a_network_that_is_none_is_refused_though_its_hash_fits(settings, champions):
    store = ModelStore(settings.models_dir)
    folder = publish(settings, "1")
    files = {f.name: f for f in folder.iterdir() if f.name != "manifest.json"}
    bad = store.write("AAPL", store.champion("AAPL").card.trained_at, {**files, NETWORK: b"noise"})
    store.publish("AAPL", bad, "2")
    assert champions.get("AAPL").published.version == "1"
    assert "cannot be loaded" in str(champions.refused("AAPL"))


def test_a_bundle_of_another_ticker_is_never_served(settings, champions):
    folder = publish(settings, "1", ticker="MSFT")
    ModelStore(settings.models_dir).publish("AAPL", folder, "1")
    with pytest.raises(BadBundle, match="is a model of MSFT"):
        champions.get("AAPL")


def test_only_so_many_models_are_kept(settings, champions):
    for ticker in ("AAPL", "MSFT", "NVDA"):
        publish(settings, "1", ticker=ticker)
    first = {ticker: champions.get(ticker) for ticker in ("AAPL", "MSFT", "NVDA")}
    assert champions.get("NVDA") is first["NVDA"]
    assert champions.get("MSFT") is first["MSFT"]
    assert champions.get("AAPL") is not first["AAPL"], "asked for longest ago"


def test_the_old_model_answers_while_the_new_one_is_being_read(settings, champions, monkeypatch):
    publish(settings, "1")
    old = champions.get("AAPL")
    publish(settings, "2", which=1)
    store, reading, go_on = ModelStore, threading.Event(), threading.Event()
    honest = store.champion

    def slow(self, ticker):
        reading.set()
        assert go_on.wait(20)
        return honest(self, ticker)

    monkeypatch.setattr(store, "champion", slow)
    reader = threading.Thread(target=champions.get, args=("AAPL",))
    reader.start()
    assert reading.wait(20)
    assert champions.get("AAPL") is old
    go_on.set()
    reader.join()
    assert champions.get("AAPL").published.version == "2"
