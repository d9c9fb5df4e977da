# From boundaries to cells.


def boundaries(wildcards):
    """Where the boundary map comes from: given, made of affinities, or predicted from raw."""
    if CONFIG.samples[wildcards.sample].affinities:
        found = ["affinities"]
    elif "boundaries" in CONFIG.sources(wildcards.sample):
        found = ["ingest-raw", "ingest-boundaries"]
    else:
        found = ["predict"]
    return [receipt(stage).format(**wildcards) for stage in found]


def boundaries_and_mask(wildcards):
    masked = "mask" in CONFIG.sources(wildcards.sample)
    return boundaries(wildcards) + ([receipt("ingest-mask").format(**wildcards)] if masked else [])


def before_prediction(wildcards):
    """Statistics, and for a network the mask: it is not asked about anything else."""
    masked = CONFIG.stages.network and "mask" in CONFIG.sources(wildcards.sample)
    return [receipt(s).format(**wildcards) for s in ["normalise"] + ["ingest-mask"] * masked]


def model_files(wildcards):
    """A file of weights whose age tells whether to predict again."""
    return [str(file) for file in predict.model_files(CONFIG.stages.predict) if file.is_file()]


def prediction_workers(wildcards):
    """A network has more tasks than blocks. GPUs are asked for in a profile: set-resources: predict: gpu=1."""
    return (workflow.cores or 1) if CONFIG.stages.network else workers(wildcards)


def before_nuclei(wildcards):
    """As before the prediction of boundaries, of the image of nuclei."""
    masked = "mask" in CONFIG.sources(wildcards.sample)
    stages = ["normalise-nuclei_raw"] + ["ingest-mask"] * masked
    return [receipt(stage).format(**wildcards) for stage in stages]


def nuclei_model_files(wildcards):
    return [str(file) for file in predict.model_files(CONFIG.stages.predict_nuclei) if file.is_file()]


def nuclei_volume(wildcards):
    """Where nuclei are: labels, or a probability map, given or predicted."""
    return receipt(CONFIG.nuclei_from(wildcards.sample)).format(**wildcards)


def known_nuclei(wildcards):
    """What is known of nuclei, of the samples that have some."""
    return [receipt("nuclei").format(**wildcards)] * bool(CONFIG.nuclei_from(wildcards.sample))


def decided(wildcards):
    """What decided which supervoxels are one cell: the solver, or after it the nuclei."""
    stage = "reconcile" if CONFIG.nuclei_from(wildcards.sample) else "partition"
    return receipt(stage).format(**wildcards)


rule predict:
    input:
        model_files,
        receipts=before_prediction,
    output:
        receipt("predict"),
    log:
        f"{RESULTS}/{{sample}}/logs/predict.log",
    threads: prediction_workers
    params:
        job=job("predict"),
    shell:
        command("predict", "{input.receipts:q}", speed(CONFIG.stages.predict))


rule predict_nuclei:
    input:
        nuclei_model_files,
        receipts=before_nuclei,
    output:
        receipt("predict-nuclei_raw"),
    log:
        f"{RESULTS}/{{sample}}/logs/predict-nuclei_raw.log",
    threads: workflow.cores or 1
    params:
        job=job("predict-nuclei_raw"),
    shell:
        command("predict-nuclei_raw", "{input.receipts:q}", speed(CONFIG.stages.predict_nuclei))


rule supervoxels:
    input:
        boundaries_and_mask,
    output:
        receipt("supervoxels"),
    log:
        f"{RESULTS}/{{sample}}/logs/supervoxels.log",
    threads: workers
    params:
        job=job("supervoxels"),
    shell:
        command("supervoxels")


rule nuclei:
    input:
        nuclei_volume,
        receipt("supervoxels"),
    output:
        receipt("nuclei"),
    log:
        f"{RESULTS}/{{sample}}/logs/nuclei.log",
    threads: workers
    params:
        job=job("nuclei"),
    shell:
        command("nuclei")


rule graph:
    input:
        boundaries,
        receipt("supervoxels"),
    output:
        receipt("graph"),
    log:
        f"{RESULTS}/{{sample}}/logs/graph.log",
    threads: workers
    params:
        job=job("graph"),
    shell:
        command("graph")


rule partition:
    input:
        receipt("graph"),
        known_nuclei,
    output:
        receipt("partition"),
    log:
        f"{RESULTS}/{{sample}}/logs/partition.log",
    params:
        job=job("partition"),
    shell:
        command("partition")


rule reconcile:
    input:
        receipt("nuclei"),
        receipt("graph"),
        receipt("partition"),
    output:
        receipt("reconcile"),
    log:
        f"{RESULTS}/{{sample}}/logs/reconcile.log",
    params:
        job=job("reconcile"),
    shell:
        command("reconcile")


rule clean:
    input:
        receipt("graph"),
        decided,
    output:
        receipt("clean"),
    log:
        f"{RESULTS}/{{sample}}/logs/clean.log",
    params:
        job=job("clean"),
    shell:
        command("clean")


rule segment:
    input:
        receipt("supervoxels"),
        receipt("clean"),
    output:
        receipt("segment"),
    log:
        f"{RESULTS}/{{sample}}/logs/segment.log",
    threads: workers
    params:
        job=job("segment"),
    shell:
        command("segment")
