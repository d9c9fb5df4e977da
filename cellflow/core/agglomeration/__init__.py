"""Greedy agglomeration of a signed graph, all at once or as far as one block can tell.

`solve` is what others call, `rounds` merges many pairs at a time, `greedy` one pair after the other.
"""

from cellflow.core.agglomeration.solve import Agglomeration, agglomerate, unfinished

__all__ = ["Agglomeration", "agglomerate", "unfinished"]
