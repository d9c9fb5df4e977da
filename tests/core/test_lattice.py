from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cellflow.core.graphs import connected
from cellflow.core.lattice import PARTS, _centre, _first, cell_of, lattice
from cellflow.core.morton import place, point

worlds = st.builds(
    lattice,
    seed=st.integers(0, 2**63 - 1),
    n=st.integers(1, 700),
    points_per_cell=st.sampled_from([1.0, 1.5, 4.0, 30.0, 200.0]),
)


def cells(world):
    return np.array([cell_of(world, *point(i)) for i in range(world.n)])


def centres(world):
    """Number, place and head start of every centre on the lattice."""
    places = np.array([point(i) for i in range(world.n)])
    last = places.max() * 1024 // world.pitch + 1
    found = (_centre(world, *k) for k in product(range(last + 1), repeat=3))
    return [c for c in found if c[0] >= 0]


@given(worlds)
@example(lattice(200, 690, 8.0))  # has points as near to one centre as to another
@settings(max_examples=40)
def test_a_point_belongs_to_the_centre_that_is_nearest_by_brute_force(world):
    number, place, start = (np.array(column) for column in zip(*centres(world), strict=True))
    for i in range(world.n):
        cost = np.abs(place - point(i)).sum(axis=1) * PARTS - start
        assert cell_of(world, *point(i)) == number[np.lexsort((number, cost))[0]]


@given(worlds)
@settings(max_examples=40)
def test_cells_and_the_lattice_are_connected_across_faces_for_any_number_of_points(world):
    found = cells(world)
    rows = []
    for i in range(world.n):
        z, y, x = point(i)
        for other in (place(z + 1, y, x), place(z, y + 1, x), place(z, y, x + 1)):
            rows += [(i, other)] if other < world.n else []
    edges = np.array(rows, np.int64).reshape(-1, 2)
    same = found[edges[:, 0]] == found[edges[:, 1]]
    assert connected(world.n, edges, np.ones(len(edges), bool)).max() == 0
    assert connected(world.n, edges, same).max() + 1 == np.unique(found).size


@given(worlds)
@settings(max_examples=40)
def test_every_centre_belongs_to_itself_and_names_its_cell(world):
    found = cells(world)
    assert np.array_equal(np.unique(found), sorted(c[0] for c in centres(world)))
    assert (found[np.unique(found)] == np.unique(found)).all()


@given(worlds, st.integers(0, 10**5))
def test_cubes_with_a_centre_share_no_point_and_leave_none_out(world, x):
    k = x * 1024 // world.pitch
    assert _first(world, k) <= x < _first(world, k + 1)


@pytest.mark.parametrize("wanted", [1, 8, 30, 100])
def test_cells_have_the_wanted_number_of_points_on_average(wanted):
    world = lattice(4, 60_000, wanted)
    assert world.n / np.unique(cells(world)).size == pytest.approx(wanted, rel=0.15)


def test_far_out_on_the_curve_cells_are_found_as_near_the_origin():
    world = lattice(1, 2**60, 30.0)
    for number in (2**59, 2**60 - 1, 3**37):
        steps = np.abs(np.subtract(point(cell_of(world, *point(number))), point(number))).sum()
        assert steps < 12
