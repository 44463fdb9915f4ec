"""Prints the README's table from the champions' cards: `python benchmarks/honest_table.py`.

Run it in the project folder after `python train.py`; every figure is read from `card.json`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from config import get_settings
from contracts import ModelCard
from model_store import ModelStore

NAMES = {
    "lstm": "LSTM `{recipe}`",
    "arima": "ARIMA(5,1,0)",
    "last_mid": "last mid-price",
    "last_close": "**last close**",
}


def share(value: float | None) -> str:
    """A share as a percentage; a dash where the model names no direction."""
    return "-" if value is None else f"{value:.1%}"


def rows(card: ModelCard) -> list[str]:
    """One table row per model of a card, all on the same held-out sessions."""
    return [
        f"| {card.ticker} | {label.format(recipe=card.recipe['name'])} | {s['rmse']:.2f} | "
        f"{s['rmse_ratio']:.3f} | {s['mae']:.2f} | "
        f"{s['normalised_mse']:.4f} | {share(s['direction_accuracy'])} |"
        for name, label in NAMES.items()
        for s in [card.scores[name]]
    ]


def main() -> int:
    """One row per configured ticker and model."""
    settings = get_settings()
    print("| ticker | one step ahead | RMSE | / last close | MAE | MSE, normalised | direction |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for ticker in settings.tickers:
        champion = ModelStore(settings.models_dir).champion(ticker)
        if champion is None:
            print(f"{ticker} has no champion; run: python train.py {ticker}", file=sys.stderr)
            return 1
        print("\n".join(rows(champion.card)))
    print(f"\nHeld out: {champion.card.test.first} to {champion.card.test.last}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
