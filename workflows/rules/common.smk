import json
import sys
from pathlib import Path
from shlex import quote

from snakemake.exceptions import WorkflowError

from cellflow.config import from_mapping
from cellflow.core.errors import BadInput
from cellflow.engine import lock
from cellflow.stages import predict

if not config:
    raise WorkflowError("no configuration: add --profile profiles/local or --configfile FILE")
try:
    CONFIG = from_mapping(config, ", ".join(map(str, workflow.configfiles)) or "config")
except BadInput as error:
    raise WorkflowError(str(error)) from None
RESULTS = CONFIG.results.rstrip("/")
if not workflow.output_settings.dryrun and not lock.is_held(Path(RESULTS) / ".locks" / "run"):
    # Snakemake sees by itself that parameters changed, unless its folder .snakemake is gone.
    for outdated in CONFIG.outdated():
        outdated.unlink(missing_ok=True)


wildcard_constraints:
    sample="|".join(CONFIG.samples),


def job(stage):
    """The parameters of a stage as JSON: Snakemake runs the stage again exactly when they change."""
    return lambda wildcards: CONFIG.job(stage.format(**wildcards), wildcards.sample)


def receipt(stage):
    return f"{RESULTS}/{{sample}}/{stage}.json"


def workers(wildcards):
    """No more workers than blocks, so that small samples run side by side."""
    return min(workflow.cores or 1, CONFIG.blocks(wildcards.sample))


def command(stage, after="{input:q}", speed=""):
    return (
        f"{quote(sys.executable)} -m cellflow run {stage} {quote(RESULTS)}/{{wildcards.sample}} {after}"
        f" --job {{params.job:q}} --workers {{threads}} --log {{log:q}}{speed}"
    )


def speed(p):
    """Not among the parameters, as Snakemake would run the stage again for them."""
    text = quote(json.dumps(predict.speed(p)))
    return " --speed " + text.replace("{", "{{").replace("}", "}}")
