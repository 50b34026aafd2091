"""Every shipped config, and every kind of own data, gives a complete plan before any job runs."""

import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
import yaml

from deepssim.config.choices import MetricName
from deepssim.runtime.gpus import visible_gpus
from deepssim.runtime.threads import available_threads
from tests.conftest import ROOT
from tests.workflow.plans import OWN, SHIPPED, VAE
from tests.workflow.running import snakemake


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configs(plans, name):
    trained = {"train_vae", "train_ldm", "generate", "train_deepssim", "embed"}
    assert plans[name].error == ""
    assert plans[name].rules >= {"prepare_dataset", "evaluate", "report", *trained}


@pytest.mark.parametrize("name", ["audit", "audit by name"])
def test_an_audit_trains_no_generator(plans, name):
    assert plans[name].error == ""
    assert plans[name].rules == {"audit"}


@pytest.mark.parametrize("name", OWN)
def test_own_configs(plans, name):
    plan = plans[name]
    assert plan.error == ""
    assert plan.rules >= {"prepare_dataset", "evaluate", "report"}
    trained = name not in ("one metric", "published")
    assert ("train_deepssim" in plan.rules) is trained
    assert ("train_dar" in plan.rules) is trained
    for metric in ("chen", "semdedup"):  # which join when their weights are named
        assert (f"results/eval/{metric}_misaligned.json" in plan.made) is (name == "published")
    # Dar's published threshold belongs to scores that depend on the batch, which no workflow computes; FSIM has none.
    for metric in ("dar", "fsim"):
        assert (f"results/eval/thresholds/{metric}.json" in plan.made) is (name != "one metric")
    assert ("results/synthetic/002.h5" in plan.made) is (name == "shards")


def test_no_metric_is_left_out_of_summaries_plots_and_the_report(plans):
    """Metrics are told apart by their names as a whole, whatever these end in; the report shows histograms only."""
    plan = plans["published"]
    assert "results/eval/semdedup_misaligned.json" in plan.made
    metrics = [name.value for name in MetricName]
    aligned, misaligned = ([f"results/matrices/{name}{kind}.h5" for name in metrics] for kind in ("", "_misaligned"))
    evaluations = [f"results/eval/{name}{kind}.json" for name in metrics for kind in ("", "_misaligned")]
    of = {rule: plan.of(rule)[0].inputs for rule in plan.rules}
    for rule in ("plot_benchmark", "plot_evaluation"):
        assert (of[rule]["aligned"], of[rule]["misaligned"]) == (aligned, misaligned)
    for rule in ("summarize", "plot_evaluation", "report"):
        assert of[rule]["evaluations"] == evaluations
    assert of["plot_benchmark"]["evaluations"] == of["compare_metrics"]["evaluations"] == evaluations[::2]
    assert of["compare_metrics"]["matrices"] == aligned
    assert of["report"]["histograms"] == [f"results/plots/{name}.svg" for name in metrics]
    assert {job.wildcards["metric"] for job in plan.of("plot_metric")} == set(metrics)


def test_one_result_needs_only_its_part(plans):
    assert "train_deepssim" in plans["one result"].rules
    assert not plans["one result"].rules & {"report", "plot_metric", "export_images", "misalign"}


def test_copies_are_sought_after_registration_unless_that_is_switched_off(plans):
    assert "verify_copies" not in plans["no verification"].rules
    assert "registered_copies" not in plans["no verification"].of("report")[0].inputs
    (job,) = plans["folder"].of("verify_copies")
    assert plans["folder"].of("report")[0].inputs["registered_copies"] == job.outputs["copies"]
    assert "real_embeddings" in job.inputs
    assert "real_embeddings" not in plans["one metric"].of("verify_copies")[0].inputs  # trains no DeepSSIM for it


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("unlisted weights", ("'chen'", "SSCD", "published.chen")),
        ("absent weights", ("none.pt", "'chen'", "SSCD")),
        ("misspelt key", ("'epoch'", "'encoder'", "'epochs'")),
        ("no image of a container", ("none.sif: does not exist", "apptainer build none.sif envs/deepssim.def")),
    ],
)
def test_unusable_settings_stop_before_any_job(plans, name, facts):
    assert plans[name].jobs == ()
    for fact in facts:
        assert fact in plans[name].error


