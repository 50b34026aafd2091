"""What all rules share: the checked config, shards, wildcards and resources."""

import os

from deepssim.choices import Device, MetricName
from deepssim.config import parse_config
from deepssim.settings import as_settings
from deepssim.errors import ConfigError
from deepssim.provenance import fingerprint
from deepssim.similarity.metrics import METRICS as KNOWN_METRICS, Compares

try:
    config.update(as_settings(parse_config(config)))  # missing keys take their defaults
except ConfigError as error:
    raise WorkflowError(str(error)) from None

# Jobs that run in a conda environment of their own find the library of this checkout.
_library = [str(Path(workflow.basedir) / "src"), os.getenv("PYTHONPATH")]
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, _library)))

METRICS = config["evaluation"]["metrics"]
PIXEL_METRICS = [metric.name.value for metric in KNOWN_METRICS.values() if metric.compares is Compares.PIXELS]
EMBEDDING_METRICS = [metric.name.value for metric in KNOWN_METRICS.values() if metric.compares is Compares.EMBEDDINGS]
VARIANTS = ["", "_misaligned"]
SHARDS = [f"{shard:03d}" for shard in range(config["shards"])]
GPU = 0 if config["device"] == Device.CPU else 1
CONFIG_HASH = fingerprint(config)
# Of section `ldm`, what decides how latents are stored; the rest must not encode them again.
LATENT_SETTINGS = ("conditioning", "condition_columns", "scale_latents")
ENVIRONMENT = "../../envs/deepssim.yaml"
# An audit judges folders that the config names and trains no generator.
AUDIT_INPUTS = ("real", "synthetic", "holdout", "subjects", "encoder", "autoencoder")
IS_AUDIT = config["audit"]["real"] is not None
TARGETS = ["results/report/index.html"]
if not IS_AUDIT:
    TARGETS += ["results/synthetic/images", "results/eval/comparison/metrics.json", "results/plots/ranking.svg"]
    TARGETS += [f"results/plots/{metric}.png" for metric in METRICS]


wildcard_constraints:
    metric="|".join(PIXEL_METRICS + EMBEDDING_METRICS),
    variant="|_misaligned",
    shard=r"\d{3}",
    part=r"real|\d{3}",


def settings(*names):
    """Return the sections of the config that a rule depends on; a change of others does not run it again."""
    return {name: config[name] for name in names}


def pack_of(wildcards):
    """Return the image pack of a part: the real images or one shard of synthetic ones."""
    folder = "dataset" if wildcards.part == "real" else "synthetic"
    return f"results/{folder}/{wildcards.part}{wildcards.variant}.h5"


def labelled_pairs(wildcards):
    """Return the test pairs as an input, but not for the metric that they are sampled by."""
    truth = wildcards.metric == MetricName.SSIM and not wildcards.variant
    return {} if truth else {"pairs": "results/pairs/test.csv"}
