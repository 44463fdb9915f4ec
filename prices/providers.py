"""What a source of prices is to the rest: one class with one method. Knows no cache, no setting.

To add a source: a module beside `yahoo` with a class that keeps this protocol, a test file, and a
line in `refresh.ladder`.
"""

from __future__ import annotations

from datetime import date
from typing import Protocol

import pandas as pd

from contracts import Adjustment, Source, SourceUnavailable

FIRST_DAY = date(1980, 1, 1)  # what a whole history means unless the cache reaches back further


class NoData(SourceUnavailable):
    """The source answered, and has no bars under this symbol."""


class Provider(Protocol):
    """A source of daily bars."""

    @property
    def name(self) -> Source:
        """What its bars are labelled with."""
        ...

    @property
    def adjustment(self) -> Adjustment:
        """Of Open, High, Low and Close."""
        ...

    @property
    def in_parts(self) -> bool:
        """Whether a few sessions cost less to fetch than the whole history."""
        ...

    def fetch(self, ticker: str, first: date, last: date) -> pd.DataFrame:
        """Every daily bar there is from `first` through `last`, as it comes, not validated.

        Args:
            ticker: Yahoo's symbol.
            first: earliest day asked for.
            last: latest day kept; give the last completed session, newer bars are still forming.

        Returns:
            Columns of BAR_COLUMNS, ascending, at least one row; no empty rows at the end.

        Raises:
            NoData: it has no bars of this symbol in this span.
            SourceUnavailable: anything else, in one short line without address or secret.
        """
        ...
