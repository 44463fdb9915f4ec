"""Every setting, read from `STOCK_*` variables or `.env` when asked for; importing has no effect.

Knows neither who uses a setting nor what for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from dotenv import dotenv_values
from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from contracts import BadSettings, InvalidTicker, parse_ticker

PREFIX = "STOCK_"
ENV_FILE = ".env"
IN_FILE = "_FILE"  # STOCK_DATABASE_URL_FILE names a file that holds STOCK_DATABASE_URL
HERE = Path(__file__).resolve().parent
WEB_ADDRESS = r"https?://[^\s/]+\S*"
SECRETS = {"alert_webhook"}  # an address may hold a key: errors do not repeat what was given
FOREIGN = {"mlflow_tracking_uri", "alphavantage_api_key"}  # known everywhere by their own names


def _split(value: object) -> object:
    """`AAPL,MSFT` or `AAPL MSFT` as people type it in a shell."""
    return value.replace(",", " ").split() if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Share = Annotated[float, Field(gt=0, lt=1)]
Units = Annotated[int, Field(ge=1, le=1024)]
RateLimit = Annotated[str, Field(pattern=r"^([1-9]\d{0,8}/(second|minute|hour|day))?$")]


class Settings(BaseSettings):
    """Environment variables win over `.env`; every name but those of FOREIGN starts with STOCK_."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=ENV_FILE, env_ignore_empty=True, extra="ignore", frozen=True
    )

    # What is learnt
    tickers: Annotated[Words, Field(min_length=1)] = ("AAPL", "GOOGL", "MSFT")
    start_date: date = date(2020, 1, 1)  # earlier bars may be cached, training does not use them
    as_of: date | None = None  # the evening of this day counts as now; later bars are never read
    recipe: str = "panel"
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 42
    train_test_split: Share = 0.8
    validation_split: Share = 0.1  # share of the training part, its latest sessions
    window_size: Annotated[int, Field(ge=2)] = 2500  # mids each MinMax looks back over
    unrollings: Annotated[int, Field(ge=5, le=250)] = 50  # sessions the network sees
    lstm_units_1: Units = 64
    lstm_units_2: Units = 64
    dense_units: Units = 32
    dropout_rate: Annotated[float, Field(ge=0, lt=1)] = 0.5
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.001
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 32
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 50
    patience: Annotated[int, Field(ge=1)] = 10

    # What is served
    prediction_steps: Annotated[int, Field(ge=1, le=90)] = 30
    ema_span: Annotated[int, Field(ge=1, le=250)] = 10
    allow_synthetic: bool = True  # the last tier of prices, labelled wherever it shows
    forecast_log_days: Annotated[int, Field(ge=0)] = 1826  # kept with their outcomes; 0: for ever
    refresh: bool = True  # the API fetches newer prices beside its requests
    requests_per_minute: Annotated[int, Field(ge=0)] = 60  # that a source is asked; 0: no limit
    loaded_models: Annotated[int, Field(ge=1)] = 128  # kept in memory, the ones asked for last
    cached_answers: Annotated[int, Field(ge=1)] = 4096
    cached_megabytes: Annotated[int, Field(ge=1)] = 64
    cold_threads: Annotated[int, Field(ge=1, le=64)] = 2  # that compute what no cache holds
    batch_threads: Annotated[int, Field(ge=0, le=64)] = 0  # of one batch; 0: one a processor
    cold_waiting: Annotated[int, Field(ge=0)] = 64  # computations that may wait for one of them
    max_model_age_days: Annotated[int, Field(ge=0)] = 365  # beyond it answers carry a warning
    max_sessions_behind: Annotated[int, Field(ge=0)] = 5  # of the prices, likewise
    outside_quantile: Annotated[float, Field(gt=0, le=1)] = 0.997  # of distances in training
    alphavantage_api_key: SecretStr | None = Field(  # the tier after Yahoo; none without a key
        default=None, validation_alias="alphavantage_api_key"
    )

    # Who may ask the API, how often, and what it tells of itself
    api_keys: Words = ()  # name:scope:sha256, as `python -m web.keys new` prints; none: no keys
    api_keys_file: Path | None = None  # the same, one a line
    api_key: SecretStr | None = None  # the key that the dashboard shows to the API
    operate_without_key: bool = False  # without keys: from other machines as well
    metrics_open: bool = False  # with keys: /metrics needs none
    rate_limit_per_key: RateLimit = ""  # such as 600/minute; empty: no limit
    rate_limit_per_address: RateLimit = ""
    rate_limit_store: SecretStr | None = None  # redis://..., where several workers share counts
    trusted_proxies: Words = ()  # addresses or networks whose X-Forwarded-For is believed
    allowed_hosts: Words = ()  # beside addresses and names without a dot; *: every host
    cors_origins: Words = ()  # such as https://charts.example.com
    max_in_flight: Annotated[int, Field(ge=1, le=10_000)] = 256
    max_streams: Annotated[int, Field(ge=0, le=10_000)] = 100
    max_body_bytes: Annotated[int, Field(ge=1024, le=16_777_216)] = 65_536
    request_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0  # then 503
    gzip_from_bytes: Annotated[int, Field(ge=0)] = 1024  # 0: never
    log_format: Annotated[str, Field(pattern="^(text|json)$")] = "text"
    access_log: bool = False
    otel_endpoint: str = Field(  # of an OTLP collector, http://HOST:4318; empty: no traces
        default="",
        validation_alias=AliasChoices(
            "otel_endpoint", "STOCK_OTEL_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
        ),
    )

    # What the monitor's loop does
    watch_delay_minutes: Annotated[int, Field(ge=0, le=720)] = 30  # after a session's close
    watch_sync_minutes: Annotated[int, Field(ge=1, le=1440)] = 5  # between two looks at the alias
    watch_lease_seconds: Annotated[int, Field(ge=1, le=3600)] = 60  # one killed holds it so long
    retrain_after_days: Annotated[int, Field(ge=0)] = 90  # of age of a champion's data; 0 for never
    retrain_least_settled: Annotated[int, Field(ge=10)] = 60  # forecasts before judging

    # Where things are
    data_dir: Path = Path("data")
    models_dir: Path = Path("models")
    pretrained_dir: Path = HERE / "pretrained"  # bases of many tickers, as the software brings them
    reports_dir: Path = Path("evidently_reports")
    database_url: str = "sqlite:///forecasts.db"
    mlflow_tracking_uri: str = Field(
        default="sqlite:///mlflow.db",
        validation_alias=AliasChoices("mlflow_tracking_uri", "MLFLOW_TRACKING_URI"),
    )
    api_url: str = "http://127.0.0.1:8000"  # where the dashboard finds the API
    public_api_url: str | None = None  # where a browser finds it, if elsewhere
    mlflow_api_url: str | None = None  # where the API finds the MLflow server, if elsewhere
    mlflow_url: str = "http://127.0.0.1:5000"  # where a browser finds the MLflow UI
    alert_webhook: SecretStr | None = None  # http or https; alarms of the drift monitor go there
    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "WARNING"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """As usual, and after the environment what its `_FILE` variables point at."""
        named = InitSettingsSource(settings_cls, init_kwargs=_from_files())
        return init_settings, env_settings, named, dotenv_settings, file_secret_settings

    @field_validator("alert_webhook")
    @classmethod
    def _web_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(WEB_ADDRESS, value.get_secret_value()):
            raise ValueError("an http:// or https:// address is needed")
        return value

    @field_validator("tickers")
    @classmethod
    def _symbols(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(dict.fromkeys(parse_ticker(item) for item in value))
        except InvalidTicker as error:
            raise ValueError(str(error)) from error


def get_settings() -> Settings:
    """Settings as the environment, `.env` and the files they name give them now.

    Raises:
        BadSettings: a misspelt STOCK_ name, a file that cannot be read, or a value out of range,
            with its name.
    """
    known = {name for name in _variables() if name.startswith(PREFIX)}
    given = {name for name in _given() if name.startswith(PREFIX)}
    strangers = sorted(n for n in given if not {n, n.removesuffix(IN_FILE)} & known)
    if strangers:
        raise BadSettings(
            f"unknown setting {', '.join(strangers)}; the known ones are {', '.join(sorted(known))}"
        )
    try:
        return Settings()
    except ValidationError as error:
        raise BadSettings("; ".join(_explain(dict(row)) for row in error.errors())) from error


def _variables() -> dict[str, str]:
    """Name of every variable -> the field it sets."""
    return {
        (name if name in FOREIGN else f"{PREFIX}{name}").upper(): name
        for name in Settings.model_fields
    }


def _given() -> dict[str, str | None]:
    """What the environment and `.env` hold, the environment winning."""
    return {name.upper(): text for name, text in {**dotenv_values(ENV_FILE), **os.environ}.items()}


def _from_files() -> dict[str, str]:
    """Fields whose variable has `_FILE` behind its name: the text of that file, trimmed."""
    variables, given = _variables(), {name: text for name, text in _given().items() if text}
    found = {}
    for name in given.keys() - variables.keys():  # a setting may itself be called ..._FILE
        if (field := variables.get(name.removesuffix(IN_FILE))) and name.endswith(IN_FILE):
            if name.removesuffix(IN_FILE) in given:
                raise BadSettings(f"{name.removesuffix(IN_FILE)} and {name} are both set; keep one")
            found[field] = _trimmed(name, Path(str(given[name])))
    return found


def _trimmed(name: str, path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"{name}={path}: cannot be read ({type(error).__name__})") from error


def chosen_tickers(named: Sequence[str], listed: Path | None) -> tuple[str, ...]:
    """Symbols of a command line, then those of a file: one a line or several, `#` begins a remark.

    Raises:
        BadSettings: the file cannot be read, or names none.
        InvalidTicker: one of them is no symbol.
    """
    words = list(named)
    if listed is not None:
        try:
            lines = listed.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadSettings(f"--tickers-file {listed}: {error}") from error
        inside = [word for line in lines for word in line.split("#")[0].split()]
        if not inside:
            raise BadSettings(f"--tickers-file {listed} names no ticker")
        words += inside
    return tuple(dict.fromkeys(parse_ticker(word) for word in words))


def with_flags(settings: Settings, flags: Mapping[str, object]) -> Settings:
    """The same settings with a command's flags over them, held to the same ranges.

    Raises:
        BadSettings: a flag is out of range, with the setting's name.
    """
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    try:
        return Settings.model_validate({**given, **flags})
    except ValidationError as error:
        raise BadSettings("; ".join(_explain(dict(row)) for row in error.errors())) from error


def _explain(row: Mapping[str, Any]) -> str:
    name = str(row["loc"][0])
    name = (name if name.lower() in FOREIGN else f"{PREFIX}{name}").upper()
    given = "..." if str(row["loc"][0]).lower() in SECRETS else repr(row["input"])
    return f"{name}={given}: {row['msg']}"
