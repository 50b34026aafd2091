"""The autoencoder and the latents it gives."""


rule train_vae:
    """Train the autoencoder on the train split."""
    input:
        images="results/dataset/images.csv",
        pack="results/dataset/real.h5",
    output:
        weights="results/vae/autoencoder.safetensors",
        history="results/vae/history.csv",
        reconstructions=report(
            "results/vae/reconstructions.png", caption="../report/reconstructions.rst", category="Generative model"
        ),
    log:
        "results/logs/train_vae.log",
    benchmark:
        "results/benchmarks/train_vae.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        **TOGETHER,
        mem_mb=growing(16000),
        runtime=growing(1440),
    params:
        config=settings(*HARDWARE, "seed", "vae", "dataset.orientation"),
        version=STAGE_VERSIONS["train_vae"],
    script:
        "../scripts/stage.py"


rule encode_latents:
    """Encode every real image once, not once per epoch of the diffusion model."""
    input:
        images="results/dataset/images.csv",
        pack="results/dataset/real.h5",
        weights="results/vae/autoencoder.safetensors",
    output:
        latents="results/vae/latents.h5",
    log:
        "results/logs/encode_latents.log",
    benchmark:
        "results/benchmarks/encode_latents.tsv"
    conda:
        ENVIRONMENT
    threads: 8
    resources:
        gpu=GPU,
        mem_mb=growing(8000),
        runtime=growing(60),
    params:
        config=settings(
            "device", "dataset.orientation", "ldm.conditioning", "ldm.condition_columns", "ldm.scale_latents"
        ),
        version=STAGE_VERSIONS["encode_latents"],
    script:
        "../scripts/stage.py"
