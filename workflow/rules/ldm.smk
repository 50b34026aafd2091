"""The latent diffusion model: the model under test."""


rule train_ldm:
    """Train the diffusion model on the latents of the train split."""
    input:
        images="results/dataset/images.csv",
        pack="results/dataset/real.h5",
        latents="results/vae/latents.h5",
        autoencoder="results/vae/autoencoder.safetensors",
    output:
        weights="results/ldm/unet.safetensors",
        history="results/ldm/history.csv",
        samples=report("results/ldm/samples.png", caption="../report/samples.rst", category="Generative model"),
        train_used="results/ldm/train_used.csv",
    log:
        "results/logs/train_ldm.log",
    benchmark:
        "results/benchmarks/train_ldm.tsv"
    conda:
        ENVIRONMENT
    threads: THREADS["ldm"]
    resources:
        **TOGETHER,
        mem_mb=growing(16000),
        runtime=growing(2880),
    params:
        config=settings(*HARDWARE, "seed", "ldm"),
        version=STAGE_VERSIONS["train_ldm"],
    script:
        "../scripts/stage.py"
