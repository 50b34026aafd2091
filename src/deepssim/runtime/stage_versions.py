"""Version of each stage: stands for the behaviour of the code, which neither files nor settings record.

Raise a version when a change of the code alters what the stage writes. Its rule is then rerun, older training states are
not resumed, and the audit ignores cached results of older versions.

Not here: versions of packages (provenance.py).
"""

STAGE_VERSIONS = {
    "prepare_dataset": 7,
    "misalign": 2,
    "train_vae": 2,
    "encode_latents": 3,
    "train_ldm": 3,
    "generate": 3,
    "export_images": 2,
    "score_images": 5,
    "score_embeddings": 3,
    "gather_matrix": 2,
    "sample_pairs": 2,
    "train_deepssim": 9,
    "train_dar": 1,
    "embed": 5,
    "score_pairs": 2,
    "plant_copies": 1,
    "verify_copies": 4,
    "fit_thresholds": 3,
    "evaluate": 5,
    "compare_metrics": 3,
    "summarize": 2,
    "plot_metric": 3,
    "plot_benchmark": 3,
    "plot_evaluation": 4,
    "plot_summary": 2,
    "plot_copies": 1,
    "report": 4,
    "audit": 22,
}
