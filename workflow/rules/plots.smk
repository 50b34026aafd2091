"""Plots of scores and pictures of copies."""


rule plot_metric:
    """Draw the histogram of a metric's scores by class."""
    input:
        aligned="results/matrices/{metric}.h5",
        misaligned="results/matrices/{metric}_misaligned.h5",
        test="results/pairs/test.csv",
        evaluation="results/eval/{metric}.json",
    output:
        png="results/plots/{metric}.png",
        svg=report("results/plots/{metric}.svg", caption="../report/histogram.rst", category="Evaluation"),
    log:
        "results/logs/plot_{metric}.log",
    benchmark:
        "results/benchmarks/plot_{metric}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        version=STAGE_VERSIONS["plot_metric"],
    script:
        "../scripts/stage.py"


rule plot_benchmark:
    """Draw the histograms of all metrics in one figure."""
    input:
        aligned=expand("results/matrices/{metric}.h5", metric=METRICS),
        misaligned=expand("results/matrices/{metric}_misaligned.h5", metric=METRICS),
        test="results/pairs/test.csv",
        evaluations=expand("results/eval/{metric}.json", metric=METRICS),
    output:
        png="results/plots/benchmark.png",
        svg=report("results/plots/benchmark.svg", caption="../report/benchmark.rst", category="Evaluation"),
    log:
        "results/logs/plot_benchmark.log",
    benchmark:
        "results/benchmarks/plot_benchmark.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=4000,
        runtime=30,
    params:
        version=STAGE_VERSIONS["plot_benchmark"],
    script:
        "../scripts/stage.py"


rule plot_evaluation:
    """Draw ROC and precision-recall curves, confusion, calibration and copy rates of all metrics."""
    input:
        aligned=expand("results/matrices/{metric}.h5", metric=METRICS),
        misaligned=expand("results/matrices/{metric}_misaligned.h5", metric=METRICS),
        test="results/pairs/test.csv",
        evaluations=expand("results/eval/{metric}{variant}.json", metric=METRICS, variant=VARIANTS),
    output:
        ranking_png="results/plots/ranking.png",
        ranking_svg=report("results/plots/ranking.svg", caption="../report/ranking.rst", category="Evaluation"),
        confusion_png="results/plots/confusion.png",
        confusion_svg=report("results/plots/confusion.svg", caption="../report/confusion.rst", category="Evaluation"),
        calibration_png="results/plots/calibration.png",
        calibration_svg=report(
            "results/plots/calibration.svg", caption="../report/calibration.rst", category="Evaluation"
        ),
        copy_rate_png="results/plots/copy_rate.png",
        copy_rate_svg=report("results/plots/copy_rate.svg", caption="../report/copy_rate.rst", category="Copies"),
    log:
        "results/logs/plot_evaluation.log",
    benchmark:
        "results/benchmarks/plot_evaluation.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=4000,
        runtime=30,
    params:
        version=STAGE_VERSIONS["plot_evaluation"],
    script:
        "../scripts/stage.py"


rule plot_summary:
    """Draw macro-F1 of all metrics."""
    input:
        summary="results/eval/summary.csv",
    output:
        svg=report("results/plots/summary.svg", caption="../report/summary.rst", category="Evaluation"),
    log:
        "results/logs/plot_summary.log",
    benchmark:
        "results/benchmarks/plot_summary.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        version=STAGE_VERSIONS["plot_summary"],
    script:
        "../scripts/stage.py"


rule plot_copies:
    """Show synthetic images beside the training images that they resemble most."""
    input:
        matrix="results/matrices/ssim.h5",
        train_used="results/ldm/train_used.csv",
        real="results/dataset/real.h5",
        synthetic=expand("results/synthetic/{shard}.h5", shard=SHARDS),
    output:
        png=report("results/plots/copies.png", caption="../report/copies.rst", category="Copies"),
    log:
        "results/logs/plot_copies.log",
    benchmark:
        "results/benchmarks/plot_copies.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        version=STAGE_VERSIONS["plot_copies"],
    script:
        "../scripts/stage.py"
