"""Memory of an audit: what grows with the number of synthetic images, and the setting that limits it.

Pixels, embeddings and candidates are in the cache and read in batches. Paths, names, hashes and results of every image are held.

Not here: memory of a single file (images/memory.py).
"""

import math

from deepssim.config.audit import AuditConfig
from deepssim.errors import ConfigError

PER_IMAGE = 2000  # bytes at most, with paths of up to 100 characters: `python -m benchmarks.audit_size` measures them
BATCHES = 300_000_000  # bytes of a batch of pixels while its images are decoded, embedded or compared


def require_memory(images: int, options: AuditConfig) -> None:
    """Check that the lists of so many synthetic images fit into `audit.max_memory_gb`.

    Args:
        images: number of synthetic images, or of files as long as they are not read.
        options: section `audit`.

    Raises:
        ConfigError: with the memory that they need.
    """
    needed = (BATCHES + images * PER_IMAGE) / 1e9
    if needed > options.max_memory_gb:
        raise ConfigError(
            f"audit.max_memory_gb {options.max_memory_gb:g} is too little for {images:,} synthetic images, whose lists take "
            f"{PER_IMAGE / 1000:g} kB each; set it to {math.ceil(needed * 100) / 100:g} or more (with --config)"
        )