def test_a_job_that_is_tried_again_gets_more_memory_and_time(plans):
    asked = [
        [plans[name].of("train_vae")[0].resources[resource] for resource in ("mem_mb", "runtime")]
        for name in ("first attempt", "third attempt")
    ]
    assert asked == [[16000, 1440], [48000, 3 * 1440]]


def test_a_training_of_several_processes_asks_for_all_of_them(plans):
    (training,) = plans["several processes"].of("train_vae")
    expected = {"gpu": 8, "nodes": 2, "tasks": 8, "tasks_per_gpu": 1, "mpi": "srun"}
    assert {name: training.resources[name] for name in expected} == expected
    (alone,) = plans["first attempt"].of("train_vae")
    assert "mpi" not in alone.resources


def test_this_machine_does_not_limit_the_jobs_of_a_cluster(plans):
    """What a run here takes by default would otherwise be the most that a job may ask for there."""
    (training,) = plans["cluster"].of("train_vae")
    assert training.threads == 8
    assert plans["cluster"].limits == {"_cores": None, "_nodes": 100}


def test_jobs_that_use_a_gpu_run_one_at_a_time_or_as_the_config_divides_them(plans):
    at_a_time = 1 if visible_gpus() else available_threads()  # without a GPU only the cores limit them
    assert plans["one result"].limits["gpu"] == at_a_time
    assert plans["no gpu"].limits["gpu"] == at_a_time
    assert plans["several processes"].limits["gpu"] == 8  # 4 devices on each of 2 nodes


@pytest.mark.parametrize(("name", "threads"), [("config.yaml", 1), ("brain.yaml", 8)])
def test_small_jobs_leave_cores_to_others(plans, name, threads):
    for rule in ("train_deepssim", "train_dar", "score_images", "score_embeddings"):
        assert {job.threads for job in plans[name].of(rule)} == {threads}


def test_without_a_gpu_no_job_asks_for_one(plans):
    assert {job.resources["gpu"] for job in plans["no gpu"].jobs} == {0}


def test_every_rule_with_a_gpu_asks_for_it_as_a_generic_resource(plans):
    profile = yaml.safe_load((ROOT / "profiles" / "slurm-gres" / "config.yaml").read_text())
    jobs = [*plans["config.yaml"].jobs, *plans["audit"].jobs]
    assert set(profile["set-resources"]) == {job.rule for job in jobs if job.resources["gpu"]}


@pytest.mark.skipif(find_spec("snakemake_executor_plugin_slurm") is None, reason="needs deepssim[slurm]")
@pytest.mark.parametrize(("profile", "resources"), [("slurm", ("gpu=1",)), ("slurm-gres", ("gpu=0", "gres=gpu:1"))])
def test_profiles_of_clusters(tmp_path, profile, resources):
    """On the command line, since a profile is read there."""
    run = snakemake(tmp_path, VAE, "--dry-run", "--profile", str(ROOT / "profiles" / profile))
    assert run.returncode == 0, run.stdout
    training = run.stdout[run.stdout.index("rule train_vae:") :]
    for resource in resources:
        assert resource in training


def test_a_misspelt_key_is_one_sentence_on_the_command_line(tmp_path):
    (tmp_path / "own.json").write_text('{"encoder": {"epoch": 3}}')
    run = snakemake(tmp_path, "--configfile", str(tmp_path / "own.json"))
    assert run.returncode != 0
    assert re.search("'epoch' .*'encoder'.*'epochs'", run.stdout)
    assert "Traceback" not in run.stdout
    assert not (tmp_path / "results").exists()


def test_the_workflow_is_a_module_for_others(tmp_path):
    """As `snakedeploy deploy-workflow` imports it: with the config of the study, which lists only some settings."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("shards: 2\ndevice: cpu\n")
    (tmp_path / "Snakefile").write_text(
        'configfile: "config/config.yaml"\n'
        f'module deepssim:\n    snakefile: "{ROOT / "Snakefile"}"\n    config: config\n'
        "use rule * from deepssim\n"
    )
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "results/eval/ssim.json"]
    run = subprocess.run(
        command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300
    )
    assert run.returncode == 0, run.stdout[-3000:]
    assert re.search(r"^generate +2$", run.stdout, re.MULTILINE)
    assert re.search(r"^all +", run.stdout, re.MULTILINE) is None
