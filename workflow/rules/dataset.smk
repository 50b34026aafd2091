"""Real images: table, pack, and misaligned copies of packs."""


rule prepare_dataset:
    """Read the real images and split them by subject."""
    input:
        [config["dataset"]["path"]] if config["dataset"]["path"] else [],
    output:
        images="results/dataset/images.csv",
        pack="results/dataset/real.h5",
    log:
        "results/logs/prepare_dataset.log",
    benchmark:
        "results/benchmarks/prepare_dataset.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        gpu=0,
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        config=settings("seed", "dataset"),
        version=STAGE_VERSIONS["prepare_dataset"],
    script:
        "../scripts/stage.py"


rule misalign:
    """Flip, rotate and change the contrast of every image at random."""
    input:
        pack="results/{folder}/{part}.h5",
    output:
        misaligned="results/{folder}/{part}_misaligned.h5",
    log:
        "results/logs/misalign/{folder}_{part}.log",
    benchmark:
        "results/benchmarks/misalign/{folder}_{part}.tsv"
    wildcard_constraints:
        folder="dataset|synthetic",
    priority: 2
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        config=settings("seed", "evaluation.misalignment"),
        version=STAGE_VERSIONS["misalign"],
    script:
        "../scripts/stage.py"
