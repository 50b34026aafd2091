"""Embed captions with a text model of the library transformers, for a diffusion model conditioned on text.

Not here: reading these embeddings (conditioning.py).
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from deepssim.datasets.tables import CAPTION_COLUMN, locate_files, read_csv, write_csv
from deepssim.errors import DataError
from deepssim.images.keys import checked_uid
from deepssim.runtime.outputs import atomic_outputs

logger = logging.getLogger(__name__)


def embed_captions(captions: Sequence[str], model: str, *, batch_size: int = 32) -> np.ndarray:
    """Embed captions with a text model of transformers.

    Args:
        captions: N texts.
        model: folder of the model, or its name on the Hugging Face hub, from which it is downloaded.
        batch_size: captions at a time.

    Returns:
        float32 (N, D): the projected text features of a CLIP model; of other models, the mean of the last layer over the
        tokens.

    Raises:
        DataError: if the model cannot be loaded.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    local = Path(model).is_dir()
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=local)
        network = AutoModel.from_pretrained(model, local_files_only=local).eval()
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{model}: cannot be loaded as a text model of transformers ({' '.join(str(error).split())[:200]}); name a folder "
            "with config.json, weights and tokenizer, or a model on the hub"
        ) from None
    parts = []
    with torch.inference_mode():
        for start in tqdm(range(0, len(captions), batch_size), desc="embedding captions", disable=None):
            tokens = tokenizer(
                list(captions[start : start + batch_size]), padding=True, truncation=True, return_tensors="pt"
            )
            if hasattr(network, "get_text_features"):
                found = network.get_text_features(**tokens)
                embedded = getattr(found, "pooler_output", found)
            else:
                mask = tokens["attention_mask"][..., None].float()
                embedded = (network(**tokens).last_hidden_state * mask).sum(1) / mask.sum(1)
            parts.append(embedded.float().numpy())
    return np.concatenate(parts)


def embed_caption_table(*, dataset_csv: str, caption_column: str, model: str, output_dir: str) -> None:
    """Embed a column of captions; write an npz file per record and a table that names them.

    Args:
        dataset_csv: CSV with `image_uid` and the captions.
        caption_column: column of the captions.
        model: see `embed_captions`.
        output_dir: folder for `captions/<image_uid>.npz` and `dataset.csv`.

    Raises:
        DataError: if a column is missing, an `image_uid` cannot name a file or the model cannot be loaded.
    """
    table = read_csv(dataset_csv, needs=("image_uid", caption_column))
    names = [f"{checked_uid(str(uid))}.npz" for uid in table["image_uid"]]
    values = embed_captions(table[caption_column].astype(str).tolist(), model)
    place = Path(output_dir)
    with atomic_outputs({"captions": place / "captions"}) as files:
        Path(files["captions"]).mkdir()
        for name, row in zip(names, values, strict=True):
            np.savez(Path(files["captions"], name), data=row)
    table[CAPTION_COLUMN] = [str(Path("captions", name)) for name in names]
    if "image_path" in table:  # the new table lies in another folder
        found = locate_files(table["image_path"].map(str).tolist(), Path(dataset_csv), required=False)
        table["image_path"] = [str(path.resolve()) for path in found]
    write_csv(place / "dataset.csv", table)
    logger.info("embedded %d captions in %d dimensions; use %s", len(values), values.shape[1], place / "dataset.csv")
