"""Scores, real x synthetic: one file per metric, and one for the misaligned copies, computed in column shards.

A file holds all scores or, beyond `similarity.dense_limit`, the best of each image and the labelled pairs.
"""


rule score_images:
    """Score all real images against one shard of synthetic images."""
    input:
        unpack(labelled_pairs),
        real="results/dataset/real{variant}.h5",
        synthetic="results/synthetic/{shard}{variant}.h5",
        train_used="results/ldm/train_used.csv",
    output:
        matrix="results/matrices/{metric}{variant}/{shard}.h5",
    log:
        "results/logs/score_images/{metric}{variant}_{shard}.log",
    benchmark:
        "results/benchmarks/score_images/{metric}{variant}_{shard}.tsv"
    wildcard_constraints:
        metric="|".join(PIXEL_METRICS),
    priority: 2
    conda:
        ENVIRONMENT
    threads: THREADS["scores"]
    resources:
        gpu=GPU,
        mem_mb=growing(8000),
        runtime=growing(720),
    params:
        config=scoring_settings,
        version=STAGE_VERSIONS["score_images"],
    script:
        "../scripts/stage.py"


rule score_embeddings:
    """Score the embeddings of all real images against those of one shard of synthetic images."""
    input:
        unpack(labelled_pairs),
        real="results/embeddings/{metric}/real{variant}.h5",
        synthetic="results/embeddings/{metric}/{shard}{variant}.h5",
        train_used="results/ldm/train_used.csv",
    output:
        matrix="results/matrices/{metric}{variant}/{shard}.h5",
    log:
        "results/logs/score_embeddings/{metric}{variant}_{shard}.log",
    benchmark:
        "results/benchmarks/score_embeddings/{metric}{variant}_{shard}.tsv"
    wildcard_constraints:
        metric="|".join(EMBEDDING_METRICS),
    conda:
        ENVIRONMENT
    threads: THREADS["scores"]
    resources:
        gpu=0,
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        config=scoring_settings,
        version=STAGE_VERSIONS["score_embeddings"],
    script:
        "../scripts/stage.py"


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
    priority: 2
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        version=STAGE_VERSIONS["gather_matrix"],
    script:
        "../scripts/stage.py"
