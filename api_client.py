"""The dashboard's only door to the forecast service. Knows HTTP; nothing of Streamlit."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from contracts import (
    Event,
    NoDriftCheck,
    NoScores,
    ServiceUnavailable,
    TrackingUnavailable,
    UnknownReport,
)
from schemas import (
    CheckAskedOut,
    CompareOut,
    CorrelationsOut,
    DriftHistoryOut,
    DriftOut,
    DriftsOut,
    ForecastOut,
    InfoOut,
    ModelOut,
    PerformanceOut,
    PricesOut,
    ProbabilityOut,
    ProblemOut,
    ReadyOut,
    ReportsOut,
    RunHistoryOut,
    RunsOut,
    ScoresOut,
    TickersOut,
)

# A ticker asked for the first time may have to be downloaded: patient reads, impatient connects.
TIMEOUT = httpx.Timeout(30.0, connect=3.0)

Answer = TypeVar("Answer", bound=BaseModel)


def wire() -> httpx.BaseTransport:
    """What carries the requests; tests put a pretend one here."""
    return httpx.HTTPTransport(retries=1)


class ServiceProblem(ServiceUnavailable):
    """The service answers, but not with what was asked for: its problem document says why."""

    def __init__(self, problem: ProblemOut, retry_after: int | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.kind = problem.type.rpartition("/")[2]  # such as `no_champion`
        self.retry_after = retry_after  # seconds; None where the service does not say


class ForecastClient:
    """Asks one forecast service and checks what it answers.

    Every method raises ServiceUnavailable, with a sentence for whoever looks at the page, when
    the service cannot be reached or answers something else than promised, and its subclass
    ServiceProblem when the service refuses.
    """

    def __init__(
        self, base_url: str, transport: httpx.BaseTransport | None = None, key: str = ""
    ) -> None:
        """`key` is shown to services that ask for API keys."""
        self.base_url = base_url.rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # given a transport, httpx ignores proxies, which are meant for the internet
        self._http = httpx.Client(transport=transport or wire(), timeout=TIMEOUT, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the connections."""
        self._http.close()

    def tickers(self) -> list[str]:
        """Every ticker one can ask for, the configured ones first."""
        return _read(self._get("/tickers"), TickersOut).tickers

    def forecast(self, ticker: str, steps: int, smoothing: bool) -> ForecastOut:
        """The next `steps` sessions of a ticker."""
        return _read(self._get(forecast_path(ticker, steps, smoothing)), ForecastOut)

    def probability(self, ticker: str, steps: int, event: Event, level: float) -> ProbabilityOut:
        """How likely `event` is at a price, in the listing currency, within `steps` sessions."""
        return _read(self._get(probability_path(ticker, steps, event, level)), ProbabilityOut)

    def model(self, ticker: str) -> ModelOut:
        """The published model of a ticker."""
        return _read(self._get(f"/models/{quote(ticker, safe='')}"), ModelOut)

    def prices(self, ticker: str, last: int = 250, index: float | None = None) -> PricesOut:
        """The last bars of a ticker; `index` sets the first mid-price shown, such as to 100."""
        asked = _given(last=last, index=index)
        return _read(self._get(f"/prices/{quote(ticker, safe='')}?{asked}"), PricesOut)

    def compare(
        self, tickers: Sequence[str], steps: int, last: int = 120, index: float | None = None
    ) -> CompareOut:
        """Several tickers' past and forecasts in one unit, and their ranking by skill."""
        asked = _given(tickers=",".join(tickers), steps=steps, last=last, index=index)
        return _read(self._get(f"/compare?{asked}"), CompareOut)

    def scores(self, ticker: str) -> ScoresOut:
        """The walk-forward table of a ticker's champion.

        Raises:
            NoScores: the model was made without one.
        """
        response = self._get(f"/scores/{quote(ticker, safe='')}")
        if _is_problem(response, NoScores.code):
            raise NoScores(ticker)
        return _read(response, ScoresOut)

    def correlations(self, tickers: Sequence[str], last: int = 250) -> CorrelationsOut:
        """Correlations of daily log returns over the last common sessions."""
        asked = _given(tickers=",".join(tickers), last=last)
        return _read(self._get(f"/correlations?{asked}"), CorrelationsOut)

    def runs(
        self, ticker: str, recipe: str | None = None, before: int | None = None, limit: int = 50
    ) -> RunsOut:
        """Training runs, the newest first; `before` takes the `next_before` of the page before.

        Raises:
            TrackingUnavailable: the tracking server is away; the rest of the service is not.
        """
        asked = _given(recipe=recipe, before=before, limit=limit)
        response = self._get(f"/runs/{quote(ticker, safe='')}?{asked}")
        return _read(_tracked(response), RunsOut)

    def run_history(self, ticker: str, run_id: str) -> RunHistoryOut:
        """Training curves of one run.

        Raises:
            TrackingUnavailable: as `runs`.
        """
        response = self._get(f"/runs/{quote(ticker, safe='')}/{quote(run_id, safe='')}/history")
        return _read(_tracked(response), RunHistoryOut)

    def info(self, limit: int = 100, offset: int = 0) -> InfoOut:
        """Settings in use, a page of the tickers with their data, what answers, versions."""
        return _read(self._get(f"/info?{_given(limit=limit, offset=offset)}"), InfoOut)

    def drift(self, ticker: str) -> DriftOut:
        """The latest drift check of a ticker.

        Raises:
            NoDriftCheck: there has been none yet.
        """
        response = self._get(f"/drift/{quote(ticker, safe='')}")
        if _is_problem(response, NoDriftCheck.code):
            raise NoDriftCheck(ticker)
        return _read(response, DriftOut)

    def drifts(self, limit: int = 100, offset: int = 0) -> DriftsOut:
        """The newest check of every ticker, alarms first, a page of them."""
        return _read(self._get(f"/drift?{_given(limit=limit, offset=offset)}"), DriftsOut)

    def drift_history(self, ticker: str, limit: int = 30) -> DriftHistoryOut:
        """Past checks of a ticker, the newest first."""
        path = f"/drift/{quote(ticker, safe='')}/history?{_given(limit=limit)}"
        return _read(self._get(path), DriftHistoryOut)

    def ask_check(self, ticker: str) -> CheckAskedOut:
        """Ask the monitor for a drift check."""
        return _read(self._ask("POST", f"/drift/{quote(ticker, safe='')}"), CheckAskedOut)

    def reports(self) -> ReportsOut:
        """The pages that the newest checks left."""
        return _read(self._get("/reports"), ReportsOut)

    def report(self, name: str) -> bytes:
        """One of them, as HTML.

        Raises:
            UnknownReport: it is gone.
        """
        response = self._get(f"/reports/{quote(name, safe='')}")
        if _is_problem(response, UnknownReport.code):
            raise UnknownReport
        _refuse(response)
        return response.content

    def performance(self, ticker: str) -> PerformanceOut:
        """How served forecasts of a ticker turned out."""
        return _read(self._get(f"/performance/{quote(ticker, safe='')}"), PerformanceOut)

    def ready(self) -> dict[str, str | None]:
        """By configured ticker, why it cannot answer; None when it can."""
        response = self._get("/ready")
        problem = _problem_in(response)
        if problem and problem.tickers is not None:
            return problem.tickers
        return _read(response, ReadyOut).tickers

    def _get(self, path: str) -> httpx.Response:
        return self._ask("GET", path)

    def _ask(self, method: str, path: str) -> httpx.Response:
        try:
            return self._http.request(method, self.base_url + path)
        except httpx.TimeoutException as error:
            raise ServiceUnavailable(
                f"The forecast service at {self.base_url} did not answer in time; try again"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServiceUnavailable(
                f"The forecast service at {self.base_url} does not answer ({error}); start it "
                "with: uvicorn app:app --port 8000, or set STOCK_API_URL to where it runs"
            ) from error


def forecast_path(ticker: str, steps: int, smoothing: bool) -> str:
    """Path and query of a forecast, escaped: `^GSPC` and `EURUSD=X` need it."""
    return f"/predict?{httpx.QueryParams(ticker=ticker, steps=steps, smoothing=smoothing)}"


def probability_path(ticker: str, steps: int, event: Event, level: float) -> str:
    """Path and query of a probability; the event is the name of the level."""
    return f"/probability?{httpx.QueryParams({'ticker': ticker, 'steps': steps, event: level})}"


def _given(**asked: str | float | None) -> httpx.QueryParams:
    """What was given of a query, escaped."""
    return httpx.QueryParams({name: value for name, value in asked.items() if value is not None})


def _is_problem(response: httpx.Response, code: str) -> bool:
    problem = _problem_in(response)
    return problem is not None and problem.type == f"/problems/{code}"


def _tracked(response: httpx.Response) -> httpx.Response:
    """The response, unless it says that the tracking server is away."""
    if _is_problem(response, TrackingUnavailable.code):
        raise TrackingUnavailable("The tracking server does not answer now; try again later")
    return response


def _problem_in(response: httpx.Response) -> ProblemOut | None:
    """What the service says is wrong; None when nothing is."""
    if response.is_success:
        return None
    try:
        return ProblemOut.model_validate_json(response.content)
    except ValidationError:  # a proxy's page, say
        said = f"{response.status_code} {response.reason_phrase}".strip()
        return ProblemOut(
            type="about:blank",
            title=said,
            status=response.status_code,
            detail=f"The forecast service answered {said}; its log says why",
        )


def _refuse(response: httpx.Response) -> None:
    """Raise ServiceProblem where the service says that something is wrong."""
    if problem := _problem_in(response):
        wait = response.headers.get("Retry-After", "")
        raise ServiceProblem(problem, int(wait) if wait.isdecimal() else None)


def _read(response: httpx.Response, kind: type[Answer]) -> Answer:
    _refuse(response)
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise ServiceUnavailable(
            f"The forecast service at {response.url.netloc.decode()} answered something "
            "unexpected; are the service and this page of the same version?"
        ) from error
