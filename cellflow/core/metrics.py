"""Scores of a segmentation, each a short function of the summed contingency table.

What label 0 means, everywhere in this file: **segment 0** is one segment like any other in the adapted
Rand error and the variation of information (as in scikit-image), and no object in SEG and average
precision. **Truth 0** is background: its voxels are dropped from adapted Rand error and variation of
information (`without` does it, `scores` calls it), and count only in the sizes of segments in SEG and
average precision. Where a score has nothing to judge it is None, never NaN.

Sums are rounded once (`math.fsum`), so that renaming labels or reordering blocks changes no bit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import fsum

import numpy as np
from numpy.typing import NDArray

from cellflow.core.contingency import Contingency, Counts, Ids, sizes_per_row, without
from cellflow.core.errors import BadInput

Score = float | None
THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
"""Intersection over union at which the mean average precision looks (.5:.05:.95)."""


@dataclass(frozen=True)
class AdaptedRand:
    """Error 0 (perfect) to 1, and its two causes: precision falls with merges, recall with splits."""

    error: Score
    precision: Score
    recall: Score


@dataclass(frozen=True)
class Voi:
    """Variation of information in bits, 0 is best: `split` grows with cut cells, `merge` with joined ones."""

    split: Score
    merge: Score


def adapted_rand_error(table: Contingency) -> AdaptedRand:
    """Return 1 - F-score of the voxel pairs put into one segment (Arganda-Carreras 2015, as scikit-image).

    Pairs of different voxels are counted, every row of the table, segment 0 as one segment: drop truth 0
    first. Precision is the share of pairs joined by the segments that belong together, recall the share
    of true pairs that the segments joined (scikit-image 0.26 returns these two in the opposite order).
    None where no pair exists: an empty table, or only objects of one voxel on both sides.
    """
    both = _pairs(table.count)
    joined = _pairs(_sizes(table.segment, table.count))
    true = _pairs(_sizes(table.truth, table.count))
    f_score = _ratio(2 * both, joined + true)
    return AdaptedRand(
        error=None if f_score is None else 1 - f_score,
        precision=_ratio(both, joined),
        recall=_ratio(both, true),
    )


def voi(table: Contingency) -> Voi:
    """Return the conditional entropies H(segment | truth) = split and H(truth | segment) = merge, in bits.

    Every row counts, segment 0 as one segment: drop truth 0 first (Meila 2007). None for an empty table.
    """
    if not table.count.size:
        return Voi(None, None)
    return Voi(split=_entropy(table.truth, table.count), merge=_entropy(table.segment, table.count))


def seg_score(table: Contingency) -> Score:
    """Return the mean over true cells of the IoU with the segment that covers more than half of the cell.

    A cell without such a segment counts 0 (SEG of the Cell Tracking Challenge, Maska 2014). Give the
    table with truth 0, which the sizes of segments need. None without a true cell.
    """
    iou, covers, cells, _ = _overlaps(table)
    return _ratio(fsum(iou[covers].tolist()), cells)


def average_precision(table: Contingency, thresholds: Iterable[float] = THRESHOLDS) -> list[Score]:
    """Return TP / (TP + FP + FN) per threshold, with the optimal one-to-one matching of cells and segments.

    A match has an intersection over union strictly above the threshold. From 0.5 on such a match is
    unique by itself, so that no assignment is solved; a lower threshold raises BadInput. Give the table
    with truth 0, which the sizes of segments need. None where there is neither a cell nor a segment.
    """
    iou, _, cells, segments = _overlaps(table)
    found = []
    for t in thresholds:
        if not 0.5 <= t < 1:
            raise BadInput(f"threshold of average precision: found {t}, expected 0.5 <= threshold < 1")
        matched = int(np.count_nonzero(iou > t))
        found.append(_ratio(matched, cells + segments - matched))
    return found


def scores(
    table: Contingency, *, unlabelled: Iterable[int] = (), min_truth_size: int = 0
) -> dict[str, Score]:
    """Return every score by name, ready for JSON (numbers or None).

    `unlabelled` are true labels under which nothing is judged: (0,) where only some cells were
    annotated, () where 0 is certainly background. True cells below `min_truth_size` voxels are left out
    with all their voxels. `cells_found` and `cells_true` count what is left of both.
    """
    judged = without(table, ignore=unlabelled, min_truth_size=min_truth_size)
    inside = without(judged)
    rand, information = adapted_rand_error(inside), voi(inside)
    precisions = average_precision(judged)
    _, _, cells, segments = _overlaps(judged)
    return {
        "cells_found": segments,
        "cells_true": cells,
        "adapted_rand_error": rand.error,
        "adapted_rand_precision": rand.precision,
        "adapted_rand_recall": rand.recall,
        "voi_split": information.split,
        "voi_merge": information.merge,
        "seg": seg_score(judged),
        "average_precision_50": precisions[THRESHOLDS.index(0.5)],
        "average_precision_75": precisions[THRESHOLDS.index(0.75)],
        "mean_average_precision": _mean(precisions),
    }


def _overlaps(table: Contingency) -> tuple[NDArray[np.float64], NDArray[np.bool_], int, int]:
    """Return IoU and "covers over half of the cell" per overlap, then the numbers of cells and of segments.

    Label 0 is neither cell nor segment.
    """
    cell = sizes_per_row(table.truth, table.count)
    segment = sizes_per_row(table.segment, table.count)
    pair = (table.truth > 0) & (table.segment > 0)
    n = table.count[pair]
    iou = n / (cell[pair] + segment[pair] - n)
    return iou, 2 * n > cell[pair], _number(table.truth), _number(table.segment)


def _sizes(labels: Ids, count: Counts) -> Counts:
    _, row = np.unique(labels, return_inverse=True)
    sizes = np.zeros(int(row.max(initial=-1)) + 1, np.int64)
    np.add.at(sizes, row, count)
    return sizes


def _number(labels: Ids) -> int:
    return int(np.unique(labels[labels > 0]).size)


def _pairs(sizes: Counts) -> float:
    """Count ordered pairs of different voxels; in float64, as a large cell squared passes 2**63."""
    n = sizes.astype(np.float64)
    return fsum((n * (n - 1)).tolist())


def _entropy(given: Ids, count: Counts) -> float:
    """Return the mean bits needed to name the other label of a voxel where `given` is known."""
    total = int(count.sum())
    bits = np.log2(sizes_per_row(given, count) / count)
    return fsum((bits * count).tolist()) / total


def _mean(values: list[Score]) -> Score:
    known = [v for v in values if v is not None]
    return _ratio(fsum(known), len(known))


def _ratio(part: float, whole: float) -> Score:
    return part / whole if whole else None
