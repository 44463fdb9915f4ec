"""Rows of numbers on disk, read by position. Knows not what they mean."""

from __future__ import annotations

import os
import tempfile
import weakref
from pathlib import Path

import numpy as np

from contracts import FloatArray, NoBase


class RowFile:
    """Rows of `width` numbers in a file without a name: however a process ends, it leaves none.

    Rows are read into the reader's own memory, not mapped: pages of a mapped file count as the
    process's, and grow with the file (docs/EXPERIMENTS.md).

    Args:
        folder: on whose disk; made where it is missing.
        width: numbers in a row.
        dtype: how they are kept.

    Raises:
        NoBase: the folder cannot be written.
    """

    def __init__(self, folder: Path, width: int, dtype: str = "float64") -> None:
        self._width, self._dtype = width, np.dtype(dtype)
        self._bytes = width * self._dtype.itemsize
        self._rows = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._handle, name = tempfile.mkstemp(dir=folder)
            Path(name).unlink()
        except OSError as error:
            raise NoBase(f"{folder} cannot be written: {error.strerror}") from error
        weakref.finalize(self, os.close, self._handle)

    def __len__(self) -> int:
        return self._rows

    def append(self, rows: FloatArray) -> range:
        """Put rows of shape (n, width) behind the others; their positions.

        Raises:
            NoBase: the disk is full.
        """
        try:
            with open(self._handle, "wb", closefd=False) as file:
                file.write(np.ascontiguousarray(rows, dtype=self._dtype).data)
        except OSError as error:
            raise NoBase(f"prepared prices cannot be kept: {error.strerror}") from error
        first, self._rows = self._rows, self._rows + len(rows)
        return range(first, self._rows)

    def read(self, first: int, count: int) -> FloatArray:
        """The `count` rows from position `first` on, (count, width); they cannot be written to."""
        found = os.pread(self._handle, count * self._bytes, first * self._bytes)
        return np.frombuffer(found, dtype=self._dtype).reshape(count, self._width)
