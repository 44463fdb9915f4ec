"""Why a published figure can or cannot be met, in sentences made of our results.

Knows no file and trains nothing; every number of ours comes from the results handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from features import normalise
from published_fits import Lot
from published_sums import (
    batch_factor,
    batch_loss,
    can_both_be,
    least_largest_error,
    least_rows,
    not_inverted,
)
from published_systems import System
from recipes import Recipe

Results = Mapping[str, Sequence[Mapping[str, Any]]]  # form -> results, one per seed or trial
Facts = dict[str, Any]

SESSIONS_A_YEAR = 252
NEAR = 1.1  # times the last price's MSE that counts as met for the z-score system

MLOPS = """\
Published average MSE {published:.4f}. With each value scaled by the window that ends with it,
ours is {trailing:.4f} ({trailing_reached}; seed by seed {trailing_by_seed}), where repeating the
last mid scores {trailing_last:.6f}. On blocks it is {ours:.4f} ({reached}; seed by seed
{by_seed}), and with the epoch chosen on the judged rows as well {on_test:.4f}
({on_test_reached}). Seeds differ more than the readings do. What follows is on the scale of
blocks.
Repeating the last mid scores {last:.6f} and the last close {close:.6f}: the published figure is
{times:.0f} times the error of repeating a price.

In the published form of direction ("differences") {p_direction:.1%} were published on average;
ours as published has {o_direction:.1%}, repeating the last mid {l_direction:.1%} and repeating
the last close {c_direction:.1%}. A mid lags the close of its own session, so that successive
differences agree by themselves where a forecast follows the price closely. A forecast with an
MSE {times:.0f} times that large does not follow it: a published direction near the last close's
and a published MSE like this are not of one and the same forecast of these rows.

ARIMA(5,1,0) was published with MSE {p_arima:.4f} and a direction of {p_arima_direction:.1%}.
Brought up to each origin it scores {arima:.6f} and {arima_direction:.1%} here, forecast once
over the whole test part {at_once:.4f} and {at_once_direction:.1%}. The published direction is
that of one step; the MSE is {arima_times:.0f} times that of one step, so it is of other rows,
another horizon or another scale."""

BATCHNORM = """\
The published test MSE {mse} and MAE {mae} are impossible together on a scale of 0 to 1. For any
errors MSE <= max|e| * MAE, so with |e| <= 1 MSE <= MAE; here some error would be at least MSE /
MAE = {largest:.1f} times the whole range of prices. And max|e| <= n * MAE, so n >= MSE / MAE^2 =
{rows:,} test rows are needed even with the whole error in a single one of them; if {rows:,} are
15 %, all of them are {years:.0f} years of sessions.

With the names exchanged (MSE {mae}, MAE {mse}) they {swapped}: an RMSE of {rmse:.4f}, {bias:.2f}
times the MAE (1.25 for normal errors around the truth, 1 for one constant error). That would be
{times:.1f} times the MAE of repeating the last price on our rows. Ours as published has MSE
{ours:.6f} and MAE {ours_mae:.4f}, and stopped after {stopped} epochs (published: {epochs:.0f})."""

ZSCORE = """\
The published validation loss {loss} is no MSE: the code adds up each batch's mean square divided
by that batch's rows. Over {rows:,} rows in shuffled batches of {batch} that is on average MSE *
{factor:.4f} (whole batches / {batch} + 1 / rest). In that form ours scores {ours_loss:.6f}
({in_order:.6f} with the rows in their order) and the last price {last_loss:.6f}. The published
figure divided by the factor is an MSE of {implied:.6f}.

As an MSE ours as published is {ours:.6f} and the last price's {last:.6f}: ratio {ratio:.3f},
within 10 %: {reached}. The published training loss {train_loss} is, by the same rule over
{train_rows:,} rows (factor {train_factor:.4f}), an MSE of {train_implied:.6f}, measured while
dropout is on; ours is {ours_train:.6f}, which that form calls {ours_train_loss:.6f}."""

PLAIN = """\
Only a plot of actual against predicted prices was published. At its size a forecast that repeats
the last price looks the same; ours as published has {times:.2f} times the RMSE of that."""

TUNED = """\
A random search of {count} trials: best validation loss {best:.6f} (published {p_best:.6f}:
{reached}), worst {worst:.6f} (published {p_worst:.6f}). Repeating the last price scores
{last:.6f} on the same rows.

{table}

