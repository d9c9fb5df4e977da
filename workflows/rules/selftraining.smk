# Adapt a network to volumes without labels: rounds of teacher, picked cells, student.
import sys
from pathlib import Path
from shlex import quote

from snakemake.exceptions import WorkflowError

from cellflow.core.errors import BadInput
from cellflow.selftraining import from_mapping, table

try:
    SELF = from_mapping(config, ", ".join(map(str, workflow.configfiles)) or "config")
except BadInput as error:
    raise WorkflowError(str(error)) from None
ROUNDS = SELF.selftraining.rounds
RUN = f"{quote(sys.executable)} -m cellflow run"
JOB = "--job {params.job:q} --log {log:q}"


wildcard_constraints:
    round=r"\d+",
    number=r"\d+",


onsuccess:
    if Path(f"{SELF.folder}/pick-{ROUNDS + 1}.json").exists():
        print(table(SELF.folder, ROUNDS))


def before(wildcards):
    """The volumes of a round and its teacher; the first one may have a name instead of being a file."""
    tissues = [
        f"{SELF.tissue(number)}/phantom.json"
        for number, target in enumerate(SELF.selftraining.volumes)
        if target.phantom
    ]
    if wildcards.round != "1":
        return [*tissues, f"{SELF.folder}/train-{int(wildcards.round) - 1}.json"]
    teacher = SELF.selftraining.teacher
    return [*tissues, *([teacher] if Path(teacher).is_file() else [])]


rule selftrain:
    default_target: True
    input:
        f"{SELF.folder}/pick-{ROUNDS + 1}.json",


rule tissue:
    output:
        f"{SELF.folder}/volumes/{{number}}/phantom.json",
    log:
        f"{SELF.folder}/logs/phantom-{{number}}.log",
    params:
        job=lambda wildcards: SELF.job("phantom", int(wildcards.number)),
    shell:
        f"{RUN} phantom {quote(str(SELF.folder))}/volumes/{{wildcards.number}} {JOB}"


rule pick:
    input:
        before,
    output:
        f"{SELF.folder}/pick-{{round}}.json",
        [f"{SELF.folder}/pick-{{round}}/picks-{number}.csv" for number in SELF.learnt()],
    log:
        f"{SELF.folder}/logs/pick-{{round}}.log",
    params:
        job=lambda wildcards: SELF.job("pick", int(wildcards.round)),
    shell:
        f"{RUN} pick-{{wildcards.round}} {quote(str(SELF.folder))} {JOB}"


rule student:
    input:
        [f"{SELF.folder}/pick-{{round}}/picks-{number}.csv" for number in SELF.learnt()],
    output:
        f"{SELF.folder}/train-{{round}}.json",
    log:
        f"{SELF.folder}/logs/train-{{round}}.log",
    params:
        job=lambda wildcards: SELF.job("train", int(wildcards.round)),
    shell:
        f"{RUN} train-{{wildcards.round}} {quote(str(SELF.folder))} {JOB}"
