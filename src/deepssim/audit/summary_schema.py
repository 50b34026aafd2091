"""The published form of an audit's summary.json: typed models, from which its JSON schema is written.

The version rises with every change by which a reader of earlier summaries could fail or be misled; new entries alone also
raise it, since no further entries are allowed.

Not here: entries beside the verdict (further_schema.py), other seeds and readers (opinions_schema.py), what the entries are
computed from (tables.py), the schema of config files (config/schema.py).
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from deepssim.audit.criteria import Status
from deepssim.audit.further_schema import Count, Digest, Entry, FurtherEntry, IntervalEntry, Number, Rate
from deepssim.audit.opinions_schema import ReadersEntry, StabilityEntry
from deepssim.audit.wording import HoldoutUse
from deepssim.config.choices import Release
from deepssim.evaluation.verdict import Verdict

SCHEMA_VERSION = 2


class DataSetEntry(Entry):
    """A folder of images; names are null where the report is de-identified."""

    name: str | None
    folder: str | None
    files: Count
    """with images"""
    sha256: Digest
    """of their sorted checksums, whatever they are called"""


class IdentityEntry(Entry):
    """Which audit this is."""

    date: str
    """UTC; nothing else differs when an audit is repeated"""
    auditor: str | None
    program: str
    settings_sha256: Digest
    data: dict[Literal["real", "synthetic", "holdout"], DataSetEntry]


class VerdictEntry(Entry):
    """The verdict."""

    result: Verdict
    sentence: str
    reservations: list[str]
    probability_by_chance: Rate
    """of at least so many candidates; null without negative controls"""
    controls_found: Rate
    """fraction of the changed positive controls that are found"""
    doubtful: Count
    """further images above the limit that would be set without images that may show a training image's scan"""


class CopiesPerImage(Entry):
    """Synthetic copies of each copied training image."""

    mean: IntervalEntry
    most: Count
    histogram: dict[str, Count]


class FiguresEntry(Entry):
    """Rates of copies."""

    flagged_share: IntervalEntry
    """synthetic images above the limit"""
    synthetic_that_copy: IntervalEntry
    """N_copies: the same without false alarms"""
    with_missed: IntervalEntry
    """the same with missed copies added"""
    training_copied: IntervalEntry
    """N_mem: training images that are copied"""
    subjects_copied: IntervalEntry | None
    """null where patients are not known"""
    identical: Count
    copies_per_image: CopiesPerImage
    confirmed: Count
    partial: Count
    score_confirms_above: Number
    """null where too few subjects allow no such limit"""


class RuleEntry(Entry):
    """When an image is called a copy."""

    score_above: Number
    false_alarms_promised: Rate
    calibrated_on: str
    images: Count
    subjects: Count
    """that set the limit, counted by `counted`"""
    counted: str
    """what counts once: patients, or images or files where patients are not known"""
    holdout: HoldoutUse


class ScoreEntry(Entry):
    """How evidence is combined; one value for each cue."""

    names: list[str]
    medians: list[float]
    scales: list[float]
    weights: list[float]
    learned_from: tuple[Count, Count]
    """unrelated images, copies"""


class PositiveControl(Entry):
    """Copies that went through one change."""

    distortion: str
    found: IntervalEntry
    traced: IntervalEntry
    retrieved: IntervalEntry
    median_score: Number


class NegativeControls(Entry):
    """Images that cannot be copies."""

    what: str
    false_alarms: IntervalEntry


class ControlsEntry(Entry):
    """Controls of the audit."""

    protocol: str
    negative: NegativeControls
    positive: list[PositiveControl]


class AttackEntry(Entry):
    """Membership inference from the synthetic images."""

    auroc: IntervalEntry
    tpr_at_fpr: IntervalEntry
    fpr: float


class ClosestRecord(Entry):
    """Synthetic images closer to a training than to a held-out image."""

    share: IntervalEntry
    expected: Rate


class DataCopying(Entry):
    """Test of Meehan et al. 2020."""

    z: Number
    cells: Count


class Ratios(Entry):
    """Nearest-neighbour distance ratios."""

    median: Number
    lowest_5_percent: Number


class NearestTwo(Entry):
    """The same of both kinds of images."""

    synthetic: Ratios
    holdout: Ratios


class WholeSet(Entry):
    """Tests on the whole set of images."""

    membership_inference: AttackEntry
    closest_record: ClosestRecord
    data_copying: DataCopying
    nearest_two: NearestTwo


class Nothing(Entry):
    """Empty: not asked for, or not possible without a holdout."""


class FindingEntry(Entry):
    """Something that is wrong with the data."""

    kind: str
    message: str
    items: list[list[str]]
    qualifies: bool
    """whether it is a reservation of the verdict"""
    hides: bool
    """whether copies can go unseen because of it, so that nothing can be cleared"""


class SubjectEntry(Entry):
    """A training subject who is copied."""

    subject: str
    images: Count
    images_copied: Count
    copies: Count
    best_score: Number
    best_image: str


class ContextEntry(Entry):
    """What the user stated; null where it was not."""

    auditor: str | None
    date: str | None
    purpose: str | None
    release: list[Release] | None
    generator: str | None
    parameters: Count | None
    data_set: str | None
    training_images: Count | None
    epochs: Count | None
    attacker: str | None
    parameters_per_training_image: Number
    missing: list[str]


class CriterionEntry(Entry):
    """A question of a data-protection authority, and what this audit says to it."""

    name: str
    source: str
    question: str
    status: Status
    answer: str
    limits: str


class FileCount(Entry):
    """Files of one kind."""

    status: str
    reason: str
    count: Count


class SideEntry(BaseModel):
    """One folder of images; `used` and `subjects` where they are known."""

    model_config = ConfigDict(extra="forbid")

    files: list[FileCount]
    images: Count
    sizes: dict[str, Count]
    constant_and_not_judged: list[str]
    images_left_out: dict[str, Count]
    stored: dict[str, dict[str, Count]]
    subjects: Count | None = None
    used: Count | None = None


class DataEntry(Entry):
    """The folders."""

    real: SideEntry
    synthetic: SideEntry
    holdout: SideEntry | None = None
    unit: Literal["image", "volume"]
    """what is compared and counted: every entry named after images then counts volumes"""
    compared_at: Count
    """pixels or voxels along each side"""


class EncoderEntry(Entry):
    """What images were compared by, and seconds."""

    source: str
    sha256: Literal[""] | Digest
    training_seconds: Number


class AuditSummary(Entry):
    """summary.json of an audit. Numbers are null where they are not known, with the reason beside them."""

    schema_version: Literal[2]
    identity: IdentityEntry
    verdict: VerdictEntry
    figures: FiguresEntry
    rule: RuleEntry
    score: ScoreEntry
    controls: ControlsEntry
    membership: WholeSet | Nothing
    further: FurtherEntry
    context: ContextEntry
    stability: StabilityEntry | Nothing
    """empty for one seed"""
    readers: ReadersEntry | Nothing
    tests: list[CriterionEntry]
    preflight: list[FindingEntry]
    subjects: list[SubjectEntry]
    data: DataEntry
    encoder: EncoderEntry
    settings: dict[str, Any]
    """settings of the audit, see config.schema.yaml"""
    settings_sha256: Digest
    images_sha256: Digest
    versions: dict[str, str]


def summary_schema() -> dict[str, Any]:
    """Return the JSON schema of summary.json; it allows no unknown entry."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **AuditSummary.model_json_schema()}
