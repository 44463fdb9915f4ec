"""The page on published systems from the kept results: tables, reasons, plots.

Results in, Markdown and PNG out. Trains nothing; every figure of ours is read from the results.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from calendars import sessions_after
from contracts import FloatArray
from figures import history_figure, lines_figure
from published_fits import Lot
from published_reasons import Section, reasons
from published_sums import batch_factor

FOLDER = "published"  # of the plots, beside the page
DPI = 80
WIDTH = 120
ZOOM = 60  # sessions of the close look
HEAD = """\
# Published systems, run again

`make published` (or `python published.py --data FOLDER`) fits every system below as it was
published and writes this page. "As published" is the published scale, split and choice of epoch,
with the leaks named in each section; "causal" is the same recipe on the same rows, with scales
that end with each input and an epoch chosen before the first test row, as `train.py` does it.
Forecasts of every kind are put on the published scale of their target, so that all rows of a
table are in one metric unless it says otherwise; mean ± standard deviation over seeds. Direction
is measured from the last known price; "differences" is the form that was published, signs of
successive differences of both series, in which a forecast that is wrong by 50 every day scores
100 %."""
COLUMNS = ("mse", "mae", "rmse", "direction", "direction_spec")
TABLE = (
    "| series | forecast | MSE | MAE | RMSE, USD | direction | differences |\n"
    "|---|---|--:|--:|--:|--:|--:|"
)
OVERVIEW = (
    "| system | metric | published | ours, as published | ours, causal | last price |\n"
    "|---|---|--:|--:|--:|--:|"
)
READINGS = {
    "trailing": "ours, on another scale: each value by its own trailing window",
    "on_test": "ours, epoch chosen on the judged rows",
}
NAIVE = {"last_price": "last price", "last_close": "last close", "arima": "ARIMA(5,1,0)"}


def spread(values: Sequence[float], form: str) -> str:
    """Mean and standard deviation (n - 1) in one number form, a dash where undefined."""
    mean = float(np.mean(values))
    if math.isnan(mean):
        return "-"
    if len(values) == 1:
        return form.format(mean)
    return f"{form.format(mean)} ± {form.format(float(np.std(values, ddof=1)))}"


FORMS = {
    "mse": "{:.6f}",
    "mae": "{:.4f}",
    "rmse": "{:.2f}",
    "direction": "{:.1%}",
    "direction_spec": "{:.1%}",
}


GIVEN = FORMS | {"mse": "{:g}", "mae": "{:g}"}  # published figures keep their digits


def row(
    series: str,
    label: str,
    found: Sequence[Mapping[str, Any]],
    forms: Mapping[str, str] = FORMS,
) -> str:
    """One line of a table; a missing score is a dash."""
    cells = [
        spread([result[name] for result in found], forms[name])
        if all(name in result for result in found)
        else "-"
        for name in COLUMNS
    ]
    return f"| {series} | {label} | " + " | ".join(cells) + " |"


def table(section: Section) -> str:
    """Published figures, ours in both forms, and the forecasts without a network."""
    lines = [TABLE]
    for name, results in section.results.items():
        given = section.system.published.get(name, {})
        if "mse" in given:
            lines.append(row(name, "published", [given], GIVEN))
        lines.append(row(name, "**ours, as published**", results["published"]))
        lines += [row(name, READINGS[form], results[form]) for form in section.system.readings]
        lines.append(row(name, "ours, causal", results["causal"]))
        naive = results["baselines"][0]
        alike = naive["last_price"]["mse"] == naive["last_close"]["mse"]
        for key, label in NAIVE.items():
            if not (key == "last_close" and alike):
                lines.append(row(name, label, [naive[key]]))
        theirs = {k.removeprefix("arima_"): v for k, v in given.items() if k.startswith("arima_")}
        if theirs:
            lines.append(row(name, "published ARIMA(5,1,0)", [theirs], GIVEN))
    return "\n".join(lines)


def rows_said(section: Section) -> str:
    """Which sessions every series was fitted to and judged on."""
    lines = []
    for name, lot in section.lots.items():
        days = pd.DatetimeIndex(lot.series.days)
        lines.append(
            f"{name}: {len(days):,} sessions, {days[0].date()} to {days[-1].date()}; judged on "
            f"{len(days) - lot.first:,} rows, {days[lot.first].date()} to {days[-1].date()}."
        )
    return "\n".join(lines)


def text_of(section: Section, plots: Sequence[str]) -> str:
    """One system's part of the page."""
    system, recipe = section.system, section.recipe
    parts = [
        f"## {system.title} (`{system.recipe}`)",
        f"{recipe.description}. Sequences of {recipe.unrollings}; weights chosen on: "
        f"{system.chosen_on}. {system.gaps}",
        rows_said(section),
        "Leaks of the published form: " + "; ".join(system.leaks) + ".",
        f"{section.fits}; those as published ended after {section.stopped} epochs.",
        table(section),
        reasons(section),
        *(f"![{Path(name).stem.replace('_', ' ')}]({FOLDER}/{name})" for name in plots),
    ]
    return "\n\n".join(parts)


def filled(text: str) -> str:
    """Paragraphs in lines of WIDTH; tables, headings and pictures as they are."""
    return "\n\n".join(
        part
        if part.startswith(("|", "#", "!"))
        else textwrap.fill(part, WIDTH, break_long_words=False, break_on_hyphens=False)
        for part in text.split("\n\n")
    )


