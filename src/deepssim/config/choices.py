"""The choices that settings have, one enumeration each; schema, checks and branches read them.

Not here: the settings themselves, whose descriptions say what each choice does.
"""

from enum import StrEnum


class DatasetKind(StrEnum):
    """Where the real images come from."""

    VIRTUAL_PATIENTS = "virtual_patients"
    FOLDER = "folder"
    TABLE = "table"
    VOLUMES = "volumes"


class Axis(StrEnum):
    """Orientation of the slices that are taken from volumes; `all` takes slices along all three axes."""

    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    AXIAL = "axial"
    ALL = "all"


class Orientation(StrEnum):
    """How images lie in memory: rows from top to bottom as files show them, or rows and columns exchanged.

    MONAI's loader gives pictures as [width, height], so networks that were trained with it know `transposed` images only.
    """

    UPRIGHT = "upright"
    TRANSPOSED = "transposed"


class FourthAxis(StrEnum):
    """Which volumes of a 4D file are used: all, the first, the middle one, or their mean."""

    ALL = "all"
    FIRST = "first"
    MIDDLE = "middle"
    MEAN = "mean"


class DicomWindow(StrEnum):
    """Intensity window of DICOM images: percentiles of the image, or the window or table that its file stores."""

    PERCENTILES = "percentiles"
    STORED = "stored"


class Contrast(StrEnum):
    """Tissue contrast of a virtual patient's scan: T1- or T2-weighted."""

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
    """Schedule of the learning rate; `cosine` warms up for some steps, then decays to zero."""

    CONSTANT = "constant"
    COSINE = "cosine"


class Perceptual(StrEnum):
    """Perceptual term of the autoencoder's loss.

    `squeeze` is LPIPS with SqueezeNet, as in the paper, and needs torchvision, lpips and their weights; `gradient`
    compares edges at several resolutions and needs no other package.
    """

    NONE = "none"
    GRADIENT = "gradient"
    SQUEEZE = "squeeze"


class Conditioning(StrEnum):
    """What the diffusion model is conditioned on: nothing, covariates or the embedding of a caption."""

    NONE = "none"
    VARIABLES = "variables"
    TEXT = "text"


class Duplication(StrEnum):
    """How often a training image occurs in a pass: once, 1 to 4 times, 1 to 14 times or `duplication_factor` times."""

    NONE = "none"
    LOW = "low"
    HIGH = "high"
    FIXED = "fixed"


class Sampler(StrEnum):
    """Solver that denoises latents: DDIM, as in the paper, PNDM or DPM-Solver++.

    On the demo, `dpm_solver` with 20 steps is closer to the result of 500 steps than `ddim` with 50, and `pndm` is less
    accurate than `ddim` with equally many steps. `dpm_solver` needs the package diffusers.
    """

    DDIM = "ddim"
    PNDM = "pndm"
    DPM_SOLVER = "dpm_solver"


class Intensity(StrEnum):
    """Range of decoded values that is mapped to black and white: each image's own, or 0 to 1 for all images."""

    PER_IMAGE = "per_image"
    FIXED = "fixed"


class WandbMode(StrEnum):
    """Whether Weights & Biases uploads its log while a training runs."""

    OFFLINE = "offline"
    ONLINE = "online"


class Recipe(StrEnum):
    """How the DeepSSIM encoder is trained.

    `paper` learns the SSIM of the sampled pairs. `all_pairs` composes batches of families (a real image, its
    neighbours, copies of it, variations of all of them) and computes the exact SSIM of all pairs in a batch: far more
    targets per step, which cover the whole range, also for images that no sampled pair contains.
    """

    ALL_PAIRS = "all_pairs"
    PAPER = "paper"


class Distortion(StrEnum):
    """Kind of random distortion; `DistortionConfig` says what its strength means."""

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


class Precision(StrEnum):
    """Number format in which networks compute; `auto` takes bfloat16 where the hardware is faster with it."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Release(StrEnum):
    """What others get of a generator: its images, its weights, or an interface that makes images on request."""

    IMAGES = "images"
    WEIGHTS = "weights"
    INTERFACE = "interface"


class Layout(StrEnum):
    """Which scores of a metric are stored: all, or the highest of each image and those of the labelled pairs."""

    AUTO = "auto"
    DENSE = "dense"
    TOP_K = "top_k"


class FsimVariant(StrEnum):
    """What FSIM computes as its first feature.

    `simplified` reproduces the code of arXiv:2509.16582: the gradient magnitude divided by its maximum, in place of phase
    congruency, and no downsampling.
    """

    PHASE_CONGRUENCY = "phase_congruency"
    SIMPLIFIED = "simplified"


class MetricName(StrEnum):
    """Similarity metrics; the first four compare embeddings, the last two pixels."""

    DEEPSSIM = "deepssim"
    CHEN = "chen"
    DAR = "dar"
    SEMDEDUP = "semdedup"
    SSIM = "ssim"
    FSIM = "fsim"


VOLUME_METRICS = (MetricName.DEEPSSIM, MetricName.SSIM)
"""Metrics that also compare volumes."""


class AuditUnit(StrEnum):
    """What an audit compares and counts: images, or whole volumes; `auto` takes volumes where all files hold some."""

    AUTO = "auto"
    IMAGE = "image"
    VOLUME = "volume"
