"""Which sources of real prices there are and in what order they are asked. Knows the settings."""

from __future__ import annotations

from collections.abc import Sequence

from config import Settings
from prices.alphavantage import AlphaVantage
from prices.breaker import Breaker
from prices.guard import Guarded
from prices.pace import Pace
from prices.providers import Provider
from prices.yahoo import Yahoo


def providers(settings: Settings) -> tuple[Provider, ...]:
    """Yahoo, then Alpha Vantage where there is a key."""
    yahoo = Yahoo(settings.data_dir / ".yfinance")
    key = settings.alphavantage_api_key
    return (yahoo,) if key is None else (yahoo, AlphaVantage(key))


def resting(settings: Settings) -> dict[str, float]:
    """By source, for how many more seconds it is left alone; 0 where it may be asked."""
    folder = settings.data_dir / ".sources"
    names = [source.name for source in providers(settings)]
    return {name: Breaker(folder / f"{name}.json", name).rest() for name in names}


def guarded(sources: Sequence[Provider], settings: Settings) -> tuple[Guarded, ...]:
    """Each with the breaker and the pace it shares with every process of this data folder."""
    folder, limit = settings.data_dir / ".sources", settings.requests_per_minute
    return tuple(
        Guarded(
            source,
            Breaker(folder / f"{source.name}.json", source.name),
            Pace(folder / f"{source.name}.pace", limit),
        )
        for source in sources
    )
