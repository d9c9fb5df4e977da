# Bring every volume of a sample into its OME-Zarr.


def source_file(wildcards):
    """The file whose age tells whether a volume must be read again; of a folder its metadata."""
    if CONFIG.samples[wildcards.sample].phantom:
        return f"{RESULTS}/{wildcards.sample}/phantom.json"
    path = Path(CONFIG.sources(wildcards.sample)[wildcards.role].path)
    if path.is_file():
        return str(path)
    heads = (path / name for name in ("zarr.json", ".zarray", ".zattrs", ".zgroup"))
    return next((str(head) for head in heads if head.exists()), [])


rule phantom:
    output:
        receipt("phantom"),
    params:
        job=job("phantom"),
    threads: workers
    log:
        f"{RESULTS}/{{sample}}/logs/phantom.log",
    shell:
        command("phantom")


rule ingest:
    input:
        source_file,
    output:
        receipt("ingest-{role}"),
    wildcard_constraints:
        role="raw|boundaries|truth|mask",
    params:
        job=job("ingest-{role}"),
        after=lambda wildcards, input: [f for f in input if f.endswith("phantom.json")],
    threads: workers
    log:
        f"{RESULTS}/{{sample}}/logs/ingest-{{role}}.log",
    shell:
        command("ingest-{wildcards.role}", after="{params.after}")


rule normalise:
    input:
        receipt("ingest-raw"),
    output:
        receipt("normalise"),
    params:
        job=job("normalise"),
    threads: workers
    log:
        f"{RESULTS}/{{sample}}/logs/normalise.log",
    shell:
        command("normalise")