def headline(section: Section) -> tuple[str, float | None, float, float, float]:
    """The published metric in words and its value, then ours as published, causal, last price."""
    name, last = section.system.recipe, section.naive("last_price", "mse")
    ours, causal = section.ours("mse"), section.ours("mse", "causal")
    if name == "linear_lstm_zscore":
        _, lot = section.only()
        factor = batch_factor(len(lot.y) - lot.split.test.start, section.recipe.batch_size)
        loss = section.theirs("batch_loss")
        formula = "validation loss in its own formula"
        return formula, loss, factor * ours, factor * causal, factor * last
    if name == "tuned_lstm":
        results, _ = section.only()
        best = min(min(trial["history"]["val_loss"]) for trial in results["trial"])
        published = section.theirs("best_val_loss")
        return "validation loss, ours the best trial's", published, best, causal, last
    given = section.theirs("mse") if section.system.published else None
    return "test MSE, mean of the series", given, ours, causal, last


def of_scale(section: Section, form: str) -> str:
    """The line of a reading with another scale, on which the causal form was not scored."""
    ours, last = (section.ours(score, form) for score in ("mse", "last_price_mse"))
    what = f"the same, {READINGS[form].removeprefix('ours, ')}"
    return (
        f"| `{section.system.recipe}` | {what} | {section.theirs('mse'):g} | {ours:.6f} | - | "
        f"{last:.6f} |"
    )


def overview(sections: Sequence[Section]) -> str:
    """One line per system in the metric that was published."""
    lines = [OVERVIEW]
    for section in sections:
        what, published, *numbers = headline(section)
        cells = ["-" if published is None else f"{published:g}"]
        cells += [f"{number:.6f}" for number in numbers]
        lines.append(f"| `{section.system.recipe}` | {what} | " + " | ".join(cells) + " |")
        lines += [of_scale(section, form) for form in section.system.rescaled]
    return "\n".join(lines)


def write_document(path: Path, sections: Sequence[Section]) -> None:
    """The page, and its plots in a folder beside it; systems without results are left out."""
    folder = path.parent / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    texts = []
    for section in sections:
        figures = PLOTS.get(section.system.recipe, _none)(section)
        names = [f"{section.system.recipe}_{name}.png" for name in figures]
        for name, figure in zip(names, figures.values(), strict=True):
            # no date and version inside, so that the same results give the same bytes
            figure.savefig(folder / name, dpi=DPI, metadata={"Software": None})
        texts.append(text_of(section, names))
    path.write_text(filled("\n\n".join([HEAD, overview(sections), *texts])) + "\n", "utf-8")


def _first(section: Section) -> tuple[Lot, Mapping[str, Any], FloatArray]:
    """The first series, the first seed's result and its forecasts of every row."""
    name = next(iter(section.results))
    result = section.results[name]["published"][0]
    return section.lots[name], result, np.array(result["forecasts"])


def _none(_: Section) -> dict[str, Any]:
    return {}


def _compared(section: Section) -> dict[str, Any]:
    lot, _, said = _first(section)
    at = slice(lot.first, None)
    days, actual = lot.series.days[at], lot.series.values[at]
    lines = {"actual": (days, actual), "forecast": (days, said[lot.split.test])}
    return {"actual_vs_predicted": lines_figure(lines, "One session ahead, rows not fitted to")}


def _history(section: Section) -> dict[str, Any]:
    _, result, _ = _first(section)
    return {"history": history_figure(result["history"], section.system.recipe)}


def _five(section: Section) -> dict[str, Any]:
    """History, split, actual against forecast, a close look, and the next session."""
    lot, result, said = _first(section)
    days, values, first = lot.series.days, lot.series.values, lot.first
    near, rows = slice(len(days) - ZOOM, None), lot.causal.last + 1
    newest = pd.Timestamp(days[-1]).date()
    after = np.array(sessions_after(section.system.sources[0].name, newest, 1), "datetime64[ns]")
    whole = {
        "training": (days[:first], values[:first]),
        "validation": (days[first:], values[first:]),
    }
    every = {
        "actual": (days, values),
        "forecast, training": (
            days[rows][lot.split.train.start : lot.split.test.start],
            said[: lot.split.test.start],
        ),
        "forecast, validation": (days[first:], said[lot.split.test]),
    }
    close = {"actual": (days[near], values[near]), "forecast": (days[near], said[-ZOOM:])}
    soon = {name: (x[-20:], y[-20:]) for name, (x, y) in close.items()}
    tomorrow = {"next session": (after, np.array([result["next"]]))}
    return {
        "prices": lines_figure({"adjusted close": (days, values)}, "Daily adjusted close"),
        "split": lines_figure(whole, "Training and validation rows"),
        "actual_vs_predicted": lines_figure(every, "One session ahead"),
        "zoom": lines_figure(close, f"The last {ZOOM} validation sessions"),
        "next_day": lines_figure(soon | tomorrow, "The session after the last one"),
    }


PLOTS: dict[str, Callable[[Section], dict[str, Any]]] = {
    "linear_lstm_zscore": _five,
    "lstm50_batchnorm": _history,
    "lstm64_dense32": _compared,
}
