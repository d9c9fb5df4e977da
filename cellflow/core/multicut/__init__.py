"""Minimum cost multicut, in memory and in parts.

Costs are whole numbers (fixed point): sums do not depend on their order, energies compare exactly, and no
solver can be misled by rounding. A positive cost is what it takes to cut an edge, a negative one a reward
for it; the energy of a partition is the sum of the costs of its cut edges. Edges that are not local are
lifted: they count like all others, but segments have to be connected by local ones.
"""
