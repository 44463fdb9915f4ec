"""Train a base on many tickers, or find the one that a job may use. Publishes no model.

`python train.py --base --tickers-file FILE` writes one under `pretrained/`, named after the last
session it has seen.
"""

from __future__ import annotations

import hashlib
import logging
import math
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pandas as pd
from tqdm import tqdm

import metrics
from bands import MEMORY, Outlook, calibrate, errors_of, templates
from bases import CARD_FORM, Base, fits, newest_base, read_base, write_base
from config import Settings
from contracts import (
    BadBundle,
    BaseCard,
    Calibration,
    FloatArray,
    ForecastingError,
    NoBase,
    NotEnoughHistory,
    Prices,
    Skill,
)
from data_pipeline import StockDataPipeline, cached_tickers
from evaluation import check_parity
from fitting import shrinkage
from inference import Network, TrainedModel
from model_store import CARD, NETWORK, TEMPLATES, WEIGHTS
from panel import PanelInputs, Windows, panel_inputs, stack, targets, training_windows
from recipes import Recipe
from versions import git_revision, library_versions

if TYPE_CHECKING:
    from model import LSTMStockModel

log = logging.getLogger(__name__)

STEPS = 90  # as far as a forecast may reach
YEAR = 252  # sessions before the end that a first fit leaves out, to be judged on
MANY = 50  # tickers from which on some are held out
KEPT_TEMPLATES = 400
PRIOR = 0.4  # of the weight where it is estimated; from the panel, see docs/EXPERIMENTS.md


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Bars of many tickers, through one day."""

    bars: Mapping[str, pd.DataFrame]
    through: date
    sha256: str

    @property
    def held_out(self) -> tuple[str, ...]:
        """A tenth of them by a stable hash; none where there are few."""
        if len(self.bars) < MANY:
            return ()
        return tuple(ticker for ticker in self.bars if fold(ticker) == 2)

    @property
    def fitted(self) -> tuple[str, ...]:
        """Those that weights are fitted to."""
        held = set(self.held_out)
        return tuple(ticker for ticker in self.bars if ticker not in held)


def fold(ticker: str) -> int:
    """0 to 9, the same on every machine."""
    return int(hashlib.sha256(ticker.encode()).hexdigest(), 16) % 10


def base_for(before: date, recipe: Recipe, settings: Settings, kind: Prices) -> Base | None:
    """The base a job whose origins begin at `before` may start from; None if the recipe has none.

    A shipped one if it has seen nothing later; else one is trained from the tickers there are,
    or read again if that was done before.

    Args:
        before: no session after it may have touched the base.
        recipe: whose network it is for.
        settings: where bases and prices are.
        kind: prices of the job. A base that is trained here holds only prices of the same
            adjustment, and invented or real ones, never both; a shipped one, of real prices
            in units of volatility, serves them all.

    Raises:
        NoBase: no ticker with such prices reaches far enough back.
    """
    if not recipe.has_base:
        return None
    if base := newest_base(settings, recipe, before):
        return base
    panel = gather(_known_tickers(settings), settings, before, kind)
    name = f"{panel.through}-{_key(panel, recipe, settings)}"
    folder = settings.models_dir / "bases" / name
    try:
        base = read_base(folder, shipped=False)
        if fits(base, recipe):
            return base
    except BadBundle:
        log.warning(
            "no shipped base ends by %s: training one from %d tickers here through %s",
            before,
            len(panel.bars),
            panel.through,
        )
    return train_base(panel, recipe, settings.seed, folder)


def gather(
    tickers: Iterable[str], settings: Settings, through: date, kind: Prices | None = None
) -> Panel:
    """Every session there is of each ticker up to `through`; tickers without enough are left out.

    Args:
        tickers: symbols.
        settings: where prices are.
        through: the last day.
        kind: only prices of its source (invented or real) and adjustment; None for real ones of
            any adjustment.

    Raises:
        NoBase: none is left.
    """
    found: dict[str, pd.DataFrame] = {}
    sums = []
    for ticker in tickers:
        try:
            prices = _read(ticker, settings)
        except ForecastingError as error:
            log.warning("left_out ticker=%s reason=%s", ticker, error)
            continue
        bars = prices.bars[prices.bars["Date"] <= pd.Timestamp(through)].reset_index(drop=True)
        if not _alike(prices, kind):
            continue
        if len(bars) < 2 * YEAR:
            log.warning("left_out ticker=%s sessions=%d", ticker, len(bars))
            continue
        found[ticker] = bars
        sums.append(f"{ticker} {_digest(bars)}")
    if not found:
        raise NoBase(
            f"no base has been trained through {through} or earlier, and no ticker here has "
            f"{2 * YEAR} sessions of prices up to then to train one; import longer histories, or "
            "choose a later day or the recipe mlops_64_64_32"
        )
    last = max(pd.Timestamp(bars["Date"].iloc[-1]).date() for bars in found.values())
    return Panel(found, last, hashlib.sha256("\n".join(sums).encode()).hexdigest())


def _alike(prices: Prices, kind: Prices | None) -> bool:
    own = prices.provenance
    if kind is None:
        return own.source != "synthetic"
    other = kind.provenance
    invented = (own.source == "synthetic", other.source == "synthetic")
    return invented[0] == invented[1] and own.adjustment == other.adjustment


def _read(ticker: str, settings: Settings) -> Prices:
    return StockDataPipeline(ticker, settings).read()


def _digest(bars: pd.DataFrame) -> str:
    rows = pd.util.hash_pandas_object(bars.drop(columns="Adj Close", errors="ignore"), index=False)
    return hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()


def _known_tickers(settings: Settings) -> tuple[str, ...]:
    """The configured tickers and every other in the cache."""
    return tuple(dict.fromkeys((*settings.tickers, *cached_tickers(settings))))


def _key(panel: Panel, recipe: Recipe, settings: Settings) -> str:
    made_of = f"{panel.sha256} {sorted(recipe.as_dict().items(), key=str)} {settings.seed}"
    return hashlib.sha256(made_of.encode()).hexdigest()[:8]


def train_base(
    panel: Panel, recipe: Recipe, seed: int, folder: Path, *, shipped: bool = False
) -> Base:
    """Fit twice, judge the first, keep the second.

    The first network is fitted without the last year and says, on that year, how much of its
    correction is worth using. The second is fitted to all; its errors make the quantiles.

    Args:
        panel: bars of the tickers.
        recipe: one that starts from a base.
        seed: of weights, dropout and shuffling.
        folder: where the base goes; one already there is replaced.
        shipped: whether it is one that comes with the software.

    Raises:
        NotEnoughHistory: no ticker has the sessions that one training window needs.
        ExportMismatch: ONNX and Keras differ.
    """
    inputs = {ticker: panel_inputs(bars) for ticker, bars in panel.bars.items()}
    judges = panel.held_out or panel.fitted
    trial = _fit({t: _without_last_year(inputs[t]) for t in panel.fitted}, recipe, seed, "trial")
    said = _last_year(trial, [inputs[ticker] for ticker in judges], recipe)
    moves, outcomes, _ = (np.concatenate(side) for side in zip(*said, strict=True))
    weight = shrinkage(moves, outcomes, PRIOR)
    final = _fit({ticker: inputs[ticker] for ticker in panel.fitted}, recipe, seed, "base")
    with tempfile.TemporaryDirectory() as scratch:
        weights, exported = Path(scratch) / WEIGHTS, Path(scratch) / NETWORK
        final.save(weights)
        final.shrink(weight)
        final.export_onnx(exported)
        model = TrainedModel(Network(exported), recipe.as_dict())
        x = inputs[judges[0]].windows(_origins(model, panel.bars[judges[0]]), recipe.unrollings)
        parity = check_parity(model.network.run(x), final.outputs(x))
        errors = _errors(model, [panel.bars[ticker] for ticker in judges])
        calibration = _calibration(errors)
        card = _card(panel, recipe, (seed, weight, parity), (calibration, _skill(said, weight)))
        card = replace(card, name=folder.name)
        rows = _thinned(templates(errors, calibration, len(errors)))
        np.save(Path(scratch) / TEMPLATES, rows.astype("float16"), allow_pickle=False)
        files: dict[str, Path | bytes] = {
            CARD: CARD_FORM.dump_json(card, indent=1) + b"\n",
            NETWORK: exported,
            WEIGHTS: weights,
            TEMPLATES: Path(scratch) / TEMPLATES,
        }
        return write_base(folder, files, shipped=shipped)


def _fit(inputs: Mapping[str, PanelInputs], recipe: Recipe, seed: int, what: str) -> LSTMStockModel:
    from model import LSTMStockModel

    rows = _windows(inputs, recipe)
    batch = min(recipe.base_batch_size, max(8, len(rows.x) // 8))
    updates = math.ceil(len(rows.x) / batch)
    epochs = max(recipe.base_epochs, math.ceil(recipe.base_least_updates / updates))
    chosen = replace(recipe, learning_rate=recipe.base_learning_rate)
    network = LSTMStockModel(chosen, seed=seed)
    with tqdm(total=epochs, desc=f"{what} of {len(inputs)} tickers", unit="epoch") as bar:
        network.fit_all(
            rows.x, rows.y, epochs, batch, on_epoch_end=lambda epoch, _: _advance(bar, epoch)
        )
    return network


def _advance(bar: tqdm[NoReturn], epoch: int) -> None:
    bar.update(epoch + 1 - bar.n)


def _windows(inputs: Mapping[str, PanelInputs], recipe: Recipe) -> Windows:
    parts = []
    for rows in inputs.values():
        count = len(rows.mids)
        target = targets(rows, recipe.horizons, count)
        try:
            parts.append(training_windows(rows, target, range(count - 1), recipe.unrollings))
        except NotEnoughHistory:
            continue
    if not parts:
        raise NotEnoughHistory(have=0, need=1, what="tickers with a whole training window")
    return stack(parts)


def _without_last_year(inputs: PanelInputs) -> PanelInputs:
    return PanelInputs(
        *(side[:-YEAR] for side in (inputs.x, inputs.unit, inputs.mids, inputs.closes))
    )


def _last_year(
    network: LSTMStockModel, judges: Iterable[PanelInputs], recipe: Recipe
) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
    """Of each session of the last year: what the trial network said, what came, the last close.

    All as logs in units, the last close from the last mid, the others from the last close.
    """
    found: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    for inputs in judges:
        last = np.arange(len(inputs.mids) - YEAR, len(inputs.mids) - 1)
        said = network.outputs(inputs.windows(last, recipe.unrollings))[:, 0]
        gap = np.log(inputs.closes / inputs.mids) / inputs.unit
        found.append((said, targets(inputs, (1,), len(inputs.mids))[last, 0], gap[last]))
    return found


def _skill(said: list[tuple[FloatArray, FloatArray, FloatArray]], weight: float) -> Skill:
    """One step ahead over the last year: mean of the tickers' ratios, days as the test's rows.

    Two tickers of one day are no two outcomes, so the test is on the day's mean loss.
    """
    ratios = [
        metrics.rmse(came, weight * move) / metrics.rmse(came, np.zeros_like(came))
        for move, came, _ in said
    ]
    rows = min(len(came) for _, came, _ in said)
    loss = np.mean([(came - weight * move)[-rows:] ** 2 for move, came, _ in said], axis=0)
    baseline = np.mean([came[-rows:] ** 2 for _, came, _ in said], axis=0)
    p_value = metrics.equal_accuracy(loss, baseline)
    ratio = float(np.mean(ratios))
    hits = np.mean(
        [np.mean(np.sign(gap + weight * move) == np.sign(gap + came)) for move, came, gap in said]
    )
    return Skill(
        baseline="last_close",
        rmse_ratio=ratio,
        direction_accuracy=float(hits),
        p_value=p_value,
        verdict=metrics.verdict(ratio, p_value),
    )


def _origins(model: TrainedModel, bars: pd.DataFrame) -> np.ndarray:
    """The last MEMORY that have an outcome."""
    return np.arange(max(model.first_origin, len(bars) - 1 - MEMORY), len(bars) - 1)


def _errors(model: TrainedModel, histories: Iterable[pd.DataFrame]) -> FloatArray:
    """Standardised errors of every ticker, (n, STEPS), one ticker after the other."""
    found = []
    for bars in histories:
        origins = _origins(model, bars)
        outlook: Outlook = model.outlook(bars, origins, STEPS)
        mids = (bars["High"].to_numpy(dtype=float) + bars["Low"].to_numpy(dtype=float)) / 2
        found.append(errors_of(outlook, mids, origins))
    return np.concatenate(found)


def _calibration(errors: FloatArray) -> Calibration:
    return calibrate(errors, memory=len(errors))


def _thinned(rows: FloatArray) -> FloatArray:
    """KEPT_TEMPLATES of them, evenly spread."""
    chosen = np.linspace(0, len(rows) - 1, min(KEPT_TEMPLATES, len(rows))).round().astype(int)
    return np.asarray(rows[chosen])


def _card(
    panel: Panel,
    recipe: Recipe,
    made: tuple[int, float, float],
    judged: tuple[Calibration, Skill],
) -> BaseCard:
    seed, weight, parity = made
    calibration, skill = judged
    first = min(pd.Timestamp(bars["Date"].iloc[0]).date() for bars in panel.bars.values())
    return BaseCard(
        name=str(panel.through),
        recipe=recipe.as_dict(),
        seed=seed,
        trained_at=datetime.now(UTC).replace(microsecond=0),
        trained_through=panel.through,
        first_session=first,
        tickers=panel.fitted,
        held_out=panel.held_out,
        shrinkage=weight,
        calibration=calibration,
        skill=skill,
        parity=parity,
        data_sha256=panel.sha256,
        versions=library_versions(),
        git_revision=git_revision(),
    )
