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
    log:
        f"{RESULTS}/{{sample}}/logs/phantom.log",
    threads: workers
    params:
        job=job("phantom"),
    shell:
        command("phantom")


rule ingest:
    input:
        source_file,
    output:
        receipt("ingest-{role}"),
    log:
        f"{RESULTS}/{{sample}}/logs/ingest-{{role}}.log",
    wildcard_constraints:
        role="raw|boundaries|truth|mask",
    threads: workers
    params:
        job=job("ingest-{role}"),
        after=lambda wildcards, input: [f for f in input if f.endswith("phantom.json")],
    shell:
        command("ingest-{wildcards.role}", after="{params.after:q}")


rule normalise:
    input:
        receipt("ingest-raw"),
    output:
        receipt("normalise"),
    log:
        f"{RESULTS}/{{sample}}/logs/normalise.log",
    threads: workers
    params:
        job=job("normalise"),
    shell:
        command("normalise")
