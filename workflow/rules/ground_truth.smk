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
        split="results/pairs/split.csv",
    log:
        "results/logs/sample_pairs.log",
    benchmark:
        "results/benchmarks/sample_pairs.tsv"
    priority: 2
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


rule plant_copies:
    """Copy training images with mild changes: controls that verification must find, and a test of metrics without duplicates."""
    input:
        train_used="results/ldm/train_used.csv",
        split="results/pairs/split.csv",
        real="results/dataset/real.h5",
        autoencoder="results/vae/autoencoder.safetensors",
    output:
        pack="results/synthetic/planted.h5",
        pairs="results/pairs/planted.csv",
    log:
        "results/logs/plant_copies.log",
    benchmark:
        "results/benchmarks/plant_copies.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        config=settings("seed", "verification.controls"),
        version=STAGE_VERSIONS["plant_copies"],
    script:
        "../scripts/stage.py"


rule score_pairs:
    """Score planted copies against their originals by one metric."""
    input:
        unpack(planted_sides),
        pairs="results/pairs/planted.csv",
    output:
        scores="results/pairs/planted/{metric}{variant}.csv",
    log:
        "results/logs/score_pairs_{metric}{variant}.log",
    benchmark:
        "results/benchmarks/score_pairs_{metric}{variant}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        config=settings("similarity"),
        version=STAGE_VERSIONS["score_pairs"],
    script:
        "../scripts/stage.py"
