"""Plan the workflow for many configs in one process of its own; a process for each would spend its time on imports.

python -m tests.workflow.plans REQUESTS PLANS     (two JSON files)
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import ROOT

# Empty stand-ins for the data that configs name.
STAND_INS = ("data/brain/dataset.csv", "data/chest/dataset.csv", "own.csv", "images/a.png", "volumes/a.nii.gz", "sscd.pt",
             "deepssim.pt", "dar.pth", "data/real/a.png", "data/synthetic/a.png", "data/holdout/a.png")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to plan.

    Attributes:
        config: settings, or the name of a shipped config file.
        targets: files to make; everything unless given.
        attempt: how often the jobs are tried.
        nodes: jobs at a time on a cluster (`jobs` of a profile); 0 for this machine.
        deployment: values of --software-deployment-method.
    """

    config: dict[str, Any] | str = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    attempt: int = 1
    nodes: int = 0
    deployment: tuple[str, ...] = ()


SHIPPED = sorted(path.name for path in (ROOT / "config").glob("*.yaml") if path.stem != "audit")
PUBLISHED = {"chen": "sscd.pt", "deepssim": "deepssim.pt", "dar": "dar.pth", "semdedup": "openai/clip-vit-base-patch32"}
OWN: dict[str, dict[str, Any]] = {
    "folder": {"dataset": {"kind": "folder", "path": "images"}},
    "table": {"dataset": {"kind": "table", "path": "own.csv"}},
    "volumes": {"dataset": {"kind": "volumes", "path": "volumes"}},
    "shards": {"shards": 3},
    "one metric": {"evaluation": {"metrics": ["ssim"]}},
    "no gpu": {"device": "cpu"},
    "published": {"published": PUBLISHED},
}
# All stages in seconds: one epoch, few images; copies that a model trained for so little does not make are made by hand.
CHAIN: dict[str, Any] = {
    "device": "cpu",
    "tracking": {"wandb_project": "chain"},
    "dataset": {
        "image_size": [24, 24],
        "virtual_patients": {"train_patients": 4, "valid_patients": 2, "holdout_patients": 0, "slices_mm": [20.0]},
    },
    "vae": {"channels": [4, 4, 8], "latent_channels": 2, "norm_groups": 4, "epochs": 1, "passes": 1},
    "ldm": {"channels": [8, 16], "head_channels": 16, "norm_groups": 4, "epochs": 1, "passes": 1, "batch_size": 8},
    "synthesis": {"images_per_record": 3, "sampler_steps": 4},
    "encoder": {"patch_size": 2, "widths": [8, 8, 16, 16], "hidden_features": 16, "embedding_features": 64, "epochs": 1, "passes": 1},
    "dar": {"width": 4, "embedding_features": 8, "epochs": 1, "passes": 1},
    "verification": {"candidates": 2},
    "evaluation": {"planted": True},
}  # fmt: skip
# The same of volumes, whose metrics are fewer.
VOLUMES: dict[str, Any] = CHAIN | {
    "dataset": {
        "spatial_dims": 3,
        "image_size": [8, 12, 10],
        "virtual_patients": {"train_patients": 4, "valid_patients": 2, "holdout_patients": 0, "movement": 0.5},
    },
    "vae": CHAIN["vae"] | {"channels": [4, 8]},
    "encoder": CHAIN["encoder"] | {"patch_size": 1},
    "verification": {"candidates": 0},
    "evaluation": {"metrics": ["deepssim", "ssim"]},
}
LISTS = {"similarity": {"dense_limit": 20, "top_k": 3}}  # the best scores of each image in place of all
VAE, AUDIT = "results/vae/autoencoder.safetensors", "results/report/index.html"
REQUESTS = {
    **{name: Request(config=name) for name in SHIPPED},
    **{name: Request(config=settings) for name, settings in OWN.items()},
    "audit": Request(config="audit.yaml"),
    "audit by name": Request(config="audit.yaml", targets=(AUDIT,)),
    "one result": Request(targets=("results/eval/deepssim.json",)),
    "first attempt": Request(targets=(VAE,)),
    "third attempt": Request(targets=(VAE,), attempt=3),
    "cluster": Request(config="brain.yaml", targets=(VAE,), nodes=100),
    "several processes": Request(config={"devices": 4, "nodes": 2}, targets=(VAE,)),
    "unlisted weights": Request(config={"evaluation": {"metrics": ["chen"]}}),
    "absent weights": Request(config={"published": {"chen": "none.pt"}}),
    "no image of a container": Request(config={"container": "none.sif"}, deployment=("apptainer",)),
    "own container": Request(config={"container": "docker://registry.example.org/deepssim:0.1.0"}),
    "misspelt key": Request(config={"encoder": {"epoch": 3}}),
    "chain": Request(config=CHAIN),
    "lists": Request(config=CHAIN | LISTS),
    "chain of volumes": Request(config=VOLUMES),
    "shards of volumes": Request(config=VOLUMES | {"shards": 3}),
    "no verification": Request(config={"verification": {"candidates": 0}}),
    "no controls": Request(config={"verification": {"controls": 0}}),
    "planted copies": Request(config={"evaluation": {"planted": True}}),
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job of a plan; inputs and outputs are those with a name, `files` are all inputs."""

    rule: str
    script: str | None
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    files: list[str]
    params: dict[str, Any]
    wildcards: dict[str, str]
    resources: dict[str, Any]
    threads: int
    log: list[str]
    container: str | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All jobs and the resources of all together, or why there are none."""

    jobs: tuple[Job, ...] = ()
    limits: dict[str, int | None] = field(default_factory=dict)
    error: str = ""

    @property
    def rules(self) -> set[str]:
        return {job.rule for job in self.jobs}

    @property
    def made(self) -> set[str]:
        return {path for job in self.jobs for paths in job.outputs.values() for path in _listed(paths)}

    def of(self, rule: str) -> list[Job]:
        return [job for job in self.jobs if job.rule == rule]


def _listed(paths: str | list[str]) -> list[str]:
    return [paths] if isinstance(paths, str) else paths


def plan_all(requests: Mapping[str, Request], folder: Path) -> dict[str, Plan]:
    """Plan every request in a folder of its own below `folder`."""
    (folder / "requests.json").write_text(json.dumps({name: asdict(request) for name, request in requests.items()}))
    command = [sys.executable, "-m", "tests.workflow.plans", str(folder / "requests.json"), str(folder / "plans.json")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-4000:]
    return {
        name: Plan(jobs=tuple(Job(**job) for job in plan["jobs"]), limits=plan["limits"], error=plan["error"])
        for name, plan in json.loads((folder / "plans.json").read_text()).items()
    }


def _plan(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    from snakemake.api import SnakemakeApi
    from snakemake.exceptions import WorkflowError
    from snakemake.settings.types import (
        ConfigSettings,
        DAGSettings,
        DeploymentMethod,
        DeploymentSettings,
        ExecutionSettings,
        OutputSettings,
        Quietness,
        ResourceSettings,
    )

    for path in STAND_INS:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    config = request["config"]
    file = ROOT / "config" / config if isinstance(config, str) else folder / "own.json"
    if not isinstance(config, str):
        file.write_text(json.dumps(config))
    try:
        with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
            workflow = api.workflow(
                resource_settings=ResourceSettings(nodes=request["nodes"]) if request["nodes"] else ResourceSettings(cores=8),
                config_settings=ConfigSettings(configfiles=[file]),
                deployment_settings=DeploymentSettings(DeploymentMethod.parse_choices_set(request["deployment"])),
                snakefile=ROOT / "Snakefile", workdir=folder,
            )  # fmt: skip
            dag = workflow.dag(DAGSettings(targets=set(request["targets"])))
            dag.execute_workflow(executor="dryrun", execution_settings=ExecutionSettings(attempt=request["attempt"]))
            jobs = [_described(job) for job in workflow._workflow.dag.jobs if job.rule.name != "all"]
            limits = {name: resource.value for name, resource in workflow._workflow.global_resources.items()}
    except WorkflowError as error:
        return {"jobs": [], "limits": {}, "error": str(error)}
    return {"jobs": jobs, "limits": limits, "error": ""}


def _described(job: Any) -> dict[str, Any]:
    return asdict(
        Job(
            rule=job.rule.name, script=job.rule.script, inputs=_plain(job.input), outputs=_plain(job.output),
            files=[str(path) for path in job.input], params=dict(job.params.items()),
            wildcards={name: str(value) for name, value in job.wildcards.items()},
            resources={name: value for name, value in job.resources.items() if isinstance(value, (int, str))},
            threads=job.threads, log=[str(path) for path in job.log],
            container=job.container_img_url,
        )
    )  # fmt: skip


def _plain(files: Any) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, str) else list(map(str, value)) for name, value in files.items()}


def main() -> None:
    requests, plans = map(Path, sys.argv[1:])
    found = {}
    for number, (name, request) in enumerate(json.loads(requests.read_text()).items()):
        folder = requests.parent / str(number)
        folder.mkdir()
        found[name] = _plan(folder, request)
    plans.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
