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
    params:
        job=job("scores"),
    threads: workers
    log:
        f"{RESULTS}/{{sample}}/logs/scores.log",
    shell:
        command("scores")


rule report:
    input:
        judged,
    output:
        receipt("report"),
    params:
        job=job("report"),
    log:
        f"{RESULTS}/{{sample}}/logs/report.log",
    shell:
        command("report")
