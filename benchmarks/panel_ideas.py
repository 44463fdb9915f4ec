"""What was tried for recipe `panel`, each idea beside the recipe, judged on validation only.

`python benchmarks/panel_ideas.py FOLDER [IDEA ...]`: FOLDER holds one CSV per ticker. Fitted to
the tickers of folds 3 to 9 through 2022, scored on those of fold 2 from 2023-01-03 to 2024-09-30;
folds 0 and 1 and everything later are not read. One line per idea: one-step RMSE over the last
close's (mean over tickers) with the correction whole, halved and quartered; the slope of what
came on what was said; and the mean of log scale + 3 log(1 + error^2 / 5) one, five and thirty
sessions ahead (the likelihood of the bands' shape, smaller is better).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}

import baseline_arima
from base_training import fold
from model import HEADS, WEIGHT_DECAY, correction_and_scale, keras
from panel import PanelInputs, Windows, panel_inputs, stack, targets, training_windows
from recipes import find_recipe

RECIPE = find_recipe("panel")
FIT_END, VALID_FROM, VALID_TO = "2022-12-30", "2023-01-03", "2024-09-30"
L, ops = keras.layers, keras.ops
Body = Callable[[Any], Any]


def read(folder: Path) -> tuple[dict[str, PanelInputs], dict[str, pd.DatetimeIndex]]:
    """Inputs and days of every ticker of folds 2 to 9, through the end of validation."""
    found, days = {}, {}
    for path in sorted(folder.glob("*.csv*")):
        ticker = path.name.split(".")[0]
        if fold(ticker) < 2:
            continue
        bars = pd.read_csv(path, parse_dates=["Date"])
        bars = bars[bars["Date"] <= VALID_TO].dropna().reset_index(drop=True)
        if len(bars) > 1000:
            found[ticker], days[ticker] = panel_inputs(bars), pd.DatetimeIndex(bars["Date"])
    return found, days


def lstm(units: tuple[int, ...] = (64, 64)) -> Body:
    """The recipe's stack, or another."""

    def body(given: Any) -> Any:
        state = given
        for size in units:
            state = L.Dropout(0.3)(L.LSTM(size, return_sequences=True)(state))
        return L.Dropout(0.3)(L.Dense(32, activation="tanh")(state))

    return body


def attention(given: Any) -> Any:
    """Causal self-attention of four heads between the two LSTM layers."""
    state = L.Dropout(0.3)(L.LSTM(64, return_sequences=True)(given))
    seen = L.MultiHeadAttention(4, 16)(state, state, use_causal_mask=True)
    state = L.LSTM(64, return_sequences=True)(L.LayerNormalization()(L.Add()([state, seen])))
    return L.Dropout(0.3)(L.Dense(32, activation="tanh")(L.Dropout(0.3)(state)))


def transformer(given: Any) -> Any:
    """Two causal encoder blocks of width 64 over a convolution of five days."""
    state = L.Conv1D(64, 5, padding="causal")(given)
    for _ in range(2):
        calm = L.LayerNormalization()(state)
        seen = L.MultiHeadAttention(4, 16)(calm, calm, use_causal_mask=True)
        state = L.Add()([state, L.Dropout(0.3)(seen)])
        wide = L.Dense(128, activation="relu")(L.LayerNormalization()(state))
        state = L.Add()([state, L.Dropout(0.3)(L.Dense(64)(wide))])
    return L.Dropout(0.3)(L.Dense(32, activation="tanh")(state))


def gaussian_loss(y_true: Any, y_pred: Any) -> Any:
    """Squared error and the likelihood of a normal error."""
    return _loss(y_true, y_pred, lambda error: error * error / 2, own_location=False)


def located_loss(y_true: Any, y_pred: Any) -> Any:
    """One Student t likelihood that moves the correction too, no squared error."""
    return _loss(y_true, y_pred, lambda e: 3 * ops.log1p(e * e / 5), own_location=True)


