"""Version of each stage: stands for the behaviour of the code, which neither files nor settings record.

Raise a version when a change of the code alters what the stage writes. Its rule is then rerun, older training states are
not resumed, and the audit ignores cached results of older versions.

Not here: versions of packages (provenance.py).
"""

STAGE_VERSIONS = {
    "prepare_dataset": 6,
    "misalign": 2,
    "train_vae": 2,
    "encode_latents": 3,
    "train_ldm": 3,
    "generate": 3,
    "export_images": 1,
    "score_images": 4,
    "score_embeddings": 3,
    "gather_matrix": 2,
    "sample_pairs": 1,
    "train_deepssim": 7,
    "train_dar": 1,
    "embed": 4,
    "verify_copies": 2,
    "fit_thresholds": 2,
    "evaluate": 4,
    "compare_metrics": 2,
    "summarize": 1,
    "plot_metric": 1,
    "plot_benchmark": 1,
    "plot_evaluation": 2,
    "plot_summary": 1,
    "plot_copies": 1,
    "report": 2,
    "audit": 14,
}
