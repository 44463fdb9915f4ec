"""Forecasts of many tickers into one file as they are made: memory does not grow with their number.

Every number is read from the very bytes that `/predict` sends. Knows no model and no prices.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date
from pathlib import Path
from typing import IO, Any, Protocol

import orjson

from contracts import Answer, BadSettings, ForecastingError

AT_ONCE = 64  # tickers that are asked for together and written together

Said = Answer | ForecastingError
Row = dict[str, Any]


class Desk(Protocol):
    """What forecasts; `desk.ForecastDesk` is the real one."""

    def answers(
        self, tickers: Sequence[str], steps: int, smoothing: bool
    ) -> Mapping[str, Answer | ForecastingError]: ...


Sink = Callable[[Sequence[tuple[str, Said]]], None]  # takes some tickers' answers, in order


def forecast_all(
    desk: Desk, tickers: Sequence[str], steps: int, smoothing: bool
) -> Iterator[list[tuple[str, Said]]]:
    """Answers in the order of the tickers, AT_ONCE of them together; what fails is in its place."""
    for first in range(0, len(tickers), AT_ONCE):
        some = tickers[first : first + AT_ONCE]
        found = desk.answers(some, steps, smoothing)
        yield [(ticker, found[ticker]) for ticker in some]


@contextmanager
def written(path: Path) -> Iterator[Sink]:
    """A sink for answers; the file takes its name when the block ends well, and not before.

    Its ending chooses the form: `.parquet` and `.csv` have a row per session, `.json` has the
    answers themselves by ticker, and beside them the failures.

    Raises:
        BadSettings: another ending, or a folder that cannot be written.
    """
    if (form := FORMS.get(path.suffix)) is None:
        raise BadSettings(f"--out {path}: the ending is one of {', '.join(FORMS)}")
    draft = path.with_name(f".{path.name}.part")
    try:
        with form(draft) as sink:
            yield sink
        draft.replace(path)
    except OSError as error:
        raise BadSettings(f"--out {path} cannot be written: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)


def rows(said: Sequence[tuple[str, Said]]) -> Iterator[Row]:
    """A row per session of each forecast, COLUMNS in their order; none for what failed."""
    for _, answer in said:
        if isinstance(answer, Answer):
            yield from _rows_of(orjson.loads(answer.body))


def _rows_of(told: Mapping[str, Any]) -> Iterator[Row]:
    """Prices by session, then what is the same for all of them."""
    bands, steps = told["intervals"], told["prediction_steps"]
    same = {
        "as_of": date.fromisoformat(told["as_of"]),
        **{name: told[name] for name in ("last_actual_price", "last_close", "currency", "mode")},
        "cold_start": told["cold_start"],
        "source": told["data"]["source"],
        "stale": told["data"]["stale"],
        "model_version": told["model"]["version"],
        "warnings": " ".join(warning["code"] for warning in told["warnings"]),
    }
    smoothed = told["smoothed_prices"] or [None] * steps
    for place in range(steps):
        sides = {
            f"{side}_{level}": bands[level][side][place] if level in bands else None
            for level in ("80", "95")
            for side in ("lower", "upper")
        }
        yield {
            "ticker": told["ticker"],
            "date": date.fromisoformat(told["dates"][place]),
            "step": place + 1,
            "price": told["prices"][place],
            "smoothed_price": smoothed[place],
            **sides,
            **same,
        }


COLUMNS: dict[str, str] = {  # name: Arrow's type
    **{"ticker": "string", "date": "date32", "step": "int32"},
    **{"price": "float64", "smoothed_price": "float64"},
    **{"lower_80": "float64", "upper_80": "float64", "lower_95": "float64", "upper_95": "float64"},
    **{"as_of": "date32", "last_actual_price": "float64", "last_close": "float64"},
    **{"currency": "string", "mode": "string", "cold_start": "bool", "source": "string"},
    **{"stale": "bool", "model_version": "string", "warnings": "string"},
}


@contextmanager
def _parquet(path: Path) -> Iterator[Sink]:
    """A row group for every AT_ONCE tickers."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    with ParquetWriter(path, schema) as writer:
        yield lambda said: writer.write_table(pa.Table.from_pylist(list(rows(said)), schema))


@contextmanager
def _csv(path: Path) -> Iterator[Sink]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        yield lambda said: writer.writerows(rows(said))


@contextmanager
def _json(path: Path) -> Iterator[Sink]:
    """`{"predictions": {ticker: as /predict}, "errors": {ticker: {code, detail}}}`."""
    errors: dict[str, dict[str, str]] = {}
    with path.open("wb") as file:
        file.write(b'{"predictions":{')
        yield lambda said: _put(file, said, errors)
        file.write(b'},"errors":' + orjson.dumps(errors) + b"}\n")


def _put(file: IO[bytes], said: Sequence[tuple[str, Said]], errors: dict[str, Any]) -> None:
    for ticker, answer in said:
        if isinstance(answer, Answer):
            first = b"" if file.tell() == len(b'{"predictions":{') else b","
            file.write(first + b'"%b":%b' % (ticker.encode(), answer.body))
        else:
            errors[ticker] = {"code": answer.code, "detail": str(answer)}


FORMS: dict[str, Callable[[Path], AbstractContextManager[Sink]]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".json": _json,
}
