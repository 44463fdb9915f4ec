"""An ONNX graph that was converted once, filled with the weights of any network of its recipe.

Converting takes seconds and gives every ticker the same graph, so it is done with numbers in place
of weights: where such a number turns up in the graph, there its weight belongs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from networks.answering import from_zero

FIRST, END = 1 << 20, 1 << 24  # numbers that stand for weights; float32 holds these exactly


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A graph, and for each of its tables the places in it that hold a weight."""

    graph: onnx.ModelProto
    places: dict[str, np.ndarray]  # by initialiser, its form: which weight, -1 for none

    def filled(self, weights: Sequence[np.ndarray]) -> bytes:
        """The graph as ONNX with these weights, in the order in which they were numbered."""
        flat = np.concatenate([value.astype("float32").ravel() for value in weights])
        whole = onnx.ModelProto()
        whole.CopyFrom(self.graph)
        for table in whole.graph.initializer:
            if (place := self.places.get(table.name)) is not None:
                old = numpy_helper.to_array(table)
                new = np.where(place < 0, old, flat[place])
                table.CopyFrom(numpy_helper.from_array(new, table.name))
        return bytes(whole.SerializeToString())


def template_of(
    convert: Callable[[Sequence[np.ndarray]], bytes], weights: Sequence[np.ndarray]
) -> Template | None:
    """Convert once, with the numbers of the weights in their place.

    Args:
        convert: from weights to a graph as ONNX.
        weights: of any network of the recipe; their shapes alone matter.

    Returns:
        None where the converter computes with weights (as it folds a BatchNormalization into
        constants), so that a weight's number is nowhere to be found.
    """
    count = sum(value.size for value in weights)
    if count > END - FIRST:
        return None
    numbers = np.arange(FIRST, FIRST + count, dtype="float32")
    ends = np.cumsum([value.size for value in weights])[:-1]
    parts = np.split(numbers, ends)
    graph = onnx.load_from_string(
        convert([part.reshape(value.shape) for part, value in zip(parts, weights, strict=True)])
    )
    places = {
        table.name: _places(numpy_helper.to_array(table), count)
        for table in graph.graph.initializer
        if table.data_type == onnx.TensorProto.FLOAT
    }
    found = [place[place >= 0] for place in places.values()]
    seen = np.unique(np.concatenate(found)) if found else np.array([])
    return Template(graph, places) if len(seen) == count else None


def _places(values: np.ndarray, count: int) -> np.ndarray:
    numbered = (values >= FIRST) & (values < FIRST + count) & (values == np.floor(values))
    return np.where(numbered, values - FIRST, -1).astype(np.int64)


def converted(network: Any, length: int) -> bytes:
    """A Keras model as ONNX, by tf2onnx.

    Args:
        network: its LSTM layers start from zero.
        length: positions to call it with.
    """
    shape = (length, network.input_shape[-1])
    network(np.zeros((1, *shape), dtype="float32"))  # export fails on an uncalled model
    with TemporaryDirectory() as scratch, warnings.catch_warnings():
        # tf2onnx 1.17 still spells np.object; nothing a caller could act on
        warnings.simplefilter("ignore")
        path = Path(scratch) / "network.onnx"
        network.export(str(path), format="onnx", verbose=False)
        return bytes(from_zero(onnx.load(path)).SerializeToString())
