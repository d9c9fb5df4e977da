"""The outside world, one thing a file: blocks, cluster, storage, formats."""
