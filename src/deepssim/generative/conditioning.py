"""What the diffusion model is told about a record: covariates, or the embedding of a caption.

Not here: the attention that reads it (diffusion.py).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from deepssim.choices import Conditioning
from deepssim.config import LdmConfig
from deepssim.datasets.tables import CAPTION_COLUMN
from deepssim.errors import ConfigError, DataError, readable
from deepssim.storage import read_npz

_MOST_BYTES = 1_000_000  # of a caption's embedding; 512 numbers take 4,096
_LARGE = 10.0  # covariates beyond this drown the others in an attention that is linear in them


def read_conditions(images: pd.DataFrame, options: LdmConfig, source: str | Path) -> np.ndarray | None:
    """Read the condition of every image.

    Args:
        images: image table with the columns that the conditioning needs.
        options: section `ldm`.
        source: name of the table for messages.

    Returns:
        float32 (N, 1, D): one token of D values for each image; None without conditioning.

    Raises:
        ConfigError: if a column is not in the table.
        DataError: if a value is missing, not a number or not finite, or embeddings differ in length.
    """
    if options.conditioning is Conditioning.NONE:
        return None
    if options.conditioning is Conditioning.TEXT:
        values = _captions(images, source)
    else:
        values = _variables(images, options.condition_columns, source)
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(wrong):
        raise DataError(
            f"{source}: the conditions of {len(wrong)} of {len(images)} images are missing or not finite, first that of "
            f"{images['key'].iloc[wrong[0]]!r}; fill them in or remove these images"
        )
    return values[:, None].astype(np.float32)


def _variables(images: pd.DataFrame, columns: Sequence[str], source: str | Path) -> np.ndarray:
    _require_columns(images, columns, source, "ldm.condition_columns")
    values = images[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    large = [
        name for name, column in zip(columns, values.T, strict=True) if np.nanmax(np.abs(column), initial=0) > _LARGE
    ]
    if large:
        raise DataError(
            f"{source}: {len(large)} of {len(columns)} columns of ldm.condition_columns have values beyond {_LARGE:g}, first "
            f"{large[0]!r}; scale them to about 0 to 1, or they drown the others"
        )
    return values


def _captions(images: pd.DataFrame, source: str | Path) -> np.ndarray:
    _require_columns(images, (CAPTION_COLUMN,), source, "ldm.conditioning 'text'")
    rows: list[np.ndarray] = []
    for key, path in zip(images["key"], images[CAPTION_COLUMN], strict=True):
        advice = (
            f"the caption embedding of {key!r} must be an npz whose `data` holds numbers (`deepssim embed-captions`)"
        )
        with readable(path, "npz", advice):  # of numbers
            values = np.asarray(read_npz(path, "data", most_bytes=_MOST_BYTES, advice=advice), np.float64).ravel()
        if rows and len(values) != len(rows[0]):
            raise DataError(
                f"{path}: has {len(values)} numbers, the first caption embedding {len(rows[0])}; make all with one model"
            )
        rows.append(values)
    return np.stack(rows)


def _require_columns(images: pd.DataFrame, columns: Sequence[str], source: str | Path, setting: str) -> None:
    absent = [name for name in columns if name not in images.columns]
    if absent:
        raise ConfigError(
            f"{source}: has no column {absent[0]!r}, which {setting} needs ({len(absent)} of {len(columns)} are missing); "
            f"it has {', '.join(map(str, images.columns))}"
        )


def embed_captions(captions: Sequence[str], model: str, *, batch_size: int = 32) -> np.ndarray:
    """Embed captions with a text model of transformers.

    Args:
        captions: N texts.
        model: folder of the model, or its name on the hub, which then is downloaded.
        batch_size: captions at a time.

    Returns:
        float32 (N, D): the projection that a CLIP model compares with images where there is one, otherwise the mean
        of the last layer over the tokens.

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
