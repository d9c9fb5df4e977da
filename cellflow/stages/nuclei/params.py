"""What may be set for nuclei."""

from pydantic import Field

from cellflow.core.schema import Schema


class Params(Schema):
    """Which nucleus a supervoxel holds; only of samples with `nuclei`, `nuclei_probability` or
    `nuclei_raw`, or of all that a network predicts nuclei of.

    The solver `lifted_multicut` is told which supervoxels share a nucleus and which do not. After any
    solver, `reconcile` mends cells that do not have one each.
    """

    predicted: bool = False
    """Samples without nuclei of their own take those that the network of `predict` finds."""
    threshold: float = Field(0.9, ge=0, le=1)
    """Of a probability map, given or predicted: voxels with at least this probability that share faces are
    one nucleus. Higher: nuclei that touch come apart, faint ones are lost."""
    min_size: int = Field(100, ge=0)
    """Of a probability map: nuclei of fewer voxels are left out. Labels are taken as they are."""
    overlap: float = Field(0.2, gt=0, le=1)
    """A supervoxel holds a nucleus if they share at least this part of the supervoxel (of small supervoxels a
    nucleus has several) or of the nucleus (which may be a small part of a large one); of several, the one it
    shares most voxels with. Higher: fewer supervoxels have one, and nuclei that reach over a membrane count
    for less."""
    depth: int = Field(4, ge=1, le=16)
    """The solver is told of supervoxels with nuclei at most this many contacts apart. Higher: more pairs,
    more memory. Lowered where there would be over 8 pairs a contact; the receipt of `partition` says so."""
