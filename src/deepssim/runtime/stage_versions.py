"""The version of each stage's result: the library's own behaviour, which neither files nor settings show.

Raise a version when a change of the code alters what the stage writes. Its rule then runs again, no older training state
is resumed, and the audit's cache takes nothing that an older version made.

Not here: versions of packages (provenance.py).
"""

STAGE_VERSIONS = {
    "prepare_dataset": 3,
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
    "train_deepssim": 6,
    "train_dar": 1,
    "embed": 2,
    "verify_copies": 1,
    "fit_thresholds": 1,
    "evaluate": 3,
    "compare_metrics": 1,
    "summarize": 1,
    "plot_metric": 1,
    "plot_benchmark": 1,
    "plot_evaluation": 1,
    "plot_summary": 1,
    "plot_copies": 1,
    "report": 1,
    "audit": 4,
}
