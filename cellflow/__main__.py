"""`python -m cellflow`, as the rules call it."""

import os
import sys

from cellflow.cli import main

if __name__ == "__main__":
    main()
    # All files are closed. What the interpreter would take apart now, for a second, the system frees at once.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
