"""The report for people who did not run the pipeline."""


rule report:
    """Write the report, one HTML file that needs nothing else."""
    input:
        unpack(registered_copies),
        images="results/dataset/images.csv",
        evaluations=expand("results/eval/{metric}{variant}.json", metric=METRICS, variant=VARIANTS),
        histograms=expand("results/plots/{metric}.svg", metric=METRICS),
        summary_plot="results/plots/summary.svg",
        ranking="results/plots/ranking.svg",
        confusion="results/plots/confusion.svg",
        calibration="results/plots/calibration.svg",
        copy_rate="results/plots/copy_rate.svg",
        copies="results/plots/copies.png",
        reconstructions="results/vae/reconstructions.png",
        samples="results/ldm/samples.png",
    output:
        page="results/report/index.html",
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        config=settings("dataset.spatial_dims"),
        version=STAGE_VERSIONS["report"],
    script:
        "../scripts/stage.py"
