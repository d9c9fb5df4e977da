"""Partition a region adjacency graph: one module per solver, and a solver is its parameters.

A new solver is a new module and one name in `Solver`; YAML, validation and dispatch follow from its
`name` field.
"""

from typing import Annotated

from pydantic import Field

from cellflow.solvers.agglomerate import Agglomerate
from cellflow.solvers.gasp import Gasp
from cellflow.solvers.lifted_multicut import LiftedMulticut
from cellflow.solvers.multicut import Multicut
from cellflow.solvers.mutex_watershed import MutexWatershed
from cellflow.solvers.stepwise import Stepwise

Solver = Annotated[
    Multicut | LiftedMulticut | Gasp | MutexWatershed | Agglomerate, Field(discriminator="name")
]

__all__ = ["Agglomerate", "Gasp", "LiftedMulticut", "Multicut", "MutexWatershed", "Solver", "Stepwise"]
