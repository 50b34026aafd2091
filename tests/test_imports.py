"""Every module can be imported, and importing stays cheap and quiet where that matters."""

import importlib
import importlib.util
import pkgutil
import subprocess
import sys

import pytest

import deepssim
from benchmarks.import_times import Start, main, started, starts, write_inputs
from deepssim.stages import MODULES

NETWORKS = {"torch", "lightning", "monai", "transformers", "kornia"}
# Rules that compute without networks, and those that also need no plots.
TABLES = (
    "prepare_dataset", "export_images", "gather_matrix", "sample_pairs", "verify_copies", "fit_thresholds", "evaluate",
    "compare_metrics", "summarize", "report", "pack",
)  # fmt: skip
PLOTS = ("plot_metric", "plot_benchmark", "plot_evaluation", "plot_summary", "plot_copies")
SCORES = (
    "score_images (ssim)", "score_images (fsim)", "score_embeddings (deepssim)", "score_embeddings (dar)", "score_pairs (ssim)",
)  # fmt: skip
# What other jobs may load. Packages that they use bring further ones with them: kornia brings scipy, for example.
ALLOWED = {
    "`deepssim --help`": set(),
    "imports of the Snakefile": set(),
    "embed (deepssim)": {"torch", "scipy", "kornia"},
    "embed (dar)": {"torch"},
    "embed (chen)": {"torch"},
    "embed (semdedup)": {"torch"},
    **{name: {"pandas", "numba", "scipy"} for name in SCORES},
    "misalign": {"torch", "kornia"},
    "audit": {"torch", "kornia", "pandas", "matplotlib", "numba", "scipy"},
    **{name: {"torch", "monai", "pandas", "numba", "scipy"} for name in ("encode_latents", "generate", "plant_copies")},
}
TRAININGS = ("train_vae", "train_ldm", "train_deepssim", "train_dar")  # Lightning alone brings most of them


@pytest.fixture(scope="module")
def jobs(tmp_path_factory) -> dict[str, Start]:
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    return {start.name: start for start in starts(folder)}


def test_every_module_imports():
    modules = [module.name for module in pkgutil.walk_packages(deepssim.__path__, "deepssim.")]
    assert "deepssim.similarity.ssim" in modules
    for name in modules:
        if name != "deepssim.similarity.ssim_cuda" or importlib.util.find_spec("triton"):  # it comes with GPU builds
            importlib.import_module(name)


def test_command_line_does_not_import_networks():
    code = "import sys, deepssim.cli; print(*{'torch', 'pandas', 'numba', 'matplotlib'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert loaded == ""


def test_every_rule_is_measured_and_checked_here(jobs):
    assert {name.split(" (")[0] for name in jobs} >= set(MODULES)
    assert set(jobs) == {*ALLOWED, *TABLES, *PLOTS, *TRAININGS}


# Jobs that may load the same run one after the other in one process: importing takes nearly all of their time.
TOGETHER = {
    allowed: [name for name in ALLOWED if ALLOWED[name] == set(allowed)] for allowed in map(frozenset, ALLOWED.values())
}


@pytest.mark.parametrize("allowed", TOGETHER, ids=["; ".join(names) for names in TOGETHER.values()])
def test_a_job_loads_only_packages_that_it_uses(jobs, allowed):
    assert set(started("\n".join(jobs[name].code for name in TOGETHER[allowed]))) <= allowed


@pytest.mark.parametrize(
    ("rules", "unused"), [(TABLES, {*NETWORKS, "matplotlib"}), (PLOTS, NETWORKS)], ids=["tables", "plots"]
)
def test_jobs_without_networks_load_none(jobs, rules, unused):
    loaded = started("\n".join(jobs[rule].code for rule in rules))
    assert not unused & set(loaded)
    assert "pandas" in loaded


def test_the_training_of_dar_needs_no_monai(jobs):
    loaded = started(jobs["train_dar"].code)
    assert "monai" not in loaded
    assert "lightning" in loaded


def test_a_job_that_fails_is_not_measured():
    with pytest.raises(RuntimeError, match="no_such_package"):
        started("import no_such_package")


def test_the_benchmark_prints_a_row_per_job(capsys):
    main(["--only", "score_pairs", "--repetitions", "1"])
    cells = [cell.strip() for cell in capsys.readouterr().out.strip("| \n").split("|")]
    assert cells[0] == "score_pairs (ssim)"
    processor, limit, wall = map(float, cells[1:4])
    assert 0 < processor < 60
    assert wall > 0
    assert limit == 2.5
    assert set(cells[4].split(", ")) <= ALLOWED["score_pairs (ssim)"]
