"""Partition a region adjacency graph: one module per solver, and a solver is its parameters.

A new solver is a new module and one name in `Solver`; YAML, validation and dispatch follow from its
`name` field.
"""

from typing import Annotated

from pydantic import Field

from cellflow.solvers.gasp import Gasp
from cellflow.solvers.multicut import Multicut
from cellflow.solvers.mutex_watershed import MutexWatershed

Solver = Annotated[Multicut | Gasp | MutexWatershed, Field(discriminator="name")]

__all__ = ["Gasp", "Multicut", "MutexWatershed", "Solver"]
