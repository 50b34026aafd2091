"""What all rules share: the checked config, shards, wildcards and resources."""

import os
from math import prod

from snakemake.settings.types import DeploymentMethod

from deepssim.config.base import as_settings
from deepssim.config.choices import DatasetKind, Device, MetricName
from deepssim.config.settings import parse_config
from deepssim.errors import ConfigError
from deepssim.metrics import METRICS as KNOWN_METRICS
from deepssim.metrics import InputKind, chosen_metrics, needs_fit, require_usable_metrics
from deepssim.runtime.gpus import visible_gpus
from deepssim.runtime.hub import on_hub
from deepssim.runtime.locks import register_run, wait_for_jobs
from deepssim.runtime.provenance import fingerprint
from deepssim.runtime.stage_versions import STAGE_VERSIONS
from deepssim.runtime.terminal import shorten_terminal
from deepssim.runtime.threads import available_threads, training_threads
from deepssim.stages.checks import require_container, require_startable
from deepssim.study import library_path

try:
    _checked = parse_config(config)
    require_usable_metrics(_checked)
    if workflow.is_main_process:
        require_startable(_checked)
        if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:
            require_container(_checked.container)
    config.update(as_settings(_checked))  # missing keys take their defaults
except ConfigError as error:
    # A result among the files was meant as a file to make.
    _files = ", ".join(map(str, workflow.config_settings.configfiles))
    raise WorkflowError(f"{_files}: {error}" if _files else str(error)) from None

if workflow.is_main_process:
    register_run(Path(".snakemake"))
    if not workflow.output_settings.dryrun:  # which is to explain every job
        shorten_terminal(lambda name: workflow.get_rule(name).docstring)


onstart:
    wait_for_jobs(Path(".snakemake"))


# Jobs that run in a conda environment of their own find the library of this checkout or installation.
if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
    _library = [str(library_path(Path(".snakemake"))), os.getenv("PYTHONPATH")]
    os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, _library)))


# For `--software-deployment-method apptainer`: jobs run in an image that has the library. Ignored otherwise.
container: config["container"]


METRICS = chosen_metrics(config["evaluation"]["metrics"], config["published"])
PIXEL_METRICS = [metric.name.value for metric in KNOWN_METRICS.values() if metric.input_kind is InputKind.PIXELS]
EMBEDDING_METRICS = [
    metric.name.value for metric in KNOWN_METRICS.values() if metric.input_kind is InputKind.EMBEDDINGS
]
VARIANTS = ["", "_misaligned"]

SHARDS = [f"{shard:03d}" for shard in range(config["shards"])]
GPU = 0 if config["device"] == Device.CPU else 1
HARDWARE = ("device", "devices", "nodes")
_processes = config["devices"] * config["nodes"]
# Resources of a training. With `mpi` the Slurm executor leaves it to the job to start its processes (processes.py).
TOGETHER = {"gpu": GPU * _processes}
if _processes > 1:
    TOGETHER |= {"mpi": "srun", "nodes": config["nodes"], "tasks": _processes, "tasks_per_gpu": GPU}
# What a run on this machine takes unless `--cores` and `--resources gpu` say otherwise. Here and not in profiles/default, since
# that profile is also read beside that of a cluster (`jobs` there is `nodes` here), where it would limit all machines to this.
if workflow.is_main_process and workflow.resource_settings.nodes is None:
    if workflow.resource_settings.cores is None:
        workflow.resource_settings.cores = available_threads()
        workflow.global_resources["_cores"] = workflow.resource_settings.cores
    if "gpu" not in workflow.resource_settings.resources:
        # Where there is no GPU, networks run on the processor, and only its cores limit how many do so at a time.
        workflow.global_resources["gpu"] = max(1 if visible_gpus() else available_threads(), TOGETHER["gpu"])
_dims = _checked.dataset.spatial_dims
_size = _checked.dataset.image_size or {2: (256, 256), 3: (64, 64, 64)}[_dims]
_pixels, _slice_pixels = prod(_size), prod(_size[-2:])
_latent_pixels = _pixels / 2 ** (_dims * (len(_checked.vae.channels) - 1))
THREADS = {
    "vae": training_threads(_checked.vae.multiply_adds(_pixels, _dims)),
    "ldm": training_threads(_checked.ldm.multiply_adds(_latent_pixels, _dims)),
    "encoder": training_threads(_checked.encoder.multiply_adds(_slice_pixels)),
    "dar": training_threads(_checked.dar.multiply_adds(_slice_pixels)),
    "scores": 8,
}
if _checked.dataset.kind is DatasetKind.VIRTUAL_PATIENTS:  # how many images there are elsewhere is not known yet
    _patients = _checked.dataset.virtual_patients
    _each = _patients.images_per_patient(_dims)
    _real = (_patients.train_patients + _patients.valid_patients + _patients.holdout_patients) * _each
    _synthetic = _patients.train_patients * _each * _checked.synthesis.images_per_record / config["shards"]
    THREADS["scores"] = training_threads(_real * _synthetic * _pixels)
