"""Solve a graph that is too large to be solved at once: in groups of nodes, level by level.

1. `reduce`: each group joins what its solver is sure of. It sees all edges of its nodes; those of other
   groups are frozen. Nodes that nothing attracts any more are finished, and their edges dropped.
2. `contract`: several groups become one, and edges between the same two segments one. From 1 again, until
   what is left can be solved at once.
3. `name`: the node that stands for each node, group by group.

A job reads the edges of its own nodes and nothing else. How sure a solver is decides how close the result is
to that of the whole graph: `cellflow.core.groups`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellflow.core.groups import Decided, Group, Reducer, contract, grouped, reduce_group, taken
from cellflow.core.interactions import Interactions, merged
from cellflow.core.linkage import Linkage
from cellflow.engine.parts import load_part, save_part
from cellflow.engine.stage import Context

I64 = NDArray[np.int64]

JOBS = 8
"""A group holds this part of what may be solved at once: so many jobs fit side by side."""


@dataclass(frozen=True)
class Level:
    """The groups of one level, and where their edges and decisions lie."""

    folder: Path
    groups: tuple[Group, ...]
    inner: tuple[int, ...]
    """For each group how many edges lie inside."""
    between: tuple[dict[int, int], ...]
    """For each group how many of the edges that it kept lead to which other groups."""

    @property
    def rows(self) -> int:
        """All edges."""
        return sum(self.inner) + sum(sum(later.values()) for later in self.between)

    def inside(self, group: int) -> Interactions:
        """The edges inside a group."""
        return Interactions(**load_part(self.folder / "inner", group))

    def leading(self, group: int, other: int) -> Interactions:
        """The edges to another group that a group kept."""
        return Interactions(**load_part(self.folder / "between" / str(group), other))

    def across(self, group: int) -> list[Interactions]:
        """The edges across the border of a group, whoever kept them."""
        theirs = [self.leading(n, group) for n, others in enumerate(self.between) if group in others]
        return theirs + [self.leading(group, other) for other in self.between[group]]

    def kept(self, group: int, linkage: Linkage) -> Interactions:
        """The edges inside a group and those to others that it kept: every edge of the graph is in one."""
        theirs = [self.leading(group, other) for other in self.between[group]]
        return merged([self.inside(group), *theirs], linkage)

    def left(self, group: int) -> Interactions:
        """The edges inside a group after it was reduced."""
        return Interactions(**load_part(self.folder / "left", group))

    def decided(self, group: int) -> Decided:
        """What a group decided."""
        return Decided(**load_part(self.folder / "decided", group))


def level(folder: Path, groups: Sequence[Group], kept: Sequence[dict[str, Any]]) -> Level:
    """A level of groups whose edges `keep` has saved; `kept` is what it returned for each."""
    between = tuple({int(other): count for other, count in part["between"].items()} for part in kept)
    return Level(folder, tuple(groups), tuple(part["inner"] for part in kept), between)


def keep(rows: Interactions, group: Group, starts: I64, folder: Path) -> dict[str, Any]:
    """Save edges with an end in a group: those inside, and those to each other group apart.

    `starts` are the first nodes of all groups. An edge between two groups may be kept by either.
    """
    ends = np.searchsorted(starts, rows.edges, "right") - 1
    where = np.where(ends[:, 0] == group.id, ends[:, 1], ends[:, 0])
    inner = taken(rows, where == group.id)
    save_part(folder / "inner", group.id, vars(inner))
    between = {}
    for other in np.unique(where[where != group.id]).tolist():
        found = taken(rows, where == other)
        save_part(folder / "between" / str(group.id), other, vars(found))
        between[str(other)] = len(found.edges)
    return {"inner": len(inner.edges), "between": between}


def starts_of(groups: Sequence[Group]) -> I64:
    """The first node of each group."""
    return np.array([group.start for group in groups], np.int64)


def solve(context: Context, first: Level, solver: Reducer, limit: int) -> tuple[Path, list[Level]]:
    """Where `name` left a part `top` for each first group: the smallest node of the segment of each node.

    `limit`: edges that are solved at once. Memory of a job: the edges of a group, about `limit` / 8 on later
    levels, and those across its border; of this process: what is left on the last level.
    """
    folder, levels = first.folder.parent, [first]
    while levels[-1].rows > limit and len(levels[-1].groups) > 1:
        levels.append(_next(context, levels[-1], solver, folder / str(len(levels)), limit // JOBS))
    _solve_last(levels[-1], solver, folder / "last")
    context.map("name", partial(_name, levels=tuple(levels[:-1]), folder=folder), _lines(levels))
    return folder / "tops", levels


def _next(context: Context, level_now: Level, solver: Reducer, folder: Path, limit: int) -> Level:
    task = partial(_reduce, level=level_now, solver=solver)
    left = [part["left"] for part in context.map(f"reduce for {folder.name}", task, level_now.groups)]
    # Edges between groups are counted as if all of them stayed.
    weights = [inner + sum(later.values()) for inner, later in zip(left, level_now.between, strict=True)]
    groups = grouped([group.start for group in level_now.groups], level_now.groups[-1].stop, weights, limit)
    step = partial(_contract, level=level_now, solver=solver, starts=starts_of(groups), folder=folder)
    return level(folder, groups, context.map(f"contract to {folder.name}", step, groups))


def _reduce(group: Group, level: Level, solver: Reducer) -> dict[str, Any]:
    rows = merged([level.inside(group.id), *level.across(group.id)], solver.combination)
    decided, left = reduce_group(rows, group, solver)
    save_part(level.folder / "decided", group.id, vars(decided))
    save_part(level.folder / "left", group.id, vars(left))
    return {"left": len(left.edges)}


def _contract(group: Group, level: Level, solver: Reducer, starts: I64, folder: Path) -> dict[str, Any]:
    parts = [level.left(member) for member in group.members]
    for member in group.members:
        for other in level.between[member]:
            first, second = sorted((member, other))
            rows = level.leading(member, other)
            parts.append(contract(rows, level.decided(first), level.decided(second), solver.combination))
    return keep(merged(parts, solver.combination), group, starts, folder)


def _solve_last(last: Level, solver: Reducer, folder: Path) -> None:
    """Solve what is left of the graph at once."""
    parts = [last.inside(group.id) for group in last.groups]
    parts += [last.leading(group.id, other) for group in last.groups for other in last.between[group.id]]
    everything = Group(0, last.groups[0].start, last.groups[-1].stop, ())
    decided, _ = reduce_group(merged(parts, solver.combination), everything, solver, last=True)
    save_part(folder, 0, vars(decided))


def _lines(levels: Sequence[Level]) -> list[Group]:
    """For each first group the groups that it went into, level by level: what `_name` reads."""
    lines = []
    for first in levels[0].groups:
        line = [first.id]
        for later in levels[1:-1]:
            line.append(next(group.id for group in later.groups if line[-1] in group.members))
        lines.append(Group(first.id, first.start, first.stop, tuple(line)))
    return lines


def _name(line: Group, levels: Sequence[Level], folder: Path) -> dict[str, Any]:
    top = np.arange(line.start, line.stop)
    for reached, group in zip(levels, line.members, strict=False):
        top, _ = reached.decided(group).follow(top)
    top, _ = Decided(**load_part(folder / "last", 0)).follow(top)
    save_part(folder / "tops", line.id, {"top": top})
    return {}
