"""Thresholds on boundary values that a user may give as a quantile of a graph's edges: "q0.8".

The quantile is read off a histogram of whole numbers. Histograms of the parts of a graph add up to that of
the whole, so that the threshold is the same number however the graph is cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from cellflow.core.errors import BadInput
from cellflow.core.graphs import Graph
from cellflow.core.histogram import BINS, Bins

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

Quantile = Annotated[str, Field(pattern=r"^q(0(\.\d+)?|1(\.0+)?)$")]
"""q0 to q1."""


def _one_message(value: object, check: ValidatorFunctionWrapHandler) -> float | str:
    """The value if it passes. Else pydantic would complain of each of the two kinds on its own."""
    try:
        found: float | str = check(value)
    except ValidationError as error:
        raise PydanticCustomError(
            "threshold", "Expected a number between 0 and 1, or a quantile of the edges such as q0.8"
        ) from error
    return found


Beta = Annotated[Annotated[float, Field(gt=0, lt=1)] | Quantile, WrapValidator(_one_message)]
Threshold = Annotated[Annotated[float, Field(ge=0, le=1)] | Quantile, WrapValidator(_one_message)]

BOUNDARIES = Bins(0.0, 1.0, integer=False)

MIDDLE = 0.5
"""What stands for a quantile where there is no edge to take it of."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """What solvers ask of a whole graph before they look at a part of it."""

    counts: I64
    """`histogram` of the edges."""
    largest: F64
    """The size of the largest edge in each of its bins; 0 without one."""
    sizes: F64
    """(): the sizes of all edges and long-range pairs together, each at least 1."""
    lifted: I64
    """(): how many lifted pairs there are."""


def statistics(graph: Graph) -> Statistics:
    """Those of a graph, or of the part that its edges are."""
    largest = np.zeros(BINS)
    np.maximum.at(largest, BOUNDARIES.place(graph.boundary), graph.sizes)
    kinds = (graph, graph.long_range) if graph.long_range else (graph,)
    return Statistics(
        histogram(graph.boundary),
        largest,
        np.array(sum(float(np.maximum(kind.sizes, 1).sum()) for kind in kinds)),
        np.array(len(graph.lifted.edges) if graph.lifted else 0),
    )


def together(parts: Sequence[Statistics]) -> Statistics:
    """Those of the whole. Associative; exact where sizes are whole numbers."""
    counts, largest = np.zeros(BINS, np.int64), np.zeros(BINS)
    for part in parts:
        counts += part.counts
        np.maximum(largest, part.largest, out=largest)
    sizes, lifted = sum(float(part.sizes) for part in parts), sum(int(part.lifted) for part in parts)
    return Statistics(counts, largest, np.array(sizes), np.array(lifted))


def histogram(boundary: NDArray[np.float64]) -> I64:
    """How many boundary values (m,) in 0..1 lie in each of 65536 equal bins."""
    return BOUNDARIES.count(boundary)


def resolved(threshold: float | str, counts: I64) -> float:
    """The threshold as a number: of a quantile the lower end of the bin that it lies in.

    Less than the fraction q of all edges lie below it, so none where all boundaries are equal: a graph
    without differences has no threshold that tells anything apart. Off by 2^-16 at most; 0.5 without edges.
    """
    if not isinstance(threshold, str):
        return threshold
    total = int(counts.sum())
    if total == 0:
        return MIDDLE
    wanted = max(1, ceil(Fraction(threshold[1:]) * total))
    return int(np.searchsorted(np.cumsum(counts), wanted)) / BINS


def resolved_beta(beta: float | str, counts: I64) -> float:
    """Beta as a number: for a quantile an edge of that boundary value neither attracts nor repels."""
    return 1.0 - resolved(beta, counts) if isinstance(beta, str) else beta


def number(threshold: float | str) -> float:
    """A threshold that is a number by now; raises `BadInput` for a quantile."""
    if isinstance(threshold, str):
        raise BadInput(
            f"threshold: found the quantile {threshold}, expected a number; resolve it by a histogram first"
        )
    return threshold
