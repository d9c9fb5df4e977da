import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from cellflow.config import from_mapping
from cellflow.core.errors import BadInput
from cellflow.engine import lock
from cellflow.plan import check, planned
from cellflow.summary import table

if not config:
    raise WorkflowError("no configuration: add --profile profiles/local or --configfile FILE")
try:
    CONFIG = from_mapping(config, ", ".join(map(str, workflow.configfiles)) or "config")
except BadInput as error:
    raise WorkflowError(str(error)) from None
RESULTS = CONFIG.results.rstrip("/")


wildcard_constraints:
    sample="|".join(CONFIG.samples),


onstart:
    # Here and not above: a dry run neither needs the folder to itself nor room for the results.
    try:
        lock.hold(Path(RESULTS) / ".locks" / "run", f"results folder {RESULTS}")
        check(planned(CONFIG), CONFIG, workflow.cores or 1)
    except BadInput as error:
        raise WorkflowError(str(error)) from None


onsuccess:
    print("\n\n".join(table(CONFIG.folder(sample)) for sample in CONFIG.samples))


def job(stage):
    """The parameters of a stage as JSON: Snakemake runs the stage again exactly when they change."""
    return lambda wildcards: CONFIG.job(stage.format(**wildcards), wildcards.sample)


def receipt(stage):
    return f"{RESULTS}/{{sample}}/{stage}.json"


def workers(wildcards):
    """No more workers than blocks, so that small samples run side by side."""
    return min(workflow.cores or 1, CONFIG.blocks(wildcards.sample))


def command(stage, after="{input}"):
    return (
        f"{sys.executable} -m cellflow run {stage} {RESULTS}/{{wildcards.sample}} {after}"
        " --job {params.job:q} --workers {threads} --log {log}"
    )
