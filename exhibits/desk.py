"""Answers what a page asks beside forecasts, from the price cache, the model store and the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from calendars import listing_of
from config import Settings
from contracts import (
    BadBundle,
    Forecast,
    NoChampion,
    NoScores,
    Performance,
    Prices,
    ServiceUnavailable,
    SourceUnavailable,
    UnknownTicker,
    parse_ticker,
)
from data_pipeline import StockDataPipeline, resting_sources
from exhibits.history import correlations, last_bars, side_by_side
from exhibits.inventory import Inventory
from exhibits.jobs import MONITOR, TRAINER, Jobs
from exhibits.reports import ReportFolder
from exhibits.runs import TrackingServer
from exhibits.state import Check, ServiceStates
from forecast_log import ForecastLog
from model_store import ModelStore, Published, read_walk
from schemas import (
    CheckAskedOut,
    CompareOut,
    CorrelationsOut,
    DataOut,
    DriftHistoryOut,
    DriftOut,
    DriftsOut,
    InfoOut,
    PricesOut,
    ReportsOut,
    RunHistoryOut,
    RunsOut,
    ScoresOut,
    Setting,
    part_of,
)
from versions import SERVING, library_versions

# What is learnt and served. A name that is not here is a place, an address or a secret.
SHOWN = (
    *("start_date", "as_of", "recipe", "seed", "train_test_split", "validation_split"),
    *("window_size", "unrollings", "prediction_steps", "ema_span", "allow_synthetic", "refresh"),
)


class Pages:
    """Reads what the jobs wrote; safe to share by threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._store = ModelStore(settings.models_dir)
        self._inventory = Inventory(settings, self._store)
        self._log = ForecastLog(settings.database_url)
        self._jobs = Jobs(settings, self._log)
        sources = {name: partial(self._source, name) for name in resting_sources(settings)}
        self._reports = ReportFolder(settings.reports_dir)
        self._tracking = TrackingServer(
            settings.mlflow_api_url or settings.mlflow_url, settings.mlflow_url
        )
        ours: dict[str, Check] = {
            "mlflow": self._tracking.check,
            "database": self._database,
            "monitor": partial(self._at_work, MONITOR),
            "trainer": partial(self._at_work, TRAINER),
        }
        self._states = ServiceStates({**ours, **sources})

    def prices(self, ticker: str, last: int, index: float | None = None) -> PricesOut:
        """The last sessions of a ticker, in its currency or with the first mid set to `index`.

        Raises:
            UnknownTicker, SourceUnavailable: there are none.
        """
        return last_bars(self._read(ticker), last, index)

    def compare(
        self, forecasts: Mapping[str, Forecast], last: int, index: float | None
    ) -> CompareOut:
        """Each ticker's last sessions beside its forecast, and the tickers ranked by skill."""
        pairs = {ticker: (self._read(ticker), made) for ticker, made in forecasts.items()}
        return side_by_side(pairs, last, index)

    def correlations(self, tickers: Sequence[str], last: int) -> CorrelationsOut:
        """Correlations of daily log returns over the last sessions that all tickers share.

        Raises:
            UnknownTicker, SourceUnavailable: one of them has no prices.
            NotEnoughHistory: they share too few sessions.
        """
        return correlations({ticker: self._read(ticker) for ticker in tickers}, last)

    def scores(self, ticker: str) -> ScoresOut:
        """The walk-forward table of the champion.

        Raises:
            UnknownTicker: no model and not configured.
            NoChampion: configured, but no model yet.
            NoScores: its model was made without a table.
            BadBundle: the bundle does not verify.
        """
        champion = self._champion(parse_ticker(ticker))
        if (walk := read_walk(champion.path)) is None:
            raise NoScores(ticker)
        facts: dict[str, object] = {
            "ticker": champion.card.ticker,
            "currency": listing_of(champion.card.ticker).currency,
            "version": champion.version,
            "recipe": str(champion.card.recipe["name"]),
            "data": DataOut.model_validate(champion.card.data),
        }
        return ScoresOut.of(walk, facts)

    def runs(self, ticker: str, recipe: str | None, before: int | None, limit: int) -> RunsOut:
        """Runs of a ticker's experiment, the newest first; see `TrackingServer.runs`.

        Raises:
            UnknownTicker: neither runs nor model, and not configured.
            TrackingUnavailable: the tracking server is away.
        """
        ticker = parse_ticker(ticker)
        found = self._tracking.runs(ticker, recipe, before, limit)
        if found.url is None:
            self._refuse_strangers(ticker)
        made = self._run_of_champion(ticker)
        shown = [run.model_copy(update={"champion": run.run_id == made}) for run in found.runs]
        return found.model_copy(update={"runs": shown})

    def run_history(self, ticker: str, run_id: str) -> RunHistoryOut:
        """Training curves of one run.

        Raises:
            UnknownRun: the ticker has no such run.
            TrackingUnavailable: the tracking server is away.
        """
        return self._tracking.history(parse_ticker(ticker), run_id)

    def performance(self, ticker: str) -> Performance:
        """How served forecasts of a ticker turned out.

        Raises:
            UnknownTicker: nothing was ever promised, and nobody knows it.
            LogUnavailable: the database is away.
        """
        ticker = parse_ticker(ticker)
        found = self._log.performance(ticker)
        if not found.promises:
            self._refuse_strangers(ticker)
        return found

    def drifts(self, limit: int, offset: int) -> DriftsOut:
        """The newest check of every ticker, alarms first, a page of them."""
        found = {ticker: self._log.latest_verdict(ticker) for ticker in self._inventory.tickers()}
        made = sorted((one for one in found.values() if one), key=lambda one: not one.alarm)
        part, more = part_of(made, limit, offset)
        return DriftsOut(
            checks=[DriftOut.of(verdict) for verdict in part],
            unchecked=[ticker for ticker, verdict in found.items() if verdict is None],
            total=len(made),
            next_offset=more,
        )

    def drift_history(self, ticker: str, limit: int) -> DriftHistoryOut:
        """Past checks of a ticker, the newest first.

        Raises:
            UnknownTicker: never checked, and nobody knows it.
        """
        ticker = parse_ticker(ticker)
        if not (verdicts := self._log.verdicts(ticker, limit)):
            self._refuse_strangers(ticker)
        return DriftHistoryOut(ticker=ticker, checks=[DriftOut.of(one) for one in verdicts])

    def ask_check(self, ticker: str) -> CheckAskedOut:
        """Queue a drift check for the monitor.

        Raises:
            UnknownTicker: neither configured nor served.
        """
        ticker = parse_ticker(ticker)
        self._refuse_strangers(ticker)
        said = f"the monitor makes it when it is next awake; /drift/{ticker} shows it then"
        return CheckAskedOut(ticker=ticker, request=self._log.ask_check(ticker), detail=said)

    def reports(self, limit: int, offset: int) -> ReportsOut:
        """The pages that the newest checks left, some of them."""
        newest = [self._log.latest_verdict(ticker) for ticker in self._inventory.tickers()]
        listed = self._reports.listed(one for one in newest if one)
        part, more = part_of(listed, limit, offset)
        return ReportsOut(reports=part, total=len(listed), next_offset=more)

    def report(self, name: str) -> bytes:
        """One of them, as HTML.

        Raises:
            UnknownReport: there is none of that name.
        """
        return self._reports.read(name)

    def info(self, name: str, version: str, disclaimer: str, *, limit: int, offset: int) -> InfoOut:
        """Settings in use without places and secrets, what there is by ticker, what answers."""
        tickers = self._inventory.tickers()
        part, more = part_of(tickers, limit, offset)
        return InfoOut(
            name=name,
            version=version,
            disclaimer=disclaimer,
            mlflow_url=self.settings.mlflow_url,
            settings={name: self._setting(name) for name in SHOWN},
            tickers=[self._inventory.of(ticker) for ticker in part],
            services=self._states.now(),
            jobs=self._jobs.now(),
            total=len(tickers),
            next_offset=more,
        )

    def libraries(self) -> dict[str, str]:
        """What this process computes with, by name; not for everybody."""
        return dict(library_versions(SERVING))

    def close(self) -> None:
        """Give the connections back."""
        self._tracking.close()
        self._log.close()

    def _refuse_strangers(self, ticker: str) -> None:
        if ticker not in self._inventory.tickers():
            raise UnknownTicker(ticker)

    def _run_of_champion(self, ticker: str) -> str | None:
        try:
            champion = self._store.champion(ticker)
        except BadBundle:  # it is not served either
            return None
        return None if champion is None else champion.card.run_id

    def _read(self, ticker: str) -> Prices:
        return StockDataPipeline(parse_ticker(ticker), self.settings).read()

    def _champion(self, ticker: str) -> Published:
        if (champion := self._store.champion(ticker)) is None:
            raise (NoChampion if ticker in self.settings.tickers else UnknownTicker)(ticker)
        return champion

    def _setting(self, name: str) -> Setting:
        value = getattr(self.settings, name)
        return value if isinstance(value, str | int | float | None) else str(value)

    def _database(self) -> str:
        self._log.latest_verdict(self.settings.tickers[0])
        return "answers"

    def _at_work(self, lease: str) -> str:
        if not self._log.is_held(lease):
            raise ServiceUnavailable(f"nobody holds the lease {lease}")
        return "at work"

    def _source(self, name: str) -> str:
        if left := resting_sources(self.settings)[name]:
            raise SourceUnavailable(f"{name} failed and is left alone for {left:.0f} s more")
        return "may be asked"
