"""A compiler that is awake: imported before the first block, by the process that workers are forked from."""

import numba


@numba.njit("int64(int64)", cache=True)
def _wake(number: int) -> int:
    """The first compiled function of a process makes numba load its own tables, which takes half a second."""
    return number
