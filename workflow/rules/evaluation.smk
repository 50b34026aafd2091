"""Figures: how well each metric finds the classes, and how much copying it sees."""


rule fit_thresholds:
    """Fit thresholds to the validation pairs, which share no subject with the test pairs."""
    input:
        unpack(planted_scores),
        matrix="results/matrices/{metric}.h5",
        valid="results/pairs/valid.csv",
    output:
        thresholds="results/eval/thresholds/{metric}.json",
    log:
        "results/logs/fit_thresholds_{metric}.log",
    benchmark:
        "results/benchmarks/fit_thresholds_{metric}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=4000,
        runtime=30,
    params:
        version=STAGE_VERSIONS["fit_thresholds"],
    script:
        "../scripts/stage.py"


rule evaluate:
    """Evaluate one metric on the labelled test pairs."""
    input:
        unpack(fitted_thresholds),
        unpack(planted_scores),
        matrix="results/matrices/{metric}{variant}.h5",
        test="results/pairs/test.csv",
        train_used="results/ldm/train_used.csv",
        images="results/dataset/images.csv",
    output:
        evaluation="results/eval/{metric}{variant}.json",
    log:
        "results/logs/evaluate_{metric}{variant}.log",
    benchmark:
        "results/benchmarks/evaluate_{metric}{variant}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        config=settings("seed"),
        config_hash=CONFIG_HASH,
        version=STAGE_VERSIONS["evaluate"],
    script:
        "../scripts/stage.py"


rule verify_copies:
    """Register each synthetic image to the training image that it resembles most, and count copies by exact SSIM."""
    input:
        unpack(deepssim_embeddings),
        unpack(planted_controls),
        matrix="results/matrices/ssim.h5",
        train_used="results/ldm/train_used.csv",
        images="results/dataset/images.csv",
        real="results/dataset/real.h5",
        synthetic=expand("results/synthetic/{shard}.h5", shard=SHARDS),
    output:
        verified=report("results/eval/verified.csv", caption="../report/verified.rst", category="Copies"),
        copies="results/eval/registered_copies.json",
    log:
        "results/logs/verify_copies.log",
    benchmark:
        "results/benchmarks/verify_copies.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        gpu=0,
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        config=settings("seed", "verification"),
        version=STAGE_VERSIONS["verify_copies"],
    script:
        "../scripts/stage.py"


rule compare_metrics:
    """Compare metrics on the same test pairs, and list those on which they disagree."""
    input:
        matrices=expand("results/matrices/{metric}.h5", metric=METRICS),
        evaluations=expand("results/eval/{metric}.json", metric=METRICS),
        test="results/pairs/test.csv",
        images="results/dataset/images.csv",
    output:
        comparison="results/eval/comparison/metrics.json",
        disagreements=report(
            "results/eval/comparison/disagreements.csv", caption="../report/disagreements.rst", category="Evaluation"
        ),
    log:
        "results/logs/compare_metrics.log",
    benchmark:
        "results/benchmarks/compare_metrics.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=4000,
        runtime=60,
    params:
        config=settings("seed"),
        version=STAGE_VERSIONS["compare_metrics"],
    script:
        "../scripts/stage.py"


rule summarize:
    """Collect the main results of all metrics in one table."""
    input:
        evaluations=expand("results/eval/{metric}{variant}.json", metric=METRICS, variant=VARIANTS),
    output:
        summary=report("results/eval/summary.csv", caption="../report/summary.rst", category="Evaluation"),
    log:
        "results/logs/summarize.log",
    benchmark:
        "results/benchmarks/summarize.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        version=STAGE_VERSIONS["summarize"],
    script:
        "../scripts/stage.py"
