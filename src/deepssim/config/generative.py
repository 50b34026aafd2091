"""Settings of the generative model: autoencoder, diffusion model, sampling."""

from collections.abc import Iterable, Iterator

from pydantic import Field

from deepssim.config.base import Count, Distinct, Section
from deepssim.config.choices import Conditioning, Duplication, Intensity, Keep, Perceptual, Sampler
from deepssim.config.training import BatchSize, Epochs, LearningRate, Passes, TrainingConfig


class VaeConfig(TrainingConfig):
    """Section `vae`: the autoencoder, which maps images to latents and back."""

    channels: tuple[Count, ...] = Field(
        (16, 16, 32, 64),
        min_length=1,
        description="channels per level; each level after the first halves the resolution",
    )
    latent_channels: int = Field(8, ge=1, description="channels of the latents")
    residual_blocks: int = Field(1, ge=1, description="residual blocks per level")
    norm_groups: int = Field(8, ge=1, description="groups of the group normalisation; must divide all channels")
    kl_weight: float = Field(1e-6, ge=0, description="weight of the Kullback-Leibler divergence in the loss")
    perceptual: Perceptual = Field(
        Perceptual.NONE,
        description="""\
Term of the loss that keeps reconstructions sharp, in addition to the mean absolute difference:
- none: no additional term
- gradient: difference of edges at three resolutions; needs no other package
- squeeze: LPIPS with SqueezeNet, as in the paper; needs torchvision, lpips and their weights
Of volumes, all slices along all three axes are compared.""",
    )
    perceptual_weight: float = Field(0.1, ge=0, description="weight of the perceptual term")
    adversarial_weight: float = Field(
        0.0, ge=0, description="weight of the loss from a patch discriminator; 0 for none; 0.125 in the paper"
    )
    discriminator_channels: int = Field(32, ge=1, description="channels of the discriminator's first layer")
    discriminator_layers: int = Field(3, ge=1, description="layers of the discriminator")
    pictures_every: int = Field(
        5, ge=1, description="epochs between pictures of reconstructions, in the state folder and TensorBoard"
    )
    epochs: Epochs = 10
    passes: Passes = 16
    batch_size: BatchSize = 4
    learning_rate: LearningRate = 2e-3

    def multiply_adds(self, pixels: int, spatial_dims: int = 2) -> float:
        """Return about how many multiplications with additions the convolutions of one batch take in the forward pass.

        Args:
            pixels: pixels of an image, or voxels of a volume.
            spatial_dims: 2 or 3.
        """
        sizes = [pixels / 2 ** (spatial_dims * level) for level in range(len(self.channels))]
        kernel = 3**spatial_dims
        # Convolutions: two per block of encoder and decoder, one between levels.
        blocks = kernel * (4 * self.residual_blocks + 1)
        inside = sum(blocks * width**2 * size for width, size in zip(self.channels, sizes, strict=True))
        upwards = sum(kernel * width**2 * size for width, size in zip(self.channels[1:], sizes[:-1], strict=True))
        return self.batch_size * (inside + upwards)

    def contradictions(self) -> Iterator[str]:
        """Yield a sentence for each group of settings that do not fit each other."""
        yield from _undivided("vae", self.channels, self.norm_groups)

    def refusals(self, size: tuple[int, ...]) -> Iterator[str]:
        """Yield a sentence for each reason why the networks do not take images of some size.

        Args:
            size: height and width in pixels, or slices, height and width.
        """
        image = f"{'images' if len(size) == 2 else 'volumes'} of {'x'.join(map(str, size))}"
        factor = 2 ** (len(self.channels) - 1)
        if any(side % factor for side in size):
            yield (
                f"{image} cannot be halved {len(self.channels) - 1} times by the autoencoder; set dataset.image_size to "
                f"multiples of {factor} or give vae.channels fewer entries"
            )
        # Every layer of the discriminator halves the image, and each of the last two convolutions removes one pixel.
        minimum = 3 * 2**self.discriminator_layers
        if self.adversarial_weight and min(size) < minimum:
            yield (
                f"{image} are too small for a discriminator of {self.discriminator_layers} layers, which needs "
                f"{'x'.join([str(minimum)] * len(size))}; lower vae.discriminator_layers or set vae.adversarial_weight to 0"
            )


class MemorizationConfig(Section):
    """Section `ldm.memorization`: copies are counted while the diffusion model trains."""

    every: int = Field(2, ge=0, description="epochs between counts, a multiple of ldm.validate_every; 0 for no counts")
    images: int = Field(48, ge=1, description="images generated for each count, always from the same noise")
    stop_above: float | None = Field(
        None, ge=0, le=1, description="fraction of copies (0 to 1) above which training stops; null: never"
    )


