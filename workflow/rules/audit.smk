"""The audit of folders of images: takes the place of the report where section `audit` names them."""


rule audit:
    """Judge which synthetic images copy training images, without labels."""
    input:
        [path for name in AUDIT_INPUTS if (path := config["audit"][name])],
        config["audit"]["ratings"],
    output:
        **RATING_OUTPUTS,
        page=report("results/report/index.html", caption="../report/audit.rst", category="Audit"),
        sheet=report("results/report/summary.pdf", caption="../report/audit.rst", category="Audit"),
        summary="results/report/summary.json",
        pairs=report("results/report/pairs.csv", caption="../report/audit.rst", category="Audit"),
        files="results/report/files.csv",
        keep="results/report/keep.txt",
        drop="results/report/drop.txt",
    log:
        "results/logs/audit.log",
    benchmark:
        "results/benchmarks/audit.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        gpu=GPU,
        mem_mb=8000,
        runtime=720,
    params:
        config=settings("seed", "device", "encoder", "published", "audit"),
        cache="results/cache",
        version=STAGE_VERSIONS["audit"],
    script:
        "../scripts/stage.py"
