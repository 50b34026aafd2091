"""Synthetic images: packs for the workflow, PNG files for people and other software."""


rule generate:
    """Generate one shard of the synthetic images."""
    input:
        train_used="results/ldm/train_used.csv",
        latents="results/vae/latents.h5",
        autoencoder="results/vae/autoencoder.safetensors",
        unet="results/ldm/unet.safetensors",
    output:
        pack="results/synthetic/{shard}.h5",
    log:
        "results/logs/generate/{shard}.log",
    benchmark:
        "results/benchmarks/generate/{shard}.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        gpu=GPU,
        mem_mb=growing(16000),
        runtime=growing(720),
    params:
        config=settings("seed", "device", "shards", "synthesis", "dataset.bit_depth"),
        version=STAGE_VERSIONS["generate"],
    script:
        "../scripts/stage.py"


rule export_images:
    """Write the image tree: each record's real image beside those generated from it."""
    input:
        real="results/dataset/real.h5",
        synthetic=expand("results/synthetic/{shard}.h5", shard=SHARDS),
    output:
        tree=directory("results/synthetic/images"),
    log:
        "results/logs/export_images.log",
    benchmark:
        "results/benchmarks/export_images.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=growing(8000),
        runtime=growing(120),
    params:
        version=STAGE_VERSIONS["export_images"],
    script:
        "../scripts/stage.py"
