"""A script of the reference, typed as a command, is that command."""

import pytest

from deepssim.cli import main
from deepssim.reference import generation_commands, score_commands
from deepssim.reference.script_names import command_of

SCRIPTS = {
    "compute_fsim": "compute-fsim",
    "compute_matrix": "compute-matrix",
    "compute_ssim": "compute-ssim",
    "deepssim_train": "train",
    "eval": "eval",
    "eval_ssim": "eval-ssim",
    "ldm_generate": "ldm-generate",
    "ldm_train_diff": "ldm-train-diff",
    "ldm_train_vae": "ldm-train-vae",
    "plot_reports": "plot-reports",
    "train": "train",  # in the first version
}


@pytest.mark.parametrize("form", ["{}", "{}.py", "scripts/{}.py", "./scripts/{}.py", "scripts\\{}.py"])
def test_a_script_is_its_command(form):
    for script, command in SCRIPTS.items():
        assert command_of(form.format(script)) == command


def test_every_command_is_that_of_a_script():
    assert set(SCRIPTS.values()) == {*generation_commands.COMMANDS, *score_commands.COMMANDS}


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_command_line_understands_scripts(script, capsys):
    with pytest.raises(SystemExit) as stop:
        main([f"scripts/{script}.py", "--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: deepssim {SCRIPTS[script]} [-h]")
