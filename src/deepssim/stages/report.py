"""The stage that writes the report of the workflow."""

from collections.abc import Sequence

from deepssim.datasets.tables import read_images
from deepssim.evaluation.summary import read_evaluation, read_registered_copies
from deepssim.reporting.page import write_report


def report(
    *,
    images: str,
    evaluations: Sequence[str],
    histograms: Sequence[str],
    summary_plot: str,
    ranking: str,
    confusion: str,
    calibration: str,
    copy_rate: str,
    copies: str,
    reconstructions: str,
    samples: str,
    page: str,
    registered_copies: str | None = None,
    spatial_dims: int = 2,
) -> None:
    """Write the report, one HTML file that needs no other file and no network.

    Args:
        images: image table.
        evaluations: results of `evaluate`, aligned and misaligned, of all metrics.
        histograms: SVG of each metric's scores by class.
        summary_plot, ranking, confusion, calibration, copy_rate, copies, reconstructions, samples: plots and pictures.
        page: HTML file to write.
        registered_copies: copy rates of `verify_copies`, if it ran.
        spatial_dims: setting; 3 for volumes.
    """
    write_report(
        page,
        images=read_images(images),
        evaluations=[read_evaluation(path) for path in evaluations],
        histograms=histograms,
        summary_plot=summary_plot,
        curves={
            "Copy rates by metric": copy_rate,
            "Ranking: ROC and precision-recall curves": ranking,
            "Confusion of classes": confusion,
            "Calibration: SSIM against score": calibration,
        },
        copies=copies,
        registered=read_registered_copies(registered_copies) if registered_copies else None,
        volumes=spatial_dims == 3,
        pictures={"Autoencoder": reconstructions, "Samples of the diffusion model": samples},
    )
