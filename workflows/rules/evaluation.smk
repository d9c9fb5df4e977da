# How good it is, and the page that says so.


def judged(wildcards):
    """Scores where there is a truth; else the segmentation alone."""
    scored = "truth" in CONFIG.sources(wildcards.sample)
    return [receipt(stage).format(**wildcards) for stage in ["segment"] + ["scores"] * scored]


rule scores:
    input:
        receipt("ingest-truth"),
        receipt("segment"),
    output:
        receipt("scores"),
    log:
        f"{RESULTS}/{{sample}}/logs/scores.log",
    threads: workers
    params:
        job=job("scores"),
    shell:
        command("scores")


rule report:
    input:
        judged,
    output:
        receipt("report"),
    log:
        f"{RESULTS}/{{sample}}/logs/report.log",
    params:
        job=job("report"),
    shell:
        command("report")
