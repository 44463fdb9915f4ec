"""The page that says what the shipped networks are, from what their `card.json` say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HEAD = """# Model cards

The networks that ship under `pretrained/`; made from their `card.json` by `make release-files`. A
model that is trained here brings a card of its own: `GET /models/AAPL`, or `card.json` in its
bundle.

**What they are for.** A base is where a ticker's own network starts from, and what answers,
saying `cold_start`, while a ticker has none. It forecasts daily mid-prices, (high + low) / 2, up
to 90 exchange sessions ahead, as a correction to the last close with a band around it. It is a
research tool, not investment advice.

**What they are not for.** Prices within a day, returns after costs, orders. Nothing in them knows
of news, dividends or splits to come. They were fitted to large United States shares; another
market, a currency or a coin is further from what they saw, and only the ticker's own calibration
says how far.

**How they were judged.** On tickers that the weights were not fitted to, over the last year
before `trained through`, by weights fitted before that year; beside repeating the last close on
the same rows.
"""
BASE = """
## Base {name}

| | |
|---|---|
| recipe | `{recipe}`: {description} |
| fitted to | {tickers} tickers, {first_session} to {trained_through} |
| judged on | {held_out} other tickers |
| bands rest on | {origins} of their forecasts |
| one-step error | {rmse_ratio:.4f} of the last close's (p = {p_value:.2f}): {verdict} |
| direction of the next mid-price | {direction:.1f} % right |
| weight of its correction | {shrinkage:.2f} |
| ONNX against Keras | differs by at most {parity:.1e} |
| seed, trained at | {seed}, {trained_at} |
| made with | {versions} |
| SHA-256 of the prices | `{data_sha256}` |
| SHA-256 of the weights | `{weights}` |

Made again by
`STOCK_AS_OF={trained_through} python train.py --base --tickers-file pretrained/tickers.txt`.
"""
TAIL = """
## What is known to be weak

- The correction is worth next to nothing: no base errs measurably less than the last close one
  session ahead. What a base adds is how far a price may be off, and that too holds for the
  average ticker, not for each.
- Bands rest on errors of past months. After a shock they are too narrow until those errors are
  in.
- The shares were chosen among those that exist today: what failed before is missing, and risk
  looks smaller than it was.
- Prices come from sources that revise them; the checksum says which ones a base has seen.
"""


def model_cards(root: Path) -> str:
    """The whole page, the oldest base first."""
    folders = sorted(path.parent for path in root.glob("pretrained/*/card.json"))
    return HEAD + "".join(map(_section, folders)) + TAIL


def _section(folder: Path) -> str:
    card: Mapping[str, Any] = json.loads((folder / "card.json").read_text("utf-8"))
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    skill = card["skill"]
    return BASE.format(
        **{key: card[key] for key in ("name", "first_session", "trained_through", "shrinkage")},
        **{key: card[key] for key in ("parity", "seed", "trained_at", "data_sha256")},
        **{key: skill[key] for key in ("rmse_ratio", "p_value", "verdict")},
        recipe=card["recipe"]["name"],
        description=card["recipe"]["description"],
        tickers=len(card["tickers"]),
        held_out=len(card["held_out"]),
        origins=f"{card['calibration']['origins']:,}",
        direction=100 * skill["direction_accuracy"],
        versions=", ".join(f"{name} {number}" for name, number in card["versions"].items()),
        weights=_digest_of(manifest, "model.weights.h5"),
    )


def _digest_of(manifest: Mapping[str, Any], name: str) -> str:
    files = manifest.get("files", manifest)
    return str(files[name])
