"""Settings: the specification's defaults, an override for each, and loud mistakes."""

from datetime import date
from pathlib import Path

import pytest
from pydantic import SecretStr

from config import Settings, get_settings, with_flags
from contracts import BadSettings

SPECIFIED = {
    "tickers": ("AAPL", "GOOGL", "MSFT"),
    "start_date": date(2020, 1, 1),
    "train_test_split": 0.8,
    "window_size": 2500,
    "unrollings": 50,
    "ema_span": 10,
    "lstm_units_1": 64,
    "lstm_units_2": 64,
    "dense_units": 32,
    "dropout_rate": 0.5,
    "learning_rate": 0.001,
    "batch_size": 32,
    "epochs": 50,
    "validation_split": 0.1,
    "patience": 10,
    "prediction_steps": 30,
}


def test_defaults_are_the_specifications(settings):
    assert {name: getattr(settings, name) for name in SPECIFIED} == SPECIFIED


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("STOCK_TICKERS", "aapl, BRK-B ^GSPC", ("AAPL", "BRK-B", "^GSPC")),
        ("STOCK_START_DATE", "2015-06-01", date(2015, 6, 1)),
        ("STOCK_AS_OF", "2025-12-31", date(2025, 12, 31)),
        ("STOCK_EPOCHS", "3", 3),
        ("STOCK_ALLOW_SYNTHETIC", "false", False),
        ("STOCK_MODELS_DIR", "/m", Path("/m")),
        ("STOCK_REFRESH", "false", False),
        ("MLFLOW_TRACKING_URI", "http://mlflow:5000", "http://mlflow:5000"),
        ("ALPHAVANTAGE_API_KEY", "SECRET123", SecretStr("SECRET123")),
    ],
)
def test_every_value_can_be_overridden(settings, monkeypatch, name, text, value):
    monkeypatch.setenv(name, text)
    field = name.lower().removeprefix("stock_")
    assert getattr(get_settings(), field) == value


def test_a_dotenv_file_is_read_and_the_environment_wins(settings, monkeypatch):
    Path(".env").write_text("STOCK_EPOCHS=7\nSTOCK_PATIENCE=3\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("STOCK_EPOCHS", "9")
    assert (get_settings().epochs, get_settings().patience) == (9, 3)


@pytest.mark.parametrize("where", ["environment", "file"])
def test_a_misspelt_name_stops_with_its_name(settings, monkeypatch, where):
    if where == "file":
        Path(".env").write_text("STOCK_EPOCS=7\n")
    else:
        monkeypatch.setenv("STOCK_EPOCS", "7")
    with pytest.raises(BadSettings, match="STOCK_EPOCS"):
        get_settings()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("STOCK_EPOCHS", "0"),
        ("STOCK_DROPOUT_RATE", "1.5"),
        ("STOCK_START_DATE", "yesterday"),
        ("STOCK_TICKERS", "AAPL,../x"),
        ("STOCK_TRAIN_TEST_SPLIT", "1"),
    ],
)
def test_a_value_out_of_range_stops_with_its_name(settings, monkeypatch, name, text):
    monkeypatch.setenv(name, text)
    with pytest.raises(BadSettings, match=name):
        get_settings()


@pytest.mark.parametrize("where", ["environment", "file"])
def test_the_key_is_shown_nowhere(settings, monkeypatch, where):
    if where == "file":
        Path(".env").write_text("ALPHAVANTAGE_API_KEY=SECRET123\n")
    else:
        monkeypatch.setenv("ALPHAVANTAGE_API_KEY", "SECRET123")
    held = with_flags(get_settings(), {"epochs": 5})
    assert held.alphavantage_api_key.get_secret_value() == "SECRET123"
    assert "SECRET123" not in repr(held) + str(held) + held.model_dump_json()
    monkeypatch.setenv("STOCK_EPOCHS", "0")
    with pytest.raises(BadSettings) as told:
        get_settings()
    assert "SECRET123" not in str(told.value)


def test_the_key_has_one_name(settings, monkeypatch):
    monkeypatch.setenv("STOCK_ALPHAVANTAGE_API_KEY", "SECRET123")
    with pytest.raises(BadSettings) as told:
        get_settings()
    assert "STOCK_ALPHAVANTAGE_API_KEY" in str(told.value) and "SECRET123" not in str(told.value)


def test_an_empty_variable_counts_as_absent(settings, monkeypatch):
    monkeypatch.setenv("STOCK_AS_OF", "")
    assert get_settings().as_of is None


def test_a_flag_is_held_to_the_settings_range():
    assert with_flags(Settings(), {"epochs": 5}).epochs == 5
    with pytest.raises(BadSettings, match="STOCK_EPOCHS"):
        with_flags(Settings(), {"epochs": -1})


def test_a_secret_may_stand_in_a_file(settings, monkeypatch, tmp_path):
    (tmp_path / "address").write_text("postgresql+psycopg://stock:secret@db/forecasts\n")
    (tmp_path / "key").write_text("SECRET123\n")
    monkeypatch.setenv("STOCK_DATABASE_URL_FILE", str(tmp_path / "address"))
    Path(".env").write_text(f"ALPHAVANTAGE_API_KEY_FILE={tmp_path / 'key'}\n")
    held = with_flags(get_settings(), {"epochs": 5})
    assert held.database_url == "postgresql+psycopg://stock:secret@db/forecasts"
    assert held.alphavantage_api_key.get_secret_value() == "SECRET123"


def test_a_file_that_is_not_there_stops_with_the_variables_name(settings, monkeypatch):
    monkeypatch.setenv("STOCK_DATABASE_URL_FILE", "nowhere")
    with pytest.raises(BadSettings, match="STOCK_DATABASE_URL_FILE=nowhere"):
        get_settings()


def test_a_value_and_a_file_for_it_are_one_too_many(settings, monkeypatch, tmp_path):
    (tmp_path / "address").write_text("sqlite:///one.db")
    monkeypatch.setenv("STOCK_DATABASE_URL_FILE", str(tmp_path / "address"))
    monkeypatch.setenv("STOCK_DATABASE_URL", "sqlite:///two.db")
    with pytest.raises(BadSettings, match="both set"):
        get_settings()


def test_an_empty_variable_leaves_the_word_to_the_file(settings, monkeypatch, tmp_path):
    (tmp_path / "address").write_text("sqlite:///one.db")
    monkeypatch.setenv("STOCK_DATABASE_URL_FILE", str(tmp_path / "address"))
    monkeypatch.setenv("STOCK_DATABASE_URL", "")
    assert get_settings().database_url == "sqlite:///one.db"


@pytest.mark.parametrize("name", ["STOCK_DATABASE_FILE", "STOCK_EPOCS_FILE"])
def test_a_misspelt_name_of_a_file_stops_too(settings, monkeypatch, name):
    monkeypatch.setenv(name, "somewhere")
    with pytest.raises(BadSettings, match=name):
        get_settings()
