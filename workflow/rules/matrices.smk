"""Score matrices, real x synthetic: one file per metric, and one for the misaligned copies."""


rule score_images:
    """Score all real images against one shard of synthetic ones by a metric that reads pixels."""
    input:
        real="results/dataset/real{variant}.h5",
        synthetic="results/synthetic/{shard}{variant}.h5",
    output:
        matrix="results/matrices/{metric}{variant}/{shard}.h5",
    log:
        "results/logs/score_images_{metric}{variant}_{shard}.log",
    benchmark:
        "results/benchmarks/score_images_{metric}{variant}_{shard}.tsv"
    wildcard_constraints:
        metric="|".join(PIXEL_METRICS),
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        gpu=0,
        mem_mb=8000,
        runtime=720,
    params:
        recipe=1,
    script:
        "../scripts/score_images.py"


rule gather_matrix:
    """Put the shards of a score matrix side by side."""
    input:
        shards=expand("results/matrices/{{metric}}{{variant}}/{shard}.h5", shard=SHARDS),
    output:
        matrix="results/matrices/{metric}{variant}.h5",
    log:
        "results/logs/gather_matrix_{metric}{variant}.log",
    benchmark:
        "results/benchmarks/gather_matrix_{metric}{variant}.tsv"
    wildcard_constraints:
        metric="|".join(PIXEL_METRICS),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=8000,
        runtime=60,
    script:
        "../scripts/gather_matrix.py"


rule score_embeddings:
    """Score all real embeddings against all synthetic ones."""
    input:
        real="results/embeddings/{metric}/real{variant}.h5",
        synthetic=expand("results/embeddings/{{metric}}/{shard}{{variant}}.h5", shard=SHARDS),
    output:
        matrix="results/matrices/{metric}{variant}.h5",
    log:
        "results/logs/score_embeddings_{metric}{variant}.log",
    benchmark:
        "results/benchmarks/score_embeddings_{metric}{variant}.tsv"
    wildcard_constraints:
        metric="|".join(EMBEDDING_METRICS),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=8000,
        runtime=60,
    params:
        recipe=1,
    script:
        "../scripts/score_embeddings.py"
