"""Supervoxels that do not depend on blocks: a minimum spanning forest, grown block by block.

`keys` is the order of growth, `seeds` where it starts, `trees` and `block` what one block can decide alone,
`seams` what neighbours tell each other, `join` the rest, for the whole volume at once.
"""
