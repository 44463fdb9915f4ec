"""Whether a table of bars can be trusted: what is repaired, dropped, noted or refused.

Frames in, bars and findings out. Knows neither where bars come from nor where they go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from contracts import BAR_COLUMNS, BadPrices, Finding
from prices.findings import Findings, Mask, Report, in_order, of_table, on_days
from prices.moves import jumps
from prices.repeats import copied, quiet_sessions
from prices.schema import PRICES, TOUCH, WORDS, unusable
from prices.sessions import Market, calendar_findings, fillers, not_ended

FEW = 5  # uncertain rows that may be dropped from any table; of long ones FEW_SHARE
FEW_SHARE = 0.005
HALF = 0.5  # of the rows at most, in a table of a few

# Dropped with certainty: nothing that was traded is lost with them, however many there are.
CERTAIN = {"repeated_row", "event_row", "footer_row", "filler_bar"}


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """Bars that keep the promises of `contracts.Prices`, and what a reader should know of them.

    Where a finding is `refused` the bars are not to be used.
    """

    bars: pd.DataFrame
    findings: Findings

    @property
    def report(self) -> Report:
        """The findings as they are kept beside the bars."""
        return Report.of(self.findings)

    @property
    def refusal(self) -> str | None:
        """Why the table cannot be trusted, in one line; None where it can."""
        texts = [finding.text for finding in self.findings if finding.action == "refused"]
        more = f" (and {len(texts) - 1} more like it)" if len(texts) > 1 else ""
        return texts[0] + more if texts else None


def check_bars(
    table: pd.DataFrame, name: str, market: Market | None = None, found: Sequence[Finding] = ()
) -> Checked:
    """Bring a table into order and judge it: the one way into the cache, from every source.

    Args:
        table: columns of BAR_COLUMNS, any order of rows, NaN allowed.
        name: what to call the table in an error.
        market: whose calendar its dates should keep; without one they are not judged.
        found: what reading the table has found already.

    Raises:
        BadPrices: too much is wrong; the text says what.
    """
    checked = judged(table, market, found)
    if checked.refusal is not None:
        raise BadPrices(f"{name}: {checked.refusal}")
    return checked


def judged(
    table: pd.DataFrame, market: Market | None = None, found: Sequence[Finding] = ()
) -> Checked:
    """The same without raising: a refusal is a finding like any other."""
    findings, rows = list(found), len(table)
    bars = _ended(_by_day(table, findings), market, findings)
    bars = _well_formed(bars, findings)
    bars = _without(bars, copied(bars), "copied_block", _COPIED, findings)
    if market is not None and len(bars):
        text = "nothing happened on this day without a session"
        bars = _without(bars, fillers(bars, market), "filler_bar", text, findings)
    findings += _too_few(bars, rows, findings)
    if any(finding.action == "refused" for finding in findings):
        return Checked(bars, in_order(findings))
    if market is not None:
        findings += calendar_findings(bars, market)
    findings += jumps(bars) + quiet_sessions(bars)
    return Checked(bars.astype({"Volume": np.int64}), in_order(findings))


_COPIED = "the same prices and volume as an earlier block of sessions"


def _by_day(table: pd.DataFrame, findings: list[Finding]) -> pd.DataFrame:
    """One row a day, ascending. Days with two different bars keep none: nobody knows the right one.

    Bars that differ by float noise are the same; of their volumes the largest counts.
    """
    if table["Date"].is_monotonic_increasing and table["Date"].is_unique:
        return table[list(BAR_COLUMNS)].reset_index(drop=True)
    bars = table[list(BAR_COLUMNS)].sort_values([*BAR_COLUMNS], ignore_index=True)
    again = bars["Date"].duplicated().to_numpy()
    if not again.any():
        return bars
    prices = bars[list(PRICES)].to_numpy(dtype=float)
    with np.errstate(invalid="ignore"):
        near = np.abs(prices[1:] - prices[:-1]) <= TOUCH * np.abs(prices[:-1])
    same = (near | (np.isnan(prices[1:]) & np.isnan(prices[:-1]))).all(axis=1)
    differs = np.concatenate([[False], ~same]) & again
    torn = bars["Date"].isin(bars["Date"][differs]).to_numpy()
    once = bars["Date"].duplicated(keep="last").to_numpy() & ~torn
    first_torn = torn & ~again
    text = "different bars for one day: none is used"
    findings += on_days(bars["Date"], first_torn, "conflicting_bars", "dropped", text)
    findings += on_days(bars["Date"], once, "repeated_row", "dropped", "the row is there again")
    return bars[~torn & ~once].reset_index(drop=True)


def _ended(bars: pd.DataFrame, market: Market | None, findings: list[Finding]) -> pd.DataFrame:
    if market is None:
        return bars
    text = f"the last session that had ended is {market.ended}"
    return _without(bars, not_ended(bars, market), "future_date", text, findings)


def _well_formed(bars: pd.DataFrame, findings: list[Finding]) -> pd.DataFrame:
    """Without what breaks the schema; small contradictions of a bar and lacking volumes mended."""
    bars = bars.astype(dict.fromkeys(BAR_COLUMNS[1:], float))
    codes = unusable(bars)
    for code in codes.unique():
        rows = np.isin(np.arange(len(bars)), codes.index[codes == code])
        findings += on_days(bars["Date"], rows, code, "dropped", WORDS[code])
    bars = bars.drop(index=codes.index).reset_index(drop=True)
    return _volume_given(_range_around(bars, findings), findings)


def _range_around(bars: pd.DataFrame, findings: list[Finding]) -> pd.DataFrame:
    """High and Low that contain Open and Close, as they do by definition."""
    top, bottom = bars[["Open", "Close"]].max(axis=1), bars[["Open", "Close"]].min(axis=1)
    wide = ((top > bars["High"] * (1 + TOUCH)) | (bottom < bars["Low"] * (1 - TOUCH))).to_numpy()
    if not wide.any():
        return bars
    text = "High or Low moved to Open or Close, which lay up to 1 % outside"
    findings += on_days(bars["Date"], wide, "range_widened", "repaired", text)
    high = bars["High"].where(~wide, np.maximum(bars["High"], top))
    low = bars["Low"].where(~wide, np.minimum(bars["Low"], bottom))
    return bars.assign(High=high, Low=low)


def _volume_given(bars: pd.DataFrame, findings: list[Finding]) -> pd.DataFrame:
    unknown = bars["Volume"].isna().to_numpy()
    if unknown.any():
        text = "no volume is given: taken as none"
        findings += on_days(bars["Date"], unknown, "missing_volume", "repaired", text)
    return bars.assign(Volume=np.rint(bars["Volume"].fillna(0)))


def _without(
    bars: pd.DataFrame, chosen: Mask, code: str, text: str, findings: list[Finding]
) -> pd.DataFrame:
    if not chosen.any():
        return bars
    findings += on_days(bars["Date"], chosen, code, "dropped", text)
    return bars[~chosen].reset_index(drop=True)


def _too_few(bars: pd.DataFrame, rows: int, findings: Sequence[Finding]) -> list[Finding]:
    """A refusal where no bar, or too few of the bars, can be used."""
    lost = [f for f in findings if f.action == "dropped" and f.code not in CERTAIN]
    if len(bars) and len(lost) <= min(max(FEW, FEW_SHARE * rows), HALF * rows):
        return []
    if not lost:
        return [of_table("no_bars", "refused", "it holds no bars")]
    first = min(lost, key=lambda finding: str(finding.date))
    when = f" on {first.date}" if first.date else ""
    text = f"{len(lost)} of {rows} rows cannot be used, the first{when}: {first.text}"
    return [of_table("too_many_bad_rows", "refused", text)]