The published "MAE {p_mae}, MSE {p_mse}, R2 {p_r2}" compares forecasts on the scale of 0 to 1 with
prices. The {rows} prices judged have mean {mean:.2f} and variance {variance:.2f}, so that the
forecasts behind such an MAE average {p_mean:.2f}: a number near zero and no price. On these prices
a forecast of {p_mean:.2f} every day has that MAE, R2 {flat_r2:.1f} and MSE {flat_mse:,.0f}: the
published R2 follows, and the published MSE is the MAE a second time.

Ours left on the scale: MAE {wrong[mae]:.2f}, MSE {wrong[mse]:,.0f}, R2 {wrong[r2]:.1f}. The same
forecasts in prices: MAE {right[mae]:.2f} USD, MSE {right[mse]:.2f} USD^2, R2 {right[r2]:.3f}."""


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """Everything there is to say of one system; results and lots by series."""

    system: System
    recipe: Recipe
    results: Mapping[str, Results]
    lots: Mapping[str, Lot]

    @property
    def fits(self) -> str:
        """How many of each form there are to average over; fewest, where the series differ."""
        count = {
            form: min(len(by[form]) for by in self.results.values())
            for form in ("published", "causal")
        }
        return f"{count['published']} fits as published, {count['causal']} causal"

    def ours(self, score: str, form: str = "published") -> float:
        """Mean of a score of ours, over series and seeds."""
        return float(np.mean([r[score] for by in self.results.values() for r in by[form]]))

    def by_seed(self, score: str, form: str = "published") -> list[float]:
        """Mean over the series of a score of ours, one per seed."""
        every = zip(*(by[form] for by in self.results.values()), strict=False)
        return [float(np.mean([result[score] for result in one])) for one in every]

    def naive(self, model: str, score: str) -> float:
        """Mean over the series of a score of a forecast without a network."""
        return float(np.mean([by["baselines"][0][model][score] for by in self.results.values()]))

    def theirs(self, score: str) -> float:
        """Mean of a published figure over the series."""
        return float(np.mean([given[score] for given in self.system.published.values()]))

    @property
    def stopped(self) -> str:
        """Epochs of our fits as published, fewest to most."""
        counts = [
            len(r["history"]["loss"]) for by in self.results.values() for r in by["published"]
        ]
        ends = sorted({min(counts), max(counts)})
        return " to ".join(map(str, ends))

    def only(self) -> tuple[Results, Lot]:
        """Results and rows of a system with one series."""
        ((_, results),), ((_, lot),) = self.results.items(), self.lots.items()
        return results, lot


def reached(ours: float, limit: float) -> str:
    """Whether a figure that is better when lower is at most the limit."""
    return "reached" if ours <= limit else "not reached"


def of_mlops(section: Section) -> Facts:
    """Errors and directions beside those of prices that are repeated."""
    ours, published, naive = section.ours("mse"), section.theirs("mse"), section.naive
    return {
        "ours": ours,
        "published": published,
        "reached": reached(ours, published),
        "by_seed": ", ".join(f"{mse:.4f}" for mse in section.by_seed("mse")),
        "trailing": section.ours("mse", "trailing"),
        "trailing_reached": reached(section.ours("mse", "trailing"), published),
        "trailing_by_seed": ", ".join(f"{m:.4f}" for m in section.by_seed("mse", "trailing")),
        "trailing_last": section.ours("last_price_mse", "trailing"),
        "on_test": section.ours("mse", "on_test"),
        "on_test_reached": reached(section.ours("mse", "on_test"), published),
        "last": naive("last_price", "mse"),
        "close": naive("last_close", "mse"),
        "times": published / naive("last_price", "mse"),
        "p_direction": section.theirs("direction_spec"),
        "o_direction": section.ours("direction_spec"),
        "l_direction": naive("last_price", "direction_spec"),
        "c_direction": naive("last_close", "direction_spec"),
        "p_arima": section.theirs("arima_mse"),
        "p_arima_direction": section.theirs("arima_direction_spec"),
        "arima": naive("arima", "mse"),
        "arima_direction": naive("arima", "direction_spec"),
        "at_once": naive("arima_at_once", "mse"),
        "at_once_direction": naive("arima_at_once", "direction_spec"),
        "arima_times": section.theirs("arima_mse") / naive("arima", "mse"),
    }


def of_batchnorm(section: Section) -> Facts:
    """What errors would have to be like to have both published figures."""
    square, absolute = section.theirs("mse"), section.theirs("mae")
    rows, both = least_rows(square, absolute), can_both_be(absolute, square, 1.0)
    return {
        "mse": square,
        "mae": absolute,
        "largest": least_largest_error(square, absolute),
        "rows": rows,
        "years": rows / 0.15 / SESSIONS_A_YEAR,
        "swapped": "are possible" if both else "are impossible too",
        "rmse": math.sqrt(absolute),
        "bias": math.sqrt(absolute) / square,
        "times": square / section.naive("last_price", "mae"),
        "ours": section.ours("mse"),
        "ours_mae": section.ours("mae"),
        "stopped": section.stopped,
        "epochs": section.theirs("epochs"),
    }


def of_zscore(section: Section) -> Facts:
    """The published loss in its own formula, ours and the last price's in the same."""
    results, lot = section.only()
    batch, train_rows = section.recipe.batch_size, lot.split.test.start
    rows = len(lot.y) - train_rows
    factor, train_factor = batch_factor(rows, batch), batch_factor(train_rows, batch)
    ours, last = section.ours("mse"), section.naive("last_price", "mse")
    errors = [lot.y[lot.split.test] - on_scale(r, lot) for r in results["published"]]
    loss = float(np.mean([r["history"]["loss"][-1] for r in results["published"]]))
    return {
        "loss": section.theirs("batch_loss"),
        **{"rows": rows, "batch": batch, "factor": factor},
        "ours_loss": ours * factor,
        "in_order": float(np.mean([batch_loss(error, batch) for error in errors])),
        "last_loss": last * factor,
        "implied": section.theirs("batch_loss") / factor,
        **{"ours": ours, "last": last, "ratio": ours / last},
        "reached": reached(ours, NEAR * last),
        "train_loss": section.theirs("train_batch_loss"),
        **{"train_rows": train_rows, "train_factor": train_factor},
        "train_implied": section.theirs("train_batch_loss") / train_factor,
        **{"ours_train": loss, "ours_train_loss": loss * train_factor},
    }


