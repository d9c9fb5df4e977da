"""What a process does with memory that was freed."""

import os
import platform
import subprocess
import sys

import pytest

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
    def new_pages(how):
        # Without huge pages, so that their number says how much memory was new.
        small = os.environ | {"NUMPY_MADVISE_HUGEPAGE": "0"}
        command = [sys.executable, "-c", PAGES, how]
        return int(subprocess.run(command, env=small, capture_output=True, check=True).stdout)

    assert new_pages("keep") < 0.01 * new_pages("not")
