# Bring every volume of a sample into its OME-Zarr.


def source_file(wildcards):
    """The file whose age tells whether a volume must be read again; of a folder its metadata."""
    if CONFIG.samples[wildcards.sample].phantom:
        return [receipt("phantom").format(**wildcards)]
    return head_of(CONFIG.sources(wildcards.sample)[wildcards.role])


def affinities_file(wildcards):
    return head_of(CONFIG.params("affinities", wildcards.sample))


def head_of(source):
    path = Path(source.path)
    heads = [path / name for name in ("zarr.json", ".zarray", ".zattrs", ".zgroup")]
    return [str(file) for file in [path, *heads] if file.is_file()][:1]


def receipts_before(wildcards):
    """A phantom is made first; and raw gives the voxel size of all volumes of a sample."""
    made = ["phantom"] if CONFIG.samples[wildcards.sample].phantom else []
    return [receipt(s).format(**wildcards) for s in made + ["ingest-raw"] * (wildcards.role != "raw")]


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
        receipts=receipts_before,
    output:
        receipt("ingest-{role}"),
    log:
        f"{RESULTS}/{{sample}}/logs/ingest-{{role}}.log",
    wildcard_constraints:
        role="raw|boundaries|truth|mask|nuclei|nuclei_probability|nuclei_raw",
    threads: workers
    params:
        job=job("ingest-{role}"),
    shell:
        command("ingest-{wildcards.role}", after="{input.receipts:q}")


rule affinities:
    input:
        affinities_file,
        receipts=receipt("ingest-raw"),
    output:
        receipt("affinities"),
    log:
        f"{RESULTS}/{{sample}}/logs/affinities.log",
    threads: workers
    params:
        job=job("affinities"),
    shell:
        command("affinities", after="{input.receipts:q}")


rule normalise_nuclei:
    input:
        receipt("ingest-nuclei_raw"),
    output:
        receipt("normalise-nuclei_raw"),
    log:
        f"{RESULTS}/{{sample}}/logs/normalise-nuclei_raw.log",
    threads: workers
    params:
        job=job("normalise-nuclei_raw"),
    shell:
        command("normalise-nuclei_raw")


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
