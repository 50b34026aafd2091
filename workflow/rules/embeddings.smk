"""Embeddings of real and synthetic images, as they are and misaligned."""


rule embed:
    """Compute the embeddings of the real images or of one shard of synthetic images."""
    input:
        weights=weights_file,
        pack=pack_of,
    output:
        embeddings="results/embeddings/{metric}/{part}{variant}.h5",
    log:
        "results/logs/embed/{metric}_{part}{variant}.log",
    benchmark:
        "results/benchmarks/embed/{metric}_{part}{variant}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=growing(8000),
        runtime=growing(240),
    params:
        config=embedding_settings,
        version=STAGE_VERSIONS["embed"],
    script:
        "../scripts/stage.py"
