"""Keep the memory that blocks have used, for the next block.

glibc maps every array above 32 MB anew, and the system fills it with zeros: up to half the time of a stage in
large blocks, and the workers of one machine wait for each other there. A process that keeps it holds the
most that it ever needed, which is what is planned for. One heap for all threads, as Zarr decodes in threads
that would each keep a heap of their own.
"""

import ctypes

ONE_HEAP = {"MALLOC_ARENA_MAX": "1", "THP_MEM_ALLOC_ENABLE": "1"}
"""The environment of a process whose threads share a heap; it must be there as the process starts.

torch asks for huge pages, as numpy does by itself: new memory is there several times faster.
"""

MMAP_MAX, TRIM_THRESHOLD, ARENA_MAX = -4, -1, -8
"""Parameters of mallopt, from glibc's malloc.h."""


def keep() -> None:
    """From now on, this process keeps what was freed; nothing where the C library is another one."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, -1), (ARENA_MAX, 1)):
            mallopt(parameter, value)
