"""The best series of nodes to move between two clusters, one by one.

The node that gains most changes sides, even at a loss, and does not come back; of the series the best
beginning counts. What is known of each node is brought up to date as its neighbours move.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from cellflow.core.multicut.clusters import NONE, Clusters
from cellflow.core.multicut.heap import pop, push, replace_first, room
from cellflow.core.multicut.neighbours import Neighbours
from cellflow.core.multicut.signed import I32, I64

PATIENCE = 50
"""Moves that a series goes on without a new best, at most."""


class Search(NamedTuple):
    """Where a search is; a mark holds the number of the pair, or of the round, in which it was set."""

    near: Neighbours
    to: Clusters
    gain: I64
    """What the move of a node to the other cluster of the pair would gain, if `known` holds the pair."""
    known: I64
    moved: I64
    awake: I32
    """The last round in which a cluster has to be looked at."""
    seen: I64
    patience: int
    """What a series may lose before it is given up."""
    piece: I32
    """With lifted edges: the piece of its cluster that a node is in."""


@njit(cache=True, nogil=True)
def exchange(s: Search, x: int, y: int, pair: int) -> tuple[I32, int, int]:
    """The nodes of the best series between clusters x and y, what it gains, and what joining them would.

    x is the smaller one; y may be empty, and x be split. No gain means no nodes. Nothing has been moved.
    """
    heap, size, joint = _border(s, x, y, pair)
    moves, n_moves, total = np.empty(64, np.int32), 0, 0
    best_moves, best = 0, 0
    while size > 0 and n_moves - best_moves <= PATIENCE and best - total <= s.patience:
        gain, v = heap[0, 0], heap[0, 1]
        if s.moved[v] == pair or s.gain[v] > gain:
            size = pop(heap, size)
            continue
        if s.gain[v] < gain:  # a gain that rose was put in again at once; one that fell only now
            replace_first(heap, size, s.gain[v], v)
            continue
        size = pop(heap, size)
        if n_moves == moves.size:
            moves = np.append(moves, np.empty(n_moves, np.int32))
        moves[n_moves] = v
        n_moves += 1
        total += gain
        if total > best:
            best_moves, best = n_moves, total
        heap, size = _cross(s, v, x, y, pair, heap, size)
    for v in moves[:n_moves]:
        s.to.of[v] = x + y - s.to.of[v]
    return moves[:best_moves], best, joint


@njit(cache=True, nogil=True)
def _border(s: Search, x: int, y: int, pair: int) -> tuple[I64, int, int]:
    """A heap of the nodes that may change sides, its size, and the gain of joining x and y.

    Those are the nodes of x and y that touch each other, found from x; all of x if y is empty.
    """
    heap, size, joint = np.empty((256, 2), np.int64), 0, 0
    split, v = s.to.size[y] == 0, s.to.head[x]
    while v != NONE:
        touches, gain = split, 0
        for k in range(s.near.first[v], s.near.first[v + 1]):
            w = s.near.node[k]
            if s.to.of[w] == x:
                gain -= s.near.cost[k]
            elif s.to.of[w] == y:
                gain += s.near.cost[k]
                joint += s.near.cost[k]
                if s.near.local.size == 0 or s.near.local[k]:
                    touches = True
                    if s.known[w] != pair:
                        _meet(s, w, x, y, pair)
                        heap = room(heap, size)
                        size = push(heap, size, s.gain[w], np.int64(w))
        if touches:
            s.known[v], s.gain[v] = pair, gain
            heap = room(heap, size)
            size = push(heap, size, gain, np.int64(v))
        v = s.to.after[v]
    return heap, size, joint


@njit(cache=True, nogil=True)
def _meet(s: Search, v: int, x: int, y: int, pair: int) -> None:
    """Find out what moving v to the other of x and y would gain."""
    own, gain = s.to.of[v], 0
    other = x + y - own
    for k in range(s.near.first[v], s.near.first[v + 1]):
        cluster = s.to.of[s.near.node[k]]
        if cluster == own:
            gain -= s.near.cost[k]
        elif cluster == other:
            gain += s.near.cost[k]
    s.known[v], s.gain[v] = pair, gain


@njit(cache=True, nogil=True)
def _cross(s: Search, v: int, x: int, y: int, pair: int, heap: I64, size: int) -> tuple[I64, int]:
    """Move v to the other side, and bring the gains of its neighbours up to date."""
    own = s.to.of[v]
    other = x + y - own
    s.to.of[v], s.moved[v] = other, pair
    for k in range(s.near.first[v], s.near.first[v + 1]):
        w, cost = s.near.node[k], s.near.cost[k]
        left = s.to.of[w] == own
        if s.moved[w] == pair or not (left or s.to.of[w] == other):
            continue
        if s.known[w] == pair:
            s.gain[w] += 2 * cost if left else -2 * cost
            risen = left == (cost > 0)
        else:
            risen = left and (s.near.local.size == 0 or s.near.local[k])
            if risen:
                _meet(s, w, x, y, pair)
        if risen:
            heap = room(heap, size)
            size = push(heap, size, s.gain[w], np.int64(w))
    return heap, size
