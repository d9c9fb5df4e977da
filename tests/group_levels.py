"""A graph solved group by group, level by level, as the stage does it, in memory."""

import numpy as np

from cellflow.core.groups import contract, grouped, reduce_group, taken
from cellflow.core.interactions import merged


def cut(rows, found, starts):
    """Rows inside each group, and those that lead to each later one."""
    inner, between = {}, {}
    for group in found:
        own = taken(rows, (rows.edges[:, 0] >= group.start) & (rows.edges[:, 0] < group.stop))
        where = np.searchsorted(starts, own.edges[:, 1], "right") - 1
        inner[group.id] = taken(own, where == group.id)
        others = np.unique(where[where != group.id]).tolist()
        between[group.id] = {later: taken(own, where == later) for later in others}
    return inner, between


def by_levels(rows, n_nodes, solver, per_group, members):
    """What the stage does, in memory: the top of every node."""
    starts = list(range(0, n_nodes, per_group))
    now = grouped(starts, n_nodes, [1] * len(starts), 1)
    top = np.arange(n_nodes)
    while len(now) > 1:
        inner, between = cut(rows, now, [group.start for group in now])
        decided, left = {}, {}
        for group in now:
            across = [later[group.id] for later in between.values() if group.id in later]
            across += between[group.id].values()
            seen = merged([inner[group.id], *across], solver.combination)
            decided[group.id], left[group.id] = reduce_group(seen, group, solver)
        where = np.searchsorted([group.start for group in now], np.arange(n_nodes), "right") - 1
        for group in now:
            top[where == group.id] = decided[group.id].follow(top[where == group.id])[0]
        parts = [
            contract(found, decided[one], decided[two], solver.combination)
            for one, later in between.items()
            for two, found in later.items()
        ]
        rows = merged([*left.values(), *parts], solver.combination)
        now = grouped([group.start for group in now], n_nodes, [1] * len(now), members)
    decided, _ = reduce_group(rows, now[0], solver, last=True)
    return decided.follow(top)[0]