def squared_loss(y_true: Any, y_pred: Any) -> Any:
    """Squared error one step ahead alone."""
    said = y_pred[:, -ops.shape(y_true)[1] :]
    known = ops.isfinite(y_true[..., :1])
    gap = ops.where(known, y_true[..., :1], 0.0) - said[..., :1]
    return ops.mean(ops.square(gap) * ops.cast(known, "float32"))


def _loss(y_true: Any, y_pred: Any, surprise: Callable[[Any], Any], *, own_location: bool) -> Any:
    said = y_pred[:, -ops.shape(y_true)[1] :]
    known = ops.isfinite(y_true)
    count, came = ops.cast(known, "float32"), ops.where(known, y_true, 0.0)
    move, log_scale = said[..., :1], ops.clip(said[..., 1:], -3.0, 3.0)
    share = ops.convert_to_tensor([[h**-0.5 for h in RECIPE.horizons]], dtype="float32")
    centre = move if own_location else ops.stop_gradient(move)
    unlikely = ops.mean(
        (log_scale + surprise((came - centre * share) * ops.exp(-log_scale))) * count
    )
    if own_location:
        return unlikely
    return ops.mean(ops.square(came[..., :1] - move) * count[..., :1]) + 0.5 * unlikely


def technical(inputs: PanelInputs) -> PanelInputs:
    """RSI(14), MACD(12, 26) in units and the Bollinger position (20) beside the inputs."""
    close = pd.Series(np.log(inputs.closes))
    moves = close.diff().fillna(0.0)
    up, down = (
        side.ewm(alpha=1 / 14).mean() for side in (moves.clip(lower=0), -moves.clip(upper=0))
    )
    rsi = (up / (up + down)).fillna(0.5).to_numpy() * 2 - 1
    macd = (close.ewm(span=12).mean() - close.ewm(span=26).mean()).to_numpy() / inputs.unit / 3
    around = (
        ((close - close.rolling(20).mean()) / close.rolling(20).std() / 2).fillna(0.0).to_numpy()
    )
    more = np.clip(np.stack([rsi, macd, around], axis=-1), -6, 6)
    return replace(inputs, x=np.concatenate([inputs.x, more], axis=1))


def with_market(
    found: dict[str, PanelInputs], days: dict[str, pd.DatetimeIndex]
) -> dict[str, PanelInputs]:
    """The day's mean over all tickers of the same inputs, beside the own ones."""
    total = sum_of([pd.DataFrame(found[t].x, index=days[t]) for t in found])
    return {
        t: replace(found[t], x=np.concatenate([found[t].x, total.loc[days[t]].to_numpy()], axis=1))
        for t in found
    }


