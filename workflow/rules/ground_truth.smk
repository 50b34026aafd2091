"""The truth that metrics are judged by: classes of exact SSIM, and pairs sampled from them."""


rule sample_pairs:
    """Sample training, validation and test pairs without a common subject."""
    input:
        images="results/dataset/images.csv",
        train_used="results/ldm/train_used.csv",
        matrix="results/matrices/ssim.h5",
    output:
        train="results/pairs/train.csv",
        valid="results/pairs/valid.csv",
        test="results/pairs/test.csv",
    log:
        "results/logs/sample_pairs.log",
    benchmark:
        "results/benchmarks/sample_pairs.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        config=settings("seed", "pairs"),
        version=STAGE_VERSIONS["sample_pairs"],
    script:
        "../scripts/stage.py"
