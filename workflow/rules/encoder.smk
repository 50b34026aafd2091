"""The encoders that are trained here."""


rule train_deepssim:
    """Train the DeepSSIM encoder, whose cosine similarity predicts SSIM."""
    input:
        images="results/dataset/images.csv",
        train="results/pairs/train.csv",
        valid="results/pairs/valid.csv",
        split="results/pairs/split.csv",
        real="results/dataset/real.h5",
        synthetic=expand("results/synthetic/{shard}.h5", shard=SHARDS),
        autoencoder="results/vae/autoencoder.safetensors",
    output:
        weights="results/encoders/deepssim.safetensors",
        history="results/encoders/deepssim_history.csv",
    log:
        "results/logs/train_deepssim.log",
    benchmark:
        "results/benchmarks/train_deepssim.tsv"
    priority: 1
    conda:
        ENVIRONMENT
    threads: THREADS["encoder"]
    resources:
        **TOGETHER,
        mem_mb=growing(16000),
        runtime=growing(1440),
    params:
        config=settings(*HARDWARE, "seed", "encoder", "dataset.orientation"),
        version=STAGE_VERSIONS["train_deepssim"],
    script:
        "../scripts/stage.py"


rule train_dar:
    """Train Dar's encoder on the real images, without labels."""
    input:
        images="results/dataset/images.csv",
        real="results/dataset/real.h5",
    output:
        weights="results/encoders/dar.safetensors",
        history="results/encoders/dar_history.csv",
    log:
        "results/logs/train_dar.log",
    benchmark:
        "results/benchmarks/train_dar.tsv"
    conda:
        ENVIRONMENT
    threads: THREADS["dar"]
    resources:
        gpu=GPU,
        mem_mb=growing(16000),
        runtime=growing(1440),
    params:
        config=settings("seed", "device", "dar"),
        version=STAGE_VERSIONS["train_dar"],
    script:
        "../scripts/stage.py"
