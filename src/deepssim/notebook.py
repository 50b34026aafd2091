"""Functions for notebooks: from folders to images, embeddings and scores.

Not here: the implementation (images/, encoders/, similarity/), the audit (audit/run.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepssim.encoders.deepssim import DeepSSIM
    from deepssim.images.packs import ImagePack
    from deepssim.similarity.embeddings import Embeddings
    from deepssim.similarity.scores import ScoreMatrix


def load_images(
    folder: str | Path,
    *,
    size: Sequence[int] = (64, 64),
    percentiles: Sequence[float] = (0.5, 99.5),
    synthetic: bool = False,
    threads: int = 2,
) -> ImagePack:
    """Read all images in a folder and its subfolders, of any format and size, and resize them to a common size.

    Args:
        folder: folder with pictures (PNG, JPEG, TIFF, WebP and others), arrays (NumPy, HDF5, PyTorch), NIfTI or DICOM files;
            hidden files are ignored.
        size: target height and width; images are padded with black to this aspect ratio, then resized.
        percentiles: percentiles of the non-zero values that are mapped to black and white, for volumes and for images of
            more than 8 bits.
        synthetic: in a folder of the reference code's layout, read the generated images instead of the real ones.
        threads: number of files decoded in parallel.

    Returns:
        Images as uint8. Keys are paths relative to the folder, followed by `#` and the number of the image if a file has
        several (of an array, frames of a DICOM file, pages of a TIFF, axial slices of a volume). Constant images and nearly empty slices
        are excluded.

    Raises:
        DataError: if the folder holds no images, or files cannot be read.
    """
    from deepssim.images.files import read_each
    from deepssim.images.folders import TreeSide, collect, decode_if_image, list_files

    root = Path(folder)
    files = list_files(root, side=TreeSide.SYNTHETIC if synthetic else TreeSide.REAL)
    decoded = read_each(files, lambda path: decode_if_image(path, size, percentiles), threads=threads, place=str(root))
    return collect(root, files, decoded).pack


def load_encoder(path: str | Path) -> DeepSSIM:
    """Load a trained encoder in evaluation mode; its input is float32 (N, 1, H, W), 0 to 1."""
    from deepssim.encoders.deepssim import load_encoder as load

    return load(path)


def embed(encoder: str | Path, images: ImagePack, *, device: str = "auto", batch_size: int = 256) -> Embeddings:
    """Embed images with an encoder.

    Args:
        encoder: weight file of the encoder.
        images: images to embed.
        device: "auto", "cpu" or "cuda".
        batch_size: images embedded at a time.

    Returns:
        One vector per image with its key, and the checksum of the encoder; only embeddings of the same encoder can be
        compared.
    """
    from deepssim.config.choices import Device
    from deepssim.encoders.deepssim import embed as embed_pack

    return embed_pack(encoder, images, device=Device(device), batch_size=batch_size)


def score_matrix(real: Embeddings, synthetic: Embeddings, *, threads: int = 2) -> ScoreMatrix:
    """Compute the cosine similarity of every real with every synthetic embedding.

    Args:
        real, synthetic: embeddings by the same encoder.
        threads: CPU threads.
    """
    from deepssim.config.choices import MetricName
    from deepssim.similarity.embedding_scores import EmbeddingComparison
    from deepssim.similarity.scores import ScoreMatrix
    from deepssim.similarity.tiles import all_scores

    scores = all_scores(EmbeddingComparison(real, synthetic, threads=threads))
    return ScoreMatrix(real.keys, synthetic.keys, MetricName.DEEPSSIM.value, scores)
