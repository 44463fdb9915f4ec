"""Walks forward through past prices: every model forecasts from the same origins and is scored.

`python backtest.py AAPL --start 2024-10-15 --end 2025-12-31 --forecasts rows.parquet`. Publishes
nothing and changes no model.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from textwrap import indent
from typing import Any

import pandas as pd

from config import Settings, chosen_tickers, get_settings, with_flags
from contracts import BadSettings, ForecastingError
from engines import choice_of
from many import add_many_flags, exit_code
from many_walks import Walks, walk_ticker, write_rows
from recipes import find_recipe
from report import write_report
from scorecard import pooled
from walkforward import Plan

Rows = Callable[[], Iterator[pd.DataFrame]]  # a table for each ticker, one at a time
Scores = Callable[[], Iterator[tuple[str, Any]]]  # as many, of each a part of `scorecard.score`


def main(argv: list[str] | None = None) -> int:
    """Walk forward over past origins and score the LSTM beside every baseline.

    Exit 1 if one of several tickers failed.
    """
    arguments = _parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    failed: list[str] = []
    try:
        settings = _settings(arguments)
        plan = _plan(arguments, settings)
        tickers = chosen_tickers(arguments.tickers, arguments.tickers_file) or settings.tickers
        for line in _walked(Walks(tickers, plan, settings), arguments, failed):
            print(line)
    except ForecastingError as error:
        print(f"backtest.py: {error}", file=sys.stderr)
        return 2
    if failed:
        print(f"backtest.py: failed: {' '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _walked(walks: Walks, arguments: argparse.Namespace, failed: list[str]) -> Iterator[str]:
    """Walk, write what was asked for, and say the scores; `failed` takes what could not be."""
    if len(walks.tickers) == 1:
        (ticker,) = walks.tickers
        only = walk_ticker(ticker, walks.asked(ticker))
        own = ((ticker, only.scores),)
        yield from _told(lambda: iter(own), lambda: iter([only.rows]), (walks.plan, arguments))
        return
    wants_rows = bool(arguments.forecasts or arguments.report)
    walk_job = walks.job(rows=wants_rows, afresh=arguments.afresh)
    with walk_job.job as job:
        for _ in walk_job.run(choice_of(arguments)):
            pass
        if any(True for _ in walk_job.scores()):
            yield from _told(walk_job.scores, walk_job.parts, (walks.plan, arguments))
        ended = job.finish()
    failed += ended.failed
    yield f"walk forward: {ended}"
    if not failed:
        walk_job.forget_rows()


def _told(scores: Scores, rows: Rows, wish: tuple[Plan, argparse.Namespace]) -> Iterator[str]:
    """Write the files that were asked for; the table of scores, line by line."""
    plan, arguments = wish
    answer = {"plan": _described(plan), "pooled": pooled(scores())}
    if arguments.forecasts:
        write_rows(arguments.forecasts, rows())
    if arguments.json:
        write_json(arguments.json, answer, scores())
    if arguments.report:
        whole = {**answer, "tickers": dict(scores())}
        write_report(arguments.report, pd.concat(rows(), ignore_index=True), whole)
    yield from table(scores())


def write_json(
    path: Path, answer: Mapping[str, Any], scores: Iterable[tuple[str, Mapping[str, Any]]]
) -> None:
    """`{**answer, "tickers": {ticker: scores}}`, of which one ticker at a time is in memory."""
    head = json.dumps(answer, indent=2).removesuffix("\n}")
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{head},\n  "tickers": {{')
        for number, (ticker, own) in enumerate(scores):
            text = indent(f"{json.dumps(ticker)}: {json.dumps(own, indent=2)}", "    ")
            file.write(f"{',' if number else ''}\n{text}")
        file.write("\n  }\n}\n")


def table(scores: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[str]:
    """One line per ticker and model: what the walk found, against repeating the last close."""
    yield (
        f"{'ticker':8} {'model':11} {'RMSE 1':>9} {'/close':>7} {'p':>6} {'dir 1':>6} "
        f"{'/close at end':>14} {'CRPS /close':>12} {'in 80 %':>8} {'in 95 %':>8}"
    )
    for ticker, models in scores:
        for model, found in models.items():
            yield _row(ticker, model, found)


def _row(ticker: str, model: str, found: Mapping[str, Any]) -> str:
    return (
        f"{ticker:8} {model:11} {found['steps'][1]['rmse']:9.3f} "
        f"{_cell(found['against']['one_step_rmse_ratio'], '7.3f')} "
        f"{_cell(found['against']['one_step_p_value'], '6.3f')} "
        f"{_cell(found['steps'][1]['direction_accuracy'], '6.1%')} "
        f"{_cell(found['against']['last_step_rmse_ratio'], '14.3f')} "
        f"{_cell(found['against']['crps_ratio'], '12.3f')} "
        f"{found['overall']['coverage_80']:8.1%} {found['overall']['coverage_95']:8.1%}"
    )


def _cell(value: float | None, form: str) -> str:
    return format(value, form) if value is not None else "-".rjust(int(form.split(".")[0]))


def _described(plan: Plan) -> dict[str, Any]:
    return {
        "start": plan.start.isoformat(),
        "end": plan.end.isoformat(),
        "steps": plan.steps,
        "stride": plan.stride,
        "lstm": "champion" if plan.champion else plan.recipe.name,
        "refit_every": plan.refit_every,
        "seed": plan.seed,
    }


def _settings(arguments: argparse.Namespace) -> Settings:
    flags = {n: v for n in ("recipe", "epochs") if (v := getattr(arguments, n)) is not None}
    return with_flags(get_settings(), flags)


def _plan(arguments: argparse.Namespace, settings: Settings) -> Plan:
    if arguments.start > arguments.end:
        raise BadSettings(f"--start {arguments.start} is later than --end {arguments.end}")
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    return Plan(
        start=arguments.start,
        end=arguments.end,
        steps=arguments.steps,
        stride=arguments.stride,
        recipe=find_recipe(settings.recipe, given),
        champion=arguments.champion,
        refit_every=None if arguments.no_refit else arguments.refit_every,
        seed=settings.seed,
        start_date=settings.start_date,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="backtest.py", description=main.__doc__)
    add = parser.add_argument
    add("tickers", nargs="*", help="symbols; default: STOCK_TICKERS")
    add_many_flags(parser)
    add("--start", type=date.fromisoformat, required=True, help="first origin, YYYY-MM-DD")
    add("--end", type=date.fromisoformat, required=True, help="last origin, YYYY-MM-DD")
    add("--steps", type=_within(1, 90), default=30, help="sessions ahead (default 30)")
    add("--stride", type=_within(1, 250), default=5, help="sessions between origins (default 5)")
    network = parser.add_mutually_exclusive_group()
    network.add_argument(
        "--recipe", help="fit this recipe as of the origins (default STOCK_RECIPE)"
    )
    network.add_argument(
        "--champion", action="store_true", help="judge the published model instead"
    )
    add("--epochs", type=int, help="at most so many epochs per fit (default STOCK_EPOCHS)")
    add("--no-refit", action="store_true", help="fit once, before the first origin")
    add("--refit-every", type=_within(1, 2500), default=63, help="sessions between fits (63)")
    add("--forecasts", type=Path, help="write every forecast row as Parquet")
    add("--report", type=Path, help="write an HTML report with plots")
    add("--json", type=Path, help="write every score as JSON")
    return parser


def _within(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low} to {high}")
        return int(text)

    return number


if __name__ == "__main__":
    sys.exit(exit_code(main))
