"""Agglomeration against its definition, and in parts against at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signed_graphs import LINKAGES, in_parts, interactions_of, reference, signed_graph, signed_graphs

from cellflow.core.agglomeration import agglomerate, rounds, unfinished

ways = pytest.mark.parametrize(
    ("linkage", "cannot_link"), [(name, also) for name in LINKAGES for also in (False, True)]
)


@pytest.fixture(params=[0, 2**60], ids=["rows one by one", "rounds to the end"])
def pace(request, monkeypatch):
    monkeypatch.setattr(rounds, "WORTHWHILE", request.param)


@ways
@given(given_graph=signed_graphs())
@settings(max_examples=300)
def test_it_follows_its_definition(linkage, cannot_link, given_graph):
    n, rows = given_graph
    expected = reference(n, rows, linkage, cannot_link=cannot_link)
    assert agglomerate(n, rows, linkage, cannot_link=cannot_link).labels.tolist() == expected

@ways
@given(given_graph=signed_graphs(), seed=st.integers(0,1000))
@settings(max_examples=300)
def test_parts(linkage, cannot_link, given_graph, seed):
    n, rows = given_graph
    if linkage == "sum": return
    rng = np.random.default_rng(seed)
    groups=rng.integers(0,4,n)
    expected = reference(n, rows, linkage, cannot_link=cannot_link)
    assert in_parts(n, rows, linkage, [groups, groups//2], cannot_link=cannot_link).tolist() == expected