def of_plain(section: Section) -> Facts:
    """How far it is from repeating the last price."""
    return {"times": math.sqrt(section.ours("mse") / section.naive("last_price", "mse"))}


def of_tuned(section: Section) -> Facts:
    """The search's losses, and the scores of forecasts left on their scale."""
    results, lot = section.only()
    losses = [min(trial["history"]["val_loss"]) for trial in results["trial"]]
    actual, low = lot.series.values[lot.first :], section.theirs("unscaled_mae")
    flat = not_inverted(np.full(len(actual), actual.mean() - low), actual)
    said = results["published"]
    inverted = [np.array(r["forecasts"])[lot.split.test] for r in said]
    return {
        **{"count": len(losses), "best": min(losses), "worst": max(losses)},
        "p_best": section.theirs("best_val_loss"),
        "p_worst": section.theirs("worst_val_loss"),
        "reached": reached(min(losses), section.theirs("best_val_loss")),
        "last": section.naive("last_price", "mse"),
        "table": trial_table(results["trial"], losses),
        **{"p_mae": low, "p_mse": section.theirs("unscaled_mse")},
        "p_r2": section.theirs("unscaled_r2"),
        **{"rows": len(actual), "mean": actual.mean(), "variance": actual.var()},
        **{"flat_r2": flat["r2"], "flat_mse": flat["mse"], "p_mean": actual.mean() - low},
        "wrong": _averaged([not_inverted(on_scale(r, lot), actual) for r in said]),
        "right": _averaged([not_inverted(prices, actual) for prices in inverted]),
    }


def on_scale(result: Mapping[str, Any], lot: Lot) -> np.ndarray:
    """A result's forecasts of the test rows on the published scale, (n,)."""
    at = slice(lot.first, None)
    prices = np.array(result["forecasts"])[lot.split.test]
    return normalise(prices, lot.bounds[0][at], lot.bounds[1][at])


def trial_table(trials: Sequence[Mapping[str, Any]], losses: Sequence[float]) -> str:
    """One line per trial of the search."""
    lines = [
        "| trial | units | dropouts | epochs | best validation loss |",
        "|--:|--:|---|--:|--:|",
    ]
    for number, (trial, loss) in enumerate(zip(trials, losses, strict=True), 1):
        sizes = f"{trial['units']} | {trial['dropout_1']}, {trial['dropout_2']}"
        lines.append(f"| {number} | {sizes} | {len(trial['history']['loss'])} | {loss:.6f} |")
    return "\n".join(lines)


def _averaged(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}


REASONS: dict[str, tuple[str, Callable[[Section], Facts]]] = {
    "mlops_64_64_32": (MLOPS, of_mlops),
    "lstm50_batchnorm": (BATCHNORM, of_batchnorm),
    "linear_lstm_zscore": (ZSCORE, of_zscore),
    "lstm64_dense32": (PLAIN, of_plain),
    "tuned_lstm": (TUNED, of_tuned),
}


def reasons(section: Section) -> str:
    """Markdown paragraphs on one system."""
    text, facts = REASONS[section.system.recipe]
    return text.format(**facts(section))
