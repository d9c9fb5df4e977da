"""Pure functions on arrays and plain records: no files, no cluster, no network."""