def sum_of(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Mean by day over tables of unequal length."""
    return pd.concat(tables).groupby(level=0).mean()


def rows_of(inputs: PanelInputs, end: int, first: int = 0) -> Windows:
    """Training windows whose outcomes are known before `end`."""
    target = targets(inputs, RECIPE.horizons, end)
    return training_windows(inputs, target, range(first, end - 1), RECIPE.unrollings)


def shuffled(rows: Windows, seed: int) -> Windows:
    """As many invented windows again: halves of real ones, joined at random (a block bootstrap)."""
    order = np.random.default_rng(seed).permutation(len(rows.x))
    cut = rows.x.shape[1] // 2
    x = np.concatenate([rows.x[order][:, :cut], rows.x[:, cut:]], axis=1)
    return Windows(np.concatenate([rows.x, x]), np.concatenate([rows.y, rows.y]))


def fitted(rows: Windows, body: Body | None, loss: Any, seed: int, epochs: int) -> Any:
    """A network trained as a base is, with another body or loss."""
    keras.utils.set_random_seed(seed)
    outputs = 1 + len(RECIPE.horizons)
    given = keras.Input((None, rows.x.shape[-1]))
    straight = L.Dense(outputs, kernel_initializer="zeros", name=HEADS[1])(given)
    said = straight
    if body is not None:
        head = L.Dense(outputs, kernel_initializer="zeros", name=HEADS[0])(body(given))
        said = L.Add()([head, straight])
    network = keras.Model(given, said)
    batch = RECIPE.base_batch_size
    steps = epochs * -(-len(rows.x) // batch)
    rate = keras.optimizers.schedules.CosineDecay(RECIPE.base_learning_rate, steps)
    network.compile(
        keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY, clipnorm=1.0),
        loss,
        jit_compile=False,
    )
    network.fit(rows.x, rows.y, epochs=epochs, batch_size=batch, verbose=0)
    return network


def judged(
    networks: list[Any], found: dict[str, PanelInputs], days: dict[str, pd.DatetimeIndex]
) -> str:
    """The figures of one idea on the tickers that were not fitted to."""
    ratios, said_all, came_all, shapes = [], [], [], []
    for ticker in (t for t in found if fold(t) == 2):
        inputs = found[ticker]
        last = np.flatnonzero((days[ticker] >= VALID_FROM) & (days[ticker] <= VALID_TO))[:-1]
        whole = np.mean(
            [np.asarray(n(inputs.x[None].astype("float32")))[0] for n in networks], axis=0
        )
        said, target = whole[last], targets(inputs, RECIPE.horizons, len(inputs.mids))[last]
        known = np.isfinite(target[:, 0])
        move, came = said[known, 0], target[known, 0]
        unit = inputs.unit[last][known]
        ratios.append(
            [
                np.sqrt(np.sum(((came - w * move) * unit) ** 2) / np.sum((came * unit) ** 2))
                for w in (1.0, 0.5, 0.25)
            ]
        )
        said_all.append(move)
        came_all.append(came)
        log_scale = np.clip(said[:, 1:], -3, 3)
        shapes.append(
            np.nanmean(log_scale + 3 * np.log1p((target / np.exp(log_scale)) ** 2 / 5), axis=0)
        )
    move, came = np.concatenate(said_all), np.concatenate(came_all)
    slope = float(move @ came / max(float(move @ move), 1e-12))
    cells = [f"{v:.5f}" for v in np.mean(ratios, axis=0)] + [f"{slope:.2f}"]
    cells += [f"{np.mean(shapes, axis=0)[RECIPE.horizons.index(h)]:.4f}" for h in (1, 5, 30)]
    return " | ".join(cells)


def with_arima(found: dict[str, PanelInputs], days: dict[str, pd.DatetimeIndex]) -> str:
    """The last close moved towards ARIMA(5,1,0), fitted on the 1,160 sessions before validation."""
    said_all, came_all, ratios = [], [], []
    for ticker in (t for t in found if fold(t) == 2):
        inputs = found[ticker]
        last = np.flatnonzero((days[ticker] >= VALID_FROM) & (days[ticker] <= VALID_TO))[:-1]
        start = max(0, int(last[0]) + 1 - baseline_arima.FIT_SESSIONS)
        model = baseline_arima.fit(inputs.mids[start : int(last[0]) + 1])
        point = baseline_arima.paths(model, inputs.mids, last, 1)[0][:, 0]
        unit = inputs.unit[last]
        move = np.log(point / inputs.closes[last]) / unit
        came = np.log(inputs.mids[last + 1] / inputs.closes[last]) / unit
        errors = [np.sum(((came - w * move) * unit) ** 2) for w in (1.0, 0.5, 0.25)]
        ratios.append(np.sqrt(np.array(errors) / np.sum((came * unit) ** 2)))
        said_all.append(move)
        came_all.append(came)
    move, came = np.concatenate(said_all), np.concatenate(came_all)
    cells = [f"{v:.5f}" for v in np.mean(ratios, axis=0)] + [f"{move @ came / (move @ move):.2f}"]
    return " | ".join([*cells, "-", "-", "-"])


def constant(
    found: dict[str, PanelInputs], days: dict[str, pd.DatetimeIndex], middle: Callable[..., Any]
) -> str:
    """One correction for every ticker and day: the mean or median move of the fitted years."""
    years = []
    for ticker in (t for t in found if fold(t) > 2):
        end = int(np.searchsorted(days[ticker], pd.Timestamp(FIT_END), side="right"))
        years.append(targets(found[ticker], (1,), end)[:, 0])
    move, ratios = float(middle(np.concatenate(years))), []
    for ticker in (t for t in found if fold(t) == 2):
        inputs = found[ticker]
        last = np.flatnonzero((days[ticker] >= VALID_FROM) & (days[ticker] <= VALID_TO))[:-1]
        came, unit = targets(inputs, (1,), len(inputs.mids))[last, 0], inputs.unit[last]
        errors = [np.sum(((came - w * move) * unit) ** 2) for w in (1.0, 0.5, 0.25)]
        ratios.append(np.sqrt(np.array(errors) / np.sum((came * unit) ** 2)))
    return " | ".join([*(f"{v:.5f}" for v in np.mean(ratios, axis=0)), f"({move:.3f})", *"---"])


def main() -> int:
    """Train and judge the ideas that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("ideas", nargs="*")
    parser.add_argument("--epochs", type=int, default=RECIPE.base_epochs, help="of every network")
    arguments = parser.parse_intermixed_args()
    found, days = read(arguments.folder)
    epochs = arguments.epochs
    ends = {t: int(np.searchsorted(days[t], pd.Timestamp(FIT_END), side="right")) for t in found}
    loss = correction_and_scale(RECIPE.horizons)
    train = [t for t in found if fold(t) > 2 and ends[t] > 300]

    def rows(inputs: dict[str, PanelInputs], since: str = "2015") -> Windows:
        return stack(
            [
                rows_of(inputs[t], ends[t], int(np.searchsorted(days[t], pd.Timestamp(since))))
                for t in train
            ]
        )

    bodies: dict[str, tuple[Body | None, Any]] = {
        "panel": (lstm(), loss),
        "squared error alone": (lstm(), squared_loss),
        "t likelihood moves the correction": (lstm(), located_loss),
        "normal likelihood": (lstm(), gaussian_loss),
        "LSTM 16": (lstm((16,)), loss),
        "no LSTM (HAR)": (None, loss),
        "attention": (attention, loss),
        "transformer": (transformer, loss),
    }
    plans: dict[str, Callable[[], tuple[list[Any], dict[str, PanelInputs]]]] = {
        name: lambda b=body, o=own: ([fitted(rows(found), b, o, 42, epochs)], found)
        for name, (body, own) in bodies.items()
    }

    def on(
        inputs: dict[str, PanelInputs], since: str = "2015"
    ) -> tuple[list[Any], dict[str, PanelInputs]]:
        return [fitted(rows(inputs, since), lstm(), loss, 42, epochs)], inputs

    plans |= {
        "RSI, MACD, Bollinger": lambda: on({t: technical(v) for t, v in found.items()}),
        "the panel's means": lambda: on(with_market(found, days)),
        "since 2019 only": lambda: on(found, "2019"),
        "block bootstrap": lambda: (
            [fitted(shuffled(rows(found), 0), lstm(), loss, 42, epochs)],
            found,
        ),
        "three seeds averaged": lambda: (
            [fitted(rows(found), lstm(), loss, seed, epochs) for seed in (1, 2, 3)],
            found,
        ),
    }
    print("| idea | whole | half | quarter | slope | 1 | 5 | 30 | s |")
    print("|---|" + "--:|" * 8)
    simple: dict[str, Callable[[], str]] = {
        "last close and ARIMA": lambda: with_arima(found, days),
        "the mean move": lambda: constant(found, days, np.nanmean),
        "the median move": lambda: constant(found, days, np.nanmedian),
    }
    for name in arguments.ideas or [*plans, *simple]:
        began = time.monotonic()
        line = simple[name]() if name in simple else judged(*plans[name](), days)
        print(f"| {name} | {line} | {time.monotonic() - began:.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
