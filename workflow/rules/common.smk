"""What all rules share: the checked config, shards, wildcards and resources."""

import os

from deepssim.choices import Device, MetricName
from deepssim.config import parse_config
from deepssim.locks import join_folder, wait_for_jobs
from deepssim.settings import as_settings
from deepssim.errors import ConfigError
from deepssim.provenance import fingerprint
from deepssim.similarity.metrics import METRICS as KNOWN_METRICS, Compares

try:
    config.update(as_settings(parse_config(config)))  # missing keys take their defaults
except ConfigError as error:
    raise WorkflowError(str(error)) from None

if workflow.is_main_process:
    join_folder(Path(".snakemake"))


onstart:
    wait_for_jobs(Path(".snakemake"))


# Jobs that run in a conda environment of their own find the library of this checkout.
_library = [str(Path(workflow.basedir) / "src"), os.getenv("PYTHONPATH")]
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, _library)))

METRICS = config["evaluation"]["metrics"]
PIXEL_METRICS = [metric.name.value for metric in KNOWN_METRICS.values() if metric.compares is Compares.PIXELS]
EMBEDDING_METRICS = [metric.name.value for metric in KNOWN_METRICS.values() if metric.compares is Compares.EMBEDDINGS]
VARIANTS = ["", "_misaligned"]
SHARDS = [f"{shard:03d}" for shard in range(config["shards"])]
GPU = 0 if config["device"] == Device.CPU else 1
HARDWARE = ("device", "devices", "nodes")
_processes = config["devices"] * config["nodes"]
# Resources of a training. With `mpi` the Slurm executor leaves it to the job to start its processes (processes.py).
TOGETHER = {"gpu": GPU * _processes}
if _processes > 1:
    TOGETHER |= {"mpi": "srun", "nodes": config["nodes"], "tasks": _processes, "tasks_per_gpu": GPU}
CONFIG_HASH = fingerprint(config)
# Of section `ldm`, what decides how latents are stored; the rest must not encode them again.
LATENT_SETTINGS = ("conditioning", "condition_columns", "scale_latents")
ENVIRONMENT = "../../envs/deepssim.yaml"


wildcard_constraints:
    metric="|".join(PIXEL_METRICS + EMBEDDING_METRICS),
    variant="|_misaligned",
    shard=r"\d{3}",
    part=r"real|\d{3}",


def settings(*names):
    """Return the sections of the config that a rule depends on; a change of others does not run it again."""
    return {name: config[name] for name in names}


def growing(amount):
    """Return a resource that a job gets more of each time it is tried again (`retries` in a profile)."""
    return lambda wildcards, attempt: amount * attempt


def pack_of(wildcards):
    """Return the image pack of a part: the real images or one shard of synthetic ones."""
    folder = "dataset" if wildcards.part == "real" else "synthetic"
    return f"results/{folder}/{wildcards.part}{wildcards.variant}.h5"


def labelled_pairs(wildcards):
    """Return the test pairs as an input, but not for the metric that they are sampled by."""
    truth = wildcards.metric == MetricName.SSIM and not wildcards.variant
    return {} if truth else {"pairs": "results/pairs/test.csv"}
