"""The steps of the pipeline, one module each: `Params`, a pure block function, `run`."""
