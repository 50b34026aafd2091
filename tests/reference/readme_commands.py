"""The command lines of the reference's two READMEs, as printed, and how a test fills their placeholders.

Source: https://github.com/brAIn-science/DeepSSIM (arXiv:2509.16582), and its first version of 2025.
"""

import re
import shlex
from collections.abc import Mapping

README = {
    "deepssim_train": """
python scripts/deepssim_train.py \\
  --dataset_images_dir PATH \\
  --dataset_csv PATH \\
  --exp_name STR \\
  --use_gpu
""",
    "compute_matrix": """
python scripts/compute_matrix.py \\
  --dataset_images_dir PATH \\
  --embeddings_dir PATH \\
  --matrices_dir PATH \\
  --indices_dir PATH \\
  --model_path PATH \\
  --metric_name {deepssim, chen, dar, semdedup} \\
  --use_gpu
""",
    "eval": """
python scripts/eval.py \\
  --synth_indices_path PATH \\
  --real_indices_path PATH \\
  --matrix_path PATH \\
  --testset_csv PATH \\
  --metric_name {deepssim, chen, dar, semdedup}
""",
    "plot_reports": """
python scripts/plot_reports.py \\
  --synth_indices_path PATH \\
  --real_indices_path PATH \\
  --matrix_path PATH \\
  --output_path PATH \\
  --testset_csv PATH \\
  --upper_threshold FLOAT \\
  --low_threshold FLOAT \\
  --exp_title STR
""",
    "ldm_train_vae": """
python scripts/ldm_train_vae.py \\
  --dataset_csv PATH \\
  --output_dir PATH
""",
    "ldm_train_diff": """
python scripts/ldm_train_diff.py \\
  --dataset_csv PATH \\
  --output_dir PATH \\
  --aekl_ckpt PATH \\
  --conditioning {none, variables, conditioning} \\
  --duplication {none, low, high} \\
  --latent_shape STR \\
  --vae_space_shape STR
""",
    "ldm_generate": """
python scripts/ldm_generate.py \\
  --dataset_csv PATH \\
  --aekl_ckpt PATH \\
  --diff_ckpt PATH \\
  --output_path PATH \\
  --conditioning {none, variables, conditioning} \\
  --latent_shape STR \\
  --vae_space_shape STR \\
  --n_gen_per_record INT
""",
}
# Shapes that the README gives, by study: --latent_shape and --vae_space_shape.
SHAPES = {"brain": ("3x36x28", "3x34x28"), "chest": ("3x32x32", "3x32x32")}

FIRST_README = {
    "train": "python3 train.py --exp_name STR --use_gpu",
    "compute_matrix": "python3 compute_matrix.py --model_path PATH --metric_name {deepssim, chen, dar} --use_gpu",
    "eval": "python3 eval.py --matrix_path PATH --metric_name {deepssim, chen, dar}",
    "eval_ssim": "python3 eval_ssim.py",
    "plot_reports": "python3 plot_reports.py --matrix_path PATH --output_path PATH --exp_title STR --low_threshold FLOAT "
    "--upper_threshold FLOAT",
}
# Options that it calls optional; those without a value are flags.
FIRST_OPTIONAL = {
    "train": "--dataset_images_dir PATH --dataset_csv PATH --emb_dim INT --num_workers INT --epochs INT --batch_size INT "
    "--learning_rate FLOAT --weight_decay FLOAT --dropout_prob FLOAT",
    "compute_matrix": "--augment --dataset_images_dir PATH --embeddings_dir PATH --indices_dir PATH --matrices_dir PATH "
    "--num_workers INT --batch_size INT",
    "eval": "--testset_csv PATH --synth_indices_path PATH --real_indices_path PATH",
    "eval_ssim": "--augment --testset_csv PATH --dataset_images_dir PATH",
    "plot_reports": "--testset_csv PATH --synth_indices_path PATH --real_indices_path PATH",
}

_PLACEHOLDER = re.compile(r"--(\w+) (PATH|STR|INT|FLOAT|\{[^}]*\})")
_SCRIPT = re.compile(r"^python3? (?:scripts/)?(\w+)\.py$")


def arguments(line: str, values: Mapping[str, object]) -> list[str]:
    """Return the arguments of `deepssim` for a printed line: the script's name, and its options with these values.

    Args:
        line: as printed.
        values: by name of the option.
    """

    def filled(match: re.Match[str]) -> str:
        value = str(values[match[1]])
        if match[2].startswith("{"):
            assert value in re.findall(r"\w+", match[2]), value
        return f"--{match[1]} {shlex.quote(value)}"

    one_line = line.replace("\\\n", " ")
    python, script, *options = shlex.split(_PLACEHOLDER.sub(filled, one_line))
    name = _SCRIPT.match(f"{python} {script}")
    assert name is not None, line
    return [name[1], *options]
