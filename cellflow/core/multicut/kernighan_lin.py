"""Kernighan-Lin: improve two neighbouring clusters at a time, as long as the energy falls.

Nodes are moved between the two, or the two are joined, whichever gains more; a cluster alone is paired with
an empty one, which may split it. Source: Kernighan-Lin with joins, Keuper et al., ICCV 2015.
"""

import numpy as np
from numba import njit

from cellflow.core.multicut.clusters import NONE, clusters, enter, give_back, leave, take_empty
from cellflow.core.multicut.exchange import Search, exchange
from cellflow.core.multicut.neighbours import Neighbours, neighbours
from cellflow.core.multicut.signed import I32, I64, SignedGraph, segments

LOSS = 2
"""A series of moves may lose so many times what attracts a node on average. That finds in half the time what
a fixed number of moves does: a series that loses much at once does not come back."""


def kernighan_lin(graph: SignedGraph, labels: I64, rounds: int) -> I64:
    """Segments `(n_nodes,)`, numbered by smallest node, with an energy no higher than that of `labels`.

    `labels` are segments, numbered 0.. . Rounds end early when one gains nothing. Clusters and nodes are
    taken in the order of their numbers where nothing else decides. About 80 bytes per edge besides the graph,
    and half a second per million edges. With lifted edges, a series counts as what is left of it when the
    pieces that no local edges connect any more have become segments of their own.
    """
    near = neighbours(graph.n_nodes, graph.edges, graph.cost, graph.local)
    patience = LOSS * int(graph.cost.sum(where=graph.cost > 0)) // max(1, graph.n_nodes)
    moved = _rounds(near, labels, rounds, patience)
    found: I64 = segments(graph.n_nodes, graph.edges, graph.local, moved)
    return found


@njit(cache=True, nogil=True)
def _rounds(near: Neighbours, labels: I64, rounds: int, patience: int) -> I64:
    n = labels.size
    s = Search(
        near,
        clusters(labels),
        np.empty(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n + 1, np.int32),
        np.full(n + 1, NONE, np.int64),
        patience,
        np.empty(n if near.local.size > 0 else 0, np.int32),
    )
    pair, partners = 0, np.empty(64, np.int32)
    for number in range(rounds):
        improved = False
        for x in range(n + 1):
            if s.to.size[x] == 0 or s.awake[x] < number:
                continue
            found, partners = _partners(s, x, number, partners)
            for y in np.sort(partners[:found]):
                pair += 1
                improved |= _improve(s, x, np.int64(y), pair, number)
            pair += 1
            improved |= _improve(s, x, NONE, pair, number)
        if not improved:
            break
    return s.to.of.astype(np.int64)


@njit(cache=True, nogil=True)
def _partners(s: Search, x: int, number: int, partners: I32) -> tuple[int, I32]:
    """How many clusters to pair with x there are, and these: awake, next to x, and not smaller than x."""
    found, mark, v = 0, number * s.awake.size + x, s.to.head[x]
    s.seen[x] = mark
    while v != NONE:
        for k in range(s.near.first[v], s.near.first[v + 1]):
            y = s.to.of[s.near.node[k]]
            if s.seen[y] == mark or (s.near.local.size > 0 and not s.near.local[k]):
                continue
            s.seen[y] = mark
            smaller = s.to.size[y] < s.to.size[x] or (s.to.size[y] == s.to.size[x] and y < x)
            if s.awake[y] >= number and not smaller:
                if found == partners.size:
                    partners = np.append(partners, np.empty(found, np.int32))
                partners[found] = y
                found += 1
        v = s.to.after[v]
    return found, partners


@njit(cache=True, nogil=True)
def _improve(s: Search, x: int, y: int, pair: int, number: int) -> bool:
    """Improve the clusters x and y, or split x if y is NONE; whether anything changed."""
    if s.to.size[x] == 0 or (y == NONE and s.to.size[x] == 1) or (y != NONE and s.to.size[y] == 0):
        return False
    if y == NONE:
        y = take_empty(s.to)
    elif s.to.size[y] < s.to.size[x]:
        x, y = y, x
    moves, gain, joint = exchange(s, x, y, pair)
    if joint > 0 and joint >= gain:
        moves, gain = _members(s, x), joint
    changed = False
    if gain > 0:
        _move(s, moves, x, y)
        changed = s.near.local.size == 0 or gain > _cost_of_pieces(s, x) + _cost_of_pieces(s, y)
        if changed:
            _wake(s, moves, x, y, number)
        else:
            _move(s, moves, x, y)
    for cluster in (x, y):
        if s.to.size[cluster] == 0:
            give_back(s.to, cluster)
    return changed


@njit(cache=True, nogil=True)
def _members(s: Search, x: int) -> I32:
    nodes, v = np.empty(s.to.size[x], np.int32), s.to.head[x]
    for k in range(nodes.size):
        nodes[k] = v
        v = s.to.after[v]
    return nodes


@njit(cache=True, nogil=True)
def _move(s: Search, moves: I32, x: int, y: int) -> None:
    """Bring nodes to the other of x and y; once more, and they are back."""
    for v in moves:
        other = x + y - s.to.of[v]
        leave(s.to, v)
        enter(s.to, v, other)


@njit(cache=True, nogil=True)
def _wake(s: Search, moves: I32, x: int, y: int, number: int) -> None:
    """Have all that lies around these nodes looked at in the next round; pieces become clusters."""
    s.awake[x] = s.awake[y] = number + 1
    for v in moves:
        for k in range(s.near.first[v], s.near.first[v + 1]):
            s.awake[s.to.of[s.near.node[k]]] = number + 1
    for cluster in (x, y):
        if s.near.local.size == 0:
            continue
        nodes = _members(s, cluster)
        number_of = np.full(nodes.size + 1, NONE, np.int64)
        for v in nodes:
            if s.piece[v] == 0:
                continue
            if number_of[s.piece[v]] == NONE:
                number_of[s.piece[v]] = take_empty(s.to)
                s.awake[number_of[s.piece[v]]] = number + 1
            leave(s.to, v)
            enter(s.to, v, number_of[s.piece[v]])


@njit(cache=True, nogil=True)
def _cost_of_pieces(s: Search, x: int) -> int:
    """What it costs that the pieces of a cluster that no local edges connect are clusters of their own."""
    nodes = _members(s, x)
    cost, count, queue = 0, 0, np.empty(nodes.size, np.int32)
    for v in nodes:
        s.piece[v] = NONE
    for start in nodes:
        if s.piece[start] != NONE:
            continue
        s.piece[start], queue[0] = count, start
        at, tail = 0, 1
        while at < tail:
            v = queue[at]
            at += 1
            for k in range(s.near.first[v], s.near.first[v + 1]):
                w = s.near.node[k]
                if s.near.local[k] and s.to.of[w] == x and s.piece[w] == NONE:
                    s.piece[w], queue[tail] = count, w
                    tail += 1
        count += 1
    for v in nodes:
        for k in range(s.near.first[v], s.near.first[v + 1]):
            w = s.near.node[k]
            if w > v and s.to.of[w] == x and s.piece[w] != s.piece[v]:
                cost += s.near.cost[k]
    return cost
