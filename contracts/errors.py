"""The one tree of errors, and what counts as a ticker symbol."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from contracts.forecasts import Caution

# Yahoo's alphabet: BRK-B, ^GSPC, 0700.HK, EURUSD=X, GC=F. Never a path or a pattern.
TICKER_PATTERN = r"^\^?[A-Za-z0-9]{1,12}([.\-=][A-Za-z0-9]{1,6}){0,2}$"


class ForecastingError(Exception):
    """Anything we can explain. The text says what is wrong and what to do next."""

    code: ClassVar[str] = "forecasting_error"


class InvalidTicker(ForecastingError):
    code = "invalid_ticker"

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text[:40]!r} is not a ticker symbol; expected something like AAPL, BRK-B, ^GSPC "
            "or 0700.HK"
        )


class UnknownTicker(ForecastingError):
    code = "unknown_ticker"

    def __init__(self, ticker: str) -> None:
        super().__init__(
            f"{ticker} has neither a trained model nor prices here; run: python train.py {ticker}"
        )


class NoChampion(ForecastingError):
    code = "no_champion"

    def __init__(self, ticker: str, why: str = "has no trained model yet") -> None:
        super().__init__(f"{ticker} {why}; run: python train.py {ticker}")


class SourceUnavailable(ForecastingError):
    """No tier of the price ladder could answer."""

    code = "source_unavailable"


class BadPrices(ForecastingError):
    """A price file or feed that cannot be trusted; the message names the file and the rows."""

    code = "bad_prices"


class NotEnoughHistory(ForecastingError):
    code = "not_enough_history"

    def __init__(self, *, have: int, need: int, what: str = "sessions") -> None:
        super().__init__(
            f"only {have} {what} where {need} are needed; import a longer history or move "
            "STOCK_START_DATE back"
        )


class NoBase(ForecastingError):
    """No base to start a model from: none is shipped for that day, and too few tickers for one."""

    code = "no_base"


class WorkerLost(NoBase):
    """One of several workers that make a base together has gone; what all had done is kept."""


class BadBundle(ForecastingError):
    """A model folder that is incomplete, altered or unreadable. It is never loaded."""

    code = "bad_bundle"


class ModelFromTheFuture(ForecastingError):
    code = "model_from_the_future"

    def __init__(self, ticker: str, trained_through: date, as_of: date) -> None:
        super().__init__(
            f"the champion of {ticker} has seen prices through {trained_through}, later than the "
            f"last session used, {as_of}; train one as of that day: python train.py {ticker}"
        )


class UnknownRecipe(ForecastingError):
    code = "unknown_recipe"

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"no recipe is called {name!r}; choose one of: {', '.join(known)}")


class BackupFailed(ForecastingError):
    """A backup that is not whole, or a program that could not save or restore."""

    code = "backup_failed"


class ExportMismatch(ForecastingError):
    """The exported ONNX network does not answer as the Keras one; nothing was saved."""

    code = "export_mismatch"


class TrackingUnavailable(ForecastingError):
    """MLflow's server or database does not answer."""

    code = "tracking_unavailable"


class RefusedVersion(ForecastingError):
    """A registered version that may not become champion; the one there is stays."""

    code = "refused_version"


class NoDriftCheck(ForecastingError):
    code = "no_drift_check"

    def __init__(self, ticker: str) -> None:
        super().__init__(
            f"{ticker} has not been checked for drift yet; run: python drift_monitor.py {ticker}"
        )


class NoScores(ForecastingError):
    code = "no_scores"

    def __init__(self, ticker: str) -> None:
        super().__init__(
            f"the model of {ticker} keeps no walk-forward table: an earlier version made it, or "
            f"too few sessions were held out; train it again: python train.py {ticker}"
        )


class UnknownRun(ForecastingError):
    code = "unknown_run"

    def __init__(self, ticker: str, run_id: str) -> None:
        super().__init__(f"{ticker} has no run {run_id}; /runs/{ticker} lists those it has")


class UnknownReport(ForecastingError):
    code = "unknown_report"

    def __init__(self) -> None:
        super().__init__("there is no such report; /drift/{ticker} names the newest ones")


class LogUnavailable(ForecastingError):
    """The database of served forecasts and verdicts does not answer."""

    code = "log_unavailable"


class LeaseTaken(ForecastingError):
    """Somebody else is at this work; the text says who and until when."""

    code = "lease_taken"


class LeaseLost(ForecastingError):
    """The lease ran out before it was renewed, and somebody else has taken the work."""

    code = "lease_lost"


class ServiceUnavailable(ForecastingError):
    """The forecast service does not answer its client."""

    code = "service_unavailable"


class MayNotOperate(ForecastingError):
    """Who asks for a change may only read; the message says what would be needed."""

    code = "may_not_operate"


class Refused(ForecastingError):
    """An answer with warnings that a strict request does not want."""

    code = "refused"

    def __init__(self, ticker: str, warnings: tuple[Caution, ...]) -> None:
        self.warnings = warnings
        reasons = "; ".join(f"{warning.code}: {warning.detail}" for warning in warnings)
        super().__init__(f"{ticker}: {reasons}. Ask without strict=true to have the answer anyway")


class Overloaded(ForecastingError):
    code = "overloaded"

    def __init__(self) -> None:
        super().__init__("more forecasts are being computed than may wait; try again in a moment")


class DeadlineExceeded(ForecastingError):
    code = "deadline_exceeded"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} s; it is still being made, try again")


class EngineUnavailable(ForecastingError):
    """What was to run many tasks at once is not installed or does not answer."""

    code = "engine_unavailable"


class BadSettings(ForecastingError):
    """A setting that is misspelt or out of range; the message names it."""

    code = "bad_settings"


def parse_ticker(text: str) -> str:
    """The symbol in the upper case Yahoo uses.

    Raises:
        InvalidTicker: anything that could be a path, a pattern or no symbol at all.
    """
    symbol = text.strip()
    if not re.fullmatch(TICKER_PATTERN, symbol):
        raise InvalidTicker(text)
    return symbol.upper()
