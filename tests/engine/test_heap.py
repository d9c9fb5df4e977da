"""What a process does with memory that was freed."""

import os
import platform
import subprocess
import sys

import pytest

from cellflow.engine.heap import KEPT

PAGES = """
import resource, sys
import numpy as np
if sys.argv[1] == "keep":
    from cellflow.engine import heap
    heap.keep()
for _ in range(3):
    np.ones((4, 10_000_000))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    np.ones((4, 10_000_000))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps memory in its own way")
def test_arrays_of_the_next_block_need_no_new_pages():
    def new_pages(how, environment):
        # Without huge pages, so that their number says how much memory was new; Dask leaves its own here.
        plain = {name: value for name, value in os.environ.items() if name not in KEPT}
        small = {**plain, "NUMPY_MADVISE_HUGEPAGE": "0", **environment}
        command = [sys.executable, "-c", PAGES, how]
        return int(subprocess.run(command, env=small, capture_output=True, check=True).stdout)

    plain = new_pages("not", {})
    assert new_pages("keep", {}) < 0.01 * plain
    assert new_pages("not", KEPT) < 0.01 * plain
