"""Pure functions on arrays and plain records: no files, no cluster, no network."""

import os
import tempfile
from hashlib import sha256
from pathlib import Path


def _kernel_cache() -> str | None:
    """A private folder for compiled kernels, named after the sources of all of them.

    Numba looks at the age of the file that holds a kernel, not of those it calls into: after an update it
    would run a mixture of old and new code. A folder for each state of the sources cannot be stale.
    """
    sources = sha256(b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.rglob("*.py"))))
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "cellflow"
    for folder in (home, Path(tempfile.gettempdir()) / f"cellflow-{os.getuid()}"):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        # Kernels are loaded from here: a folder that somebody else may write to is not used.
        if folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK):
            return str(folder / f"kernels-{sources.hexdigest()[:12]}")
    return None


if "NUMBA_CACHE_DIR" not in os.environ and (_folder := _kernel_cache()):
    os.environ["NUMBA_CACHE_DIR"] = _folder