CONFIG_HASH = fingerprint(config)
ENVIRONMENT = "../../envs/deepssim.yaml"
# An audit judges folders that the config names and trains no generator.
AUDIT_INPUTS = ("real", "synthetic", "holdout", "subjects", "encoder", "autoencoder")
RATING_OUTPUTS = (
    {"rating_page": "results/report/rating.html", "rating_table": "results/report/rating.csv"}
    if config["audit"]["rating"]
    else {}
)
IS_AUDIT = config["audit"]["real"] is not None
TARGETS = ["results/report/index.html"]
if not IS_AUDIT:
    TARGETS += ["results/synthetic/images", "results/plots/benchmark.png", "results/plots/ranking.svg"]
    TARGETS += ["results/eval/comparison/metrics.json"]
    TARGETS += [f"results/plots/{metric}.png" for metric in METRICS]


wildcard_constraints:
    metric="|".join(PIXEL_METRICS + EMBEDDING_METRICS),
    variant="|_misaligned",
    shard=r"\d{3}",
    part=r"real|planted|\d{3}",


def settings(*names):
    """Return what a rule depends on, sections or single settings (`section.key`); a change of others does not rerun it."""
    found = {}
    for name in names:
        section, _, key = name.partition(".")
        found[name] = config[section][key] if key else config[section]
    return found


def growing(amount):
    """Return a resource that a job gets more of each time it is tried again (`retries` in a profile)."""
    return lambda wildcards, attempt: amount * attempt


def pack_of(wildcards):
    """Return the image pack of a part: the real images or one shard of synthetic ones."""
    folder = "dataset" if wildcards.part == "real" else "synthetic"
    return f"results/{folder}/{wildcards.part}{wildcards.variant}.h5"


def is_fitted(metric):
    """Say whether a metric's thresholds are fitted here."""
    return needs_fit(MetricName(metric))


def fitted_thresholds(wildcards):
    """Return the thresholds of a metric as an input if they are fitted: those of aligned images for both variants."""
    return {"thresholds": f"results/eval/thresholds/{wildcards.metric}.json"} if is_fitted(wildcards.metric) else {}


def deepssim_embeddings(wildcards):
    """Return the embeddings of DeepSSIM as inputs if it is evaluated: a further source of candidates."""
    if MetricName.DEEPSSIM not in METRICS:
        return {}
    shards = expand("results/embeddings/deepssim/{shard}.h5", shard=SHARDS)
    return {"real_embeddings": "results/embeddings/deepssim/real.h5", "synthetic_embeddings": shards}


def registered_copies(wildcards):
    """Return the rate of copies after registration as an input if it is asked for."""
    wanted = config["verification"]["candidates"] > 0
    return {"registered_copies": "results/eval/registered_copies.json"} if wanted else {}


def planted_controls(wildcards):
    """Return planted copies, misaligned, as inputs if verification has to find some."""
    if not config["verification"]["controls"]:
        return {}
    found = {"planted": "results/synthetic/planted_misaligned.h5", "planted_pairs": "results/pairs/planted.csv"}
    if MetricName.DEEPSSIM in METRICS:
        found["planted_embeddings"] = "results/embeddings/deepssim/planted_misaligned.h5"
    return found


def planted_sides(wildcards):
    """Return the real images and the planted copies, as packs or as embeddings, whichever the metric compares."""
    if wildcards.metric in PIXEL_METRICS:
        folders = ["results/dataset", "results/synthetic"]
    else:
        folders = [f"results/embeddings/{wildcards.metric}"] * 2
    files = [
        f"{folder}/{name}{wildcards.variant}.h5" for folder, name in zip(folders, ["real", "planted"], strict=True)
    ]
    return dict(zip(["real", "synthetic"], files, strict=True))


def planted_scores(wildcards):
    """Return the scores of planted copies as an input if the metrics are tested on these; thresholds are of aligned images."""
    variant = getattr(wildcards, "variant", "")
    name = f"results/pairs/planted/{wildcards.metric}{variant}.csv"
    return {"planted": name} if config["evaluation"]["planted"] else {}


def labelled_pairs(wildcards):
    """Return the pairs whose scores are needed later as an input, but not for the metric that they are sampled by."""
    truth = wildcards.metric == MetricName.SSIM and not wildcards.variant
    sets = ["test", "valid"] if is_fitted(wildcards.metric) else ["test"]
    return {} if truth else {"pairs": [f"results/pairs/{name}.csv" for name in sets]}


def scoring_settings(wildcards):
    """Return what scores depend on, without what concerns other metrics."""
    similarity = dict(config["similarity"])
    if wildcards.metric != MetricName.FSIM:
        del similarity["fsim_variant"]
    if wildcards.metric != MetricName.SSIM:
        del similarity["exact"]
    return settings("seed", "device", "shards", "synthesis.images_per_record") | {"similarity": similarity}


def weights_file(wildcards):
    """Return the weights of a metric: those of section `published` if there are some, or those trained here."""
    weights = config["published"].get(wildcards.metric)
    if weights is None:
        return f"results/encoders/{wildcards.metric}.safetensors"
    return [] if on_hub(weights) else weights


def embedding_settings(wildcards):
    """Return what embeddings of a metric depend on: weights named for other metrics are nothing to it."""
    names = "device", "evaluation.embedding_batch_size", "evaluation.embedding_precision"
    return settings(*names) | {"published": {name: config["published"][name] for name in (wildcards.metric, "trust")}}
