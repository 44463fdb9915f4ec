"""A newly fitted model against the champion, on the test rows that neither was fitted on.

Knows neither how a network is fitted nor who publishes what; a champion can be packed, to be held
against where its folder is not.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bands import LEAST_ERRORS, Pool, errors_of
from bases import pool_of
from config import Settings
from contracts import ForecastingError, ModelCard, Prices
from data_pipeline import training_bars
from evaluation import Past, Prepared, losses_of
from features import mid_price
from inference import Network, TrainedModel
from model_store import NETWORK, ModelStore, Published
from referee import STEPS, JudgedFans, JudgedRows, Ruling, gate
from serving import check_match

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class PackedChampion:
    """A champion without its folder: all that it takes to say what it would have forecast."""

    bundle: str
    card: ModelCard
    network: bytes  # ONNX
    pool: Pool | None  # many tickers' quantiles, which its bands are drawn towards

    def model(self) -> TrainedModel:
        """Its network, loaded."""
        return TrainedModel(Network(self.network), self.card.recipe)


def packed(champion: Published, settings: Settings) -> PackedChampion:
    """A verified champion, to be sent where its folder is not.

    Raises:
        BadBundle: its base does not verify.
    """
    network = (champion.path / NETWORK).read_bytes()
    card = champion.card
    return PackedChampion(champion.bundle, card, network, pool_of(card, settings))


def usable_champion(store: ModelStore, prices: Prices) -> Published | None:
    """The champion; a damaged one, or one of another kind of prices, counts as none."""
    try:
        champion = store.champion(prices.ticker)
        if champion is not None:
            check_match(champion, prices)
    except ForecastingError as error:
        log.warning(
            "champion_set_aside ticker=%s code=%s reason=%s", prices.ticker, error.code, error
        )
        return None
    return champion


def rule(
    champion: PackedChampion | None,
    judged: tuple[JudgedRows, JudgedFans | None],
    data: Prepared,
) -> Ruling:
    """The gate, on the test rows that the champion was not fitted on either.

    Args:
        champion: None for a ticker that has none.
        judged: what the new model said on the test rows.
        data: of the new model's training; its prices reach back as far as the champion's do.
    """
    own_rows, own_fans = judged
    if champion is None:
        return gate(own_rows, None)
    card = champion.card
    bars = training_bars(data.prices, card.start_date)
    shift = len(bars) - len(data.bars)  # the champion may use earlier sessions, or later ones only
    model = champion.model()
    last = data.rows.last[data.split.test]
    days = data.bars["Date"].to_numpy()
    limit = np.datetime64(card.validation.last)
    fresh = (days[last + 1] > limit) & (last + shift >= model.first_origin)
    point = np.full(len(last), np.nan)
    point[fresh] = model.outlook(bars, last[fresh] + shift, 1).point[:, 0]
    rows = own_rows.only(np.asarray(fresh), {"champion": point})
    return gate(rows, "champion", _with_champion(own_fans, champion, (bars, shift, model)))


def _with_champion(
    fans: JudgedFans | None,
    champion: PackedChampion,
    served: tuple[pd.DataFrame, int, TrainedModel],
) -> JudgedFans | None:
    """The champion's bands at the same origins, where it was not fitted to their outcomes."""
    if fans is None:
        return None
    bars, shift, model = served
    days = bars["Date"].to_numpy()
    unseen = int(np.searchsorted(days, np.datetime64(champion.card.validation.last)))
    begin = model.first_origin if model.mode == "direct" else unseen
    origins = fans.origins + shift
    fresh = (origins >= unseen) & (origins >= begin + STEPS + LEAST_ERRORS)
    if not fresh.any():
        return None
    mids = mid_price(bars["High"].to_numpy(), bars["Low"].to_numpy())
    made_at = np.arange(begin, len(mids) - 1)
    outlook = model.outlook(bars, made_at, STEPS)
    past = Past(made_at, outlook, errors_of(outlook, mids, made_at), champion.pool)
    return fans.only(fresh, {"champion": losses_of(past.fan(origins[fresh]), mids, origins[fresh])})