class LdmConfig(TrainingConfig):
    """Section `ldm`: the diffusion model of the latents."""

    channels: tuple[Count, ...] = Field((48, 96), min_length=1, description="channels per level of the U-Net")
    attention_levels: tuple[bool, ...] = Field(
        (False, True), min_length=1, description="whether each level has self-attention"
    )
    head_channels: int = Field(
        96, ge=1, description="channels per attention head; a level with fewer channels has a single head"
    )
    residual_blocks: int = Field(1, ge=1, description="residual blocks per level")
    norm_groups: int = Field(16, ge=1, description="groups of the group normalisation; must divide all channels")
    timesteps: int = Field(1000, ge=2, description="steps of the noise schedule")
    beta_start: float = Field(0.0015, gt=0, lt=1, description="noise variance added in the first step")
    beta_end: float = Field(0.0205, gt=0, lt=1, description="noise variance added in the last step; above beta_start")
    epochs: Epochs = 10
    passes: Passes = 200
    batch_size: BatchSize = 24
    learning_rate: LearningRate = 2e-3
    keep: Keep = Field(
        Keep.LAST,
        description="Checkpoint that becomes the result: last, or best (lowest validation loss), which has memorized "
        "least.",
    )
    scale_latents: bool = Field(
        True, description="scale latents to a standard deviation of 1; the paper's code does not"
    )
    ema_decay: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="decay of a moving average of weights that becomes the result (0.999); 0 for none",
    )
    conditioning: Conditioning = Field(
        Conditioning.NONE,
        description="""\
What the model is conditioned on:
- none: nothing
- variables: columns of the image table, see condition_columns
- text: embeddings of captions, in the npz files that column caption_emb_path of the image table names; they are made \
by `deepssim embed-captions`""",
    )
    condition_columns: Distinct[str] = Field(
        ("age_norm", "sex_norm", "sequence_norm", "csf_perc", "wm_perc", "gm_perc"),  # those of arXiv:2509.16582
        min_length=1,
        description="Columns for `conditioning: variables`: numbers from about 0 to 1.",
    )
    condition_dropout: float = Field(
        0.0, ge=0, lt=1, description="fraction of training images without their condition; guidance needs about 0.1"
    )
    duplication: Duplication = Field(
        Duplication.NONE,
        description="How often each training image occurs in a pass over the data, to provoke memorization: none "
        "(once), low (1 to 4 times, drawn for each image), high (1 to 14 times) or fixed (duplication_factor times).",
    )
    duplication_factor: int = Field(1, ge=1, description="occurrences of each training image with `duplication: fixed`")
    memorization: MemorizationConfig = Field(
        default_factory=MemorizationConfig, description="copies of training images are counted while the model trains"
    )

    def heads_at(self, level: int) -> int:
        """Return the channels per attention head at a level: `head_channels`, or all channels where there are fewer."""
        return min(self.head_channels, self.channels[level])

    def multiply_adds(self, pixels: float, spatial_dims: int = 2) -> float:
        """Return about how many multiplications with additions the convolutions of one batch take in the forward pass.

        Args:
            pixels: height times width of the latents; times depth, of volumes.
            spatial_dims: 2 or 3.
        """
        sizes = [pixels / 2 ** (spatial_dims * level) for level in range(len(self.channels))]
        kernel = 3**spatial_dims
        # Convolutions per level: two per block downwards, three per block upwards, which takes the skip connection, and
        # four that change the resolution; four more in the middle
        blocks = kernel * (2 * self.residual_blocks + 3 * (self.residual_blocks + 1) + 4)
        inside = sum(blocks * width**2 * size for width, size in zip(self.channels, sizes, strict=True))
        return self.batch_size * (inside + 4 * kernel * self.channels[-1] ** 2 * sizes[-1])

    def contradictions(self) -> Iterator[str]:
        """Yield a sentence for each group of settings that do not fit each other."""
        yield from self._contradictions_of_network()
        if self.memorization.every % self.validate_every:
            yield (
                f"ldm.memorization.every {self.memorization.every} is not a multiple of ldm.validate_every "
                f"{self.validate_every}; copies are counted after validations"
            )
        if self.duplication_factor != 1 and self.duplication is not Duplication.FIXED:
            yield (
                f"ldm.duplication_factor is {self.duplication_factor}, but ldm.duplication is "
                f"{self.duplication.value!r}; set it to 'fixed'"
            )
        if self.condition_dropout and self.conditioning is Conditioning.NONE:
            yield (
                f"ldm.condition_dropout is {self.condition_dropout}, but ldm.conditioning is 'none'; there is no "
                "condition to leave out, so set it to 0"
            )
        if self.beta_start >= self.beta_end:
            yield f"ldm.beta_start {self.beta_start} must be below ldm.beta_end {self.beta_end}"

    def _contradictions_of_network(self) -> Iterator[str]:
        yield from _undivided("ldm", self.channels, self.norm_groups)
        if len(self.attention_levels) != len(self.channels):
            yield (
                f"ldm.attention_levels has {len(self.attention_levels)} entries and ldm.channels {len(self.channels)}; "
                "give one per level"
            )
        for level, (channels, attention) in enumerate(zip(self.channels, self.attention_levels, strict=False)):
            if attention and channels % self.heads_at(level):
                yield f"ldm.head_channels {self.head_channels} does not divide the {channels} channels of level {level}"


class SynthesisConfig(Section):
    """Section `synthesis`: sampling from the trained model."""

    images_per_record: int = Field(16, ge=1, description="images generated for each training image")
    sampler: Sampler = Field(
        Sampler.DDIM,
        description="Solver: ddim, as in the paper; pndm; or dpm_solver, which was as accurate with 20 steps as ddim with "
        "50 on the demo, and needs `pip install 'deepssim[dpm]'`.",
    )
    sampler_steps: int = Field(
        50,
        ge=4,
        description="Denoising steps per image. With ddim and pndm it should divide ldm.timesteps: other numbers start at a "
        "lower noise level. Use at least 15 with dpm_solver.",
    )
    guidance_scale: float = Field(
        1.0,
        ge=0,
        description="Strength of classifier-free guidance: 1 turns it off, higher values follow the condition more "
        "closely. Needs a model trained with ldm.condition_dropout.",
    )
    intensity: Intensity = Field(
        Intensity.PER_IMAGE,
        description="Values that become black and white: per_image (the minimum and maximum of each image) or fixed "
        "(0 and 1).",
    )
    batch_size: int = Field(
        64, ge=1, description="images generated at a time; another size can move a few pixels by one grey level"
    )


def _undivided(section: str, channels: Iterable[int], groups: int) -> Iterator[str]:
    width = next((width for width in channels if width % groups), None)
    if width is not None:
        yield f"{section}.norm_groups {groups} does not divide the entry {width} of {section}.channels"
