# How good it is, and the page that says so.


def cells_and_truth(wildcards):
    truth = "truth" in CONFIG.sources(wildcards.sample)
    return [receipt(stage).format(**wildcards) for stage in ["segment"] + ["ingest-truth"] * truth]


rule scores:
    input:
        cells_and_truth,
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
        receipt("segment"),
        receipt("scores"),
    output:
        receipt("report"),
    log:
        f"{RESULTS}/{{sample}}/logs/report.log",
    params:
        job=job("report"),
    shell:
        command("report")
