"""What a page shows beside forecasts, invented: scores, settled promises, runs, facts in use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

from invented_forecasts import AS_OF, FILE, RUN_ID, TRAINED_AT, make_champion

from contracts import (
    LiveScores,
    Performance,
    PerformanceRow,
    Provenance,
    Reliability,
    StepScore,
    WalkForward,
)
from schemas import InfoOut, JobOut, RunOut, RunsOut, ServiceStateOut, TickerInfoOut


def make_score(model: str, step: int, ratio: float, p_value: float) -> StepScore:
    """Scores that are `ratio` times the last close's, with the verdict that follows."""
    size, itself = 2.6 * math.sqrt(step), model == "last_close"
    lost = ratio > 1 and p_value < 0.05
    verdict = "worse than the last price" if lost else "no better than the last price"
    return StepScore(
        model=model,
        step=step,
        rmse=size * ratio,
        mae=0.75 * size * ratio,
        direction_accuracy=None if model == "last_mid" else 0.53,
        crps=0.55 * size * ratio,
        coverage_80=0.79,
        coverage_95=0.94,
        rmse_ratio=ratio,
        p_value=p_value,
        verdict=None if itself else verdict,
        crps_ratio=ratio,
        crps_p_value=p_value,
        crps_verdict=None if itself else verdict,
    )


def make_walk() -> WalkForward:
    """Two steps: the model is level with the last close at one, and worse at thirty."""
    found = {
        1: {"lstm": (1.002, 0.6), "last_mid": (1.1, 0.001), "arima": (1.04, 0.02)},
        30: {"lstm": (1.2, 0.01), "last_mid": (1.01, 0.3), "arima": (1.02, 0.2)},
    }
    return WalkForward(
        baseline="last_close",
        first_origin=date(2024, 10, 16),
        last_origin=date(2025, 11, 17),
        origins=272,
        steps=(1, 30),
        scores=tuple(
            make_score(model, step, *facts)
            for step, rows in found.items()
            for model, facts in {**rows, "last_close": (1.0, 1.0)}.items()
        ),
        reliability=tuple(
            Reliability(step=step, nominal=(0.1, 0.5, 0.9), observed=(0.12, 0.48, 0.89))
            for step in (1, 30)
        ),
    )


def make_info(known: Sequence[str], data: Provenance = FILE) -> InfoOut:
    """What a service would say that has these tickers and no tracking server."""
    card = make_champion().card
    tickers = [
        TickerInfoOut(
            ticker=ticker,
            configured=True,
            currency="USD",
            first_session=data.first_session,
            last_session=data.last_session,
            sessions=data.rows,
            source=data.source,
            adjustment=data.adjustment,
            stale=data.stale,
            sessions_behind=data.sessions_behind,
            version="3",
            recipe="mlops_64_64_32",
            trained_at=card.trained_at,
            trained_through=card.trained_through,
        )
        for ticker in known
    ]
    checked = datetime(2026, 1, 18, 6, 0, tzinfo=UTC)
    return InfoOut(
        name="Stock forecasting",
        version="0.1.0",
        disclaimer="A research tool, not investment advice.",
        mlflow_url="http://127.0.0.1:5000",
        settings={"recipe": "panel", "prediction_steps": 30, "as_of": None, "refresh": True},
        tickers=tickers,
        services={
            "mlflow": ServiceStateOut(
                status="down", detail="tracking unavailable", checked_at=checked
            ),
            "database": ServiceStateOut(status="up", detail="answers", checked_at=checked),
        },
        jobs={
            "trainer": JobOut(
                at_work=False, last_done=None, last_deed=None, waiting=1, next_round=None
            ),
            "monitor": JobOut(
                at_work=True,
                last_done=datetime(2026, 1, 16, 21, 31, tzinfo=UTC),
                last_deed="drift check of AAPL",
                waiting=0,
                next_round=datetime(2026, 1, 20, 21, 30, tzinfo=UTC),
            ),
        },
        total=len(known),
        next_offset=None,
    )


def make_performance(ticker: str = "AAPL") -> Performance:
    """Forty settled steps of one version: a little worse than the last close."""
    ours = LiveScores(
        rmse=2.7, mae=2.1, direction=0.55, coverage_80=0.8, coverage_95=0.95, crps=1.5
    )
    close = LiveScores(
        rmse=2.6, mae=2.0, direction=0.56, coverage_80=None, coverage_95=None, crps=2.0
    )
    row = PerformanceRow(
        version="3",
        mode="recursive",
        cold_start=False,
        synthetic=False,
        adjustment="split",
        step=1,
        n=40,
        first=date(2025, 11, 3),
        last=AS_OF,
        model=ours,
        last_close=close,
        rmse_ratio=1.04,
        crps_ratio=0.97,
        p_value=0.4,
    )
    return Performance(
        ticker=ticker,
        currency="USD",
        promises=41,
        settled=80,
        waiting=30,
        unscaled=0,
        revised=1,
        through=AS_OF,
        settled_at=datetime(2026, 1, 1, 6, 0, tzinfo=UTC),
        rows=(row, replace(row, step=None, n=80)),
    )


def make_runs(ticker: str = "AAPL") -> RunsOut:
    """The champion's run and one of another recipe that failed."""
    ours = RunOut(
        run_id=RUN_ID,
        name=f"{ticker}_training",
        status="FINISHED",
        recipe="mlops_64_64_32",
        started_at=TRAINED_AT,
        seconds=163.2,
        parent=None,
        version="3",
        champion=True,
        best=True,
        parameters={"recipe": "mlops_64_64_32", "epochs": "50"},
        metrics={"rmse_ratio": 3.1, "crps_ratio": 0.97},
        url=f"http://127.0.0.1:5000/#/experiments/1/runs/{RUN_ID}",
    )
    lost = {"run_id": "0" * 32, "status": "FAILED", "recipe": "panel", "version": None}
    other = ours.model_copy(
        update={**lost, "champion": False, "best": False, "metrics": {}, "seconds": None}
    )
    return RunsOut(
        ticker=ticker,
        runs=[ours, other],
        next_before=None,
        best_by="rmse_ratio",
        url="http://127.0.0.1:5000/#/experiments/1",
    )
