"""The choices that settings have, one enumeration each; the schema, checks and branches read them.

Not here: the settings (config.py).
"""

from enum import StrEnum


class DatasetKind(StrEnum):
    """Where the real images come from."""

    VIRTUAL_PATIENTS = "virtual_patients"
    FOLDER = "folder"
    TABLE = "table"
    VOLUMES = "volumes"


class Axis(StrEnum):
    """The plane in which volumes are sliced."""

    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    AXIAL = "axial"


class Contrast(StrEnum):
    """Tissue contrast of a virtual patient's scan."""

    T1 = "t1"
    T2 = "t2"


class Device(StrEnum):
    """Where networks run; `auto` takes a GPU if there is one."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Keep(StrEnum):
    """Which checkpoint of a training run becomes its result."""

    BEST = "best"
    LAST = "last"


class Decay(StrEnum):
    """How the learning rate changes during training: `cosine` rises for some steps, then falls to zero."""

    CONSTANT = "constant"
    COSINE = "cosine"


class Perceptual(StrEnum):
    """What makes reconstructions look alike beyond their grey values.

    `squeeze` is LPIPS with SqueezeNet, as in the paper, and needs torchvision, lpips and their weights; `gradient` compares
    edges at several resolutions and needs nothing.
    """

    NONE = "none"
    GRADIENT = "gradient"
    SQUEEZE = "squeeze"


class Conditioning(StrEnum):
    """What the diffusion model is told about the record that an image is drawn for."""

    NONE = "none"
    VARIABLES = "variables"
    TEXT = "text"


class Duplication(StrEnum):
    """How often a training image occurs in an epoch: once, 1 to 4 times, 1 to 14 times, or `duplication_factor` times."""

    NONE = "none"
    LOW = "low"
    HIGH = "high"
    FIXED = "fixed"


class Sampler(StrEnum):
    """How noise is turned into latents; `pndm` needs fewer steps than `ddim` for the same image."""

    DDIM = "ddim"
    PNDM = "pndm"


class Intensity(StrEnum):
    """How decoded values become grey levels: each image's own minimum and maximum, or 0 to 1 for all."""

    PER_IMAGE = "per_image"
    FIXED = "fixed"


class WandbMode(StrEnum):
    """Whether Weights & Biases sends what it records while a training runs."""

    OFFLINE = "offline"
    ONLINE = "online"


class Recipe(StrEnum):
    """How the DeepSSIM encoder is trained.

    `paper` takes each pair of the table with its SSIM. `all_pairs` draws families (a real image, its neighbours, copies of
    it, variations of all of them) and computes the exact SSIM of every image of a batch with every other: far more targets
    per step, over the whole range, and of anatomies that the table does not hold.
    """

    ALL_PAIRS = "all_pairs"
    PAPER = "paper"


class Distortion(StrEnum):
    """What can happen to an image on its way; images/augment.py says what the strength of each means."""

    FLIP = "flip"
    ROTATION = "rotation"
    TRANSLATION = "translation"
    SCALE = "scale"
    CROP = "crop"
    GAMMA = "gamma"
    BIAS_FIELD = "bias_field"
    BLUR = "blur"
    NOISE = "noise"
    JPEG = "jpeg"


class Registration(StrEnum):
    """How candidates are brought onto each other, after trying all flips; all but `shift` need SimpleITK."""

    SHIFT = "shift"
    RIGID = "rigid"
    AFFINE = "affine"


class Precision(StrEnum):
    """In what numbers networks compute; `auto` takes bfloat16 where the hardware computes it (for training: a GPU)."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Layout(StrEnum):
    """How the scores of a metric are kept: all of them, or the best of each image and the labelled pairs."""

    AUTO = "auto"
    DENSE = "dense"
    TOP_K = "top_k"


class FsimVariant(StrEnum):
    """What FSIM takes for phase congruency.

    `simplified` is what the reference code of arXiv:2509.16582 does: the gradient magnitude, divided by its maximum.
    """

    PHASE_CONGRUENCY = "phase_congruency"
    SIMPLIFIED = "simplified"


class MetricName(StrEnum):
    """Similarity scores; the four first compare embeddings, the last two pixels."""

    DEEPSSIM = "deepssim"
    CHEN = "chen"
    DAR = "dar"
    SEMDEDUP = "semdedup"
    SSIM = "ssim"
    FSIM = "fsim"
