# Networks: train one on volumes with labels.
import sys
from pathlib import Path
from shlex import quote

from snakemake.exceptions import WorkflowError

from cellflow.core.errors import BadInput
from cellflow.training import from_mapping

try:
    TRAINING = from_mapping(config, ", ".join(map(str, workflow.configfiles)) or "config")
except BadInput as error:
    raise WorkflowError(str(error)) from None


rule train:
    default_target: True
    output:
        f"{TRAINING.folder}/train.json",
    log:
        f"{TRAINING.folder}/logs/train.log",
    resources:
        gpu=int(TRAINING.training.device.startswith("cuda")),
    params:
        job=TRAINING.job(),
    shell:
        f"{quote(sys.executable)} -m cellflow run train {quote(str(TRAINING.folder))}"
        " --job {params.job:q} --log {log:q}"
