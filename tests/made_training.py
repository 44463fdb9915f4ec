"""A training that takes no time: what a worker would send, without a fit."""

from __future__ import annotations

from builders import card

from bundling import Assignment, Trained
from contracts import ExportMismatch
from evaluation import prepared
from model_store import NETWORK, WEIGHTS
from referee import JudgedRows, Ruling, score_one_step


def trained_of(ticker: str, assignment: Assignment, _: object = None) -> Trained:
    """The bundle of a network that repeats the last close; its files are only names."""
    data = prepared(assignment.prices, assignment.start_date, assignment.recipe)
    test = data.rows.rows(data.split.test)
    mids = data.mids[test.last]
    closes = data.bars["Close"].to_numpy(dtype=float)[test.last]
    said = {"lstm": closes, "last_mid": mids, "last_close": closes, "arima": mids}
    rows = JudgedRows(mids, closes, data.mids[test.last + 1], test.lo, test.hi, said)
    facts = card(
        ticker=ticker,
        recipe=assignment.recipe.as_dict(),
        data=data.prices.provenance,
        scores=score_one_step(rows),
    )
    return Trained(
        files={NETWORK: b"a network", WEIGHTS: b"its weights"},
        card=facts,
        rows=rows,
        fans=None,
        ruling=Ruling(assignment.champion is None, "first champion"),
        against=assignment.champion.bundle if assignment.champion else None,
        criteria={"aic": 1.0, "bic": 2.0},
        epochs=((0.5, 0.4), (0.3, 0.2)),
        figures={"training_history.png": b"a picture"},
        began=1_800_000_000.0,
        seconds=1.5,
    )


def group_of(name: str, assignments: list[Assignment]) -> list[Trained | ExportMismatch]:
    """A group's; BBB's export differs, and its error says whose group it was."""
    return [
        ExportMismatch(f"in the group {name}") if ticker == "BBB" else trained_of(ticker, one)
        for ticker, one in ((each.prices.ticker, each) for each in assignments)
    ]
