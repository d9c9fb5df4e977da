# From boundaries to cells.


def boundaries(wildcards):
    """Where the boundary map comes from: given, or predicted from raw."""
    given = "boundaries" in CONFIG.sources(wildcards.sample)
    found = ["ingest-raw", "ingest-boundaries"] if given else ["predict"]
    return [receipt(stage).format(**wildcards) for stage in found]


def boundaries_and_mask(wildcards):
    masked = "mask" in CONFIG.sources(wildcards.sample)
    return boundaries(wildcards) + ([receipt("ingest-mask").format(**wildcards)] if masked else [])


rule predict:
    input:
        receipt("normalise"),
    output:
        receipt("predict"),
    params:
        job=job("predict"),
    threads: workers
    log:
        f"{RESULTS}/{{sample}}/logs/predict.log",
    shell:
        command("predict")


rule supervoxels:
    input:
        boundaries_and_mask,
    output:
        receipt("supervoxels"),
    params:
        job=job("supervoxels"),
    threads: workers
    log:
        f"{RESULTS}/{{sample}}/logs/supervoxels.log",
    shell:
        command("supervoxels")


rule graph:
    input:
        boundaries,
        receipt("supervoxels"),
    output:
        receipt("graph"),
    params:
        job=job("graph"),
    threads: workers
    log:
        f"{RESULTS}/{{sample}}/logs/graph.log",
    shell:
        command("graph")


rule partition:
    input:
        receipt("graph"),
    output:
        receipt("partition"),
    params:
        job=job("partition"),
    log:
        f"{RESULTS}/{{sample}}/logs/partition.log",
    shell:
        command("partition")


rule clean:
    input:
        receipt("graph"),
        receipt("partition"),
    output:
        receipt("clean"),
    params:
        job=job("clean"),
    log:
        f"{RESULTS}/{{sample}}/logs/clean.log",
    shell:
        command("clean")


rule segment:
    input:
        receipt("supervoxels"),
        receipt("clean"),
    output:
        receipt("segment"),
    params:
        job=job("segment"),
    threads: workers
    log:
        f"{RESULTS}/{{sample}}/logs/segment.log",
    shell:
        command("segment")
