"""What makes an audit of volumes unclear before any score: the sides do not fit each other, or hold the same scans."""

from pathlib import Path

import numpy as np
import pytest

from deepssim.audit.comparability import HIDING, MARGINS, NEGATIVES, PLANES, SQUASHED, different_sides
from deepssim.audit.preflight import constant, duplicates_within
from deepssim.audit.refusals import require_sides_apart
from deepssim.audit.units import IMAGE, SCAN, stand_in
from deepssim.audit.volume_checks import FEW_LEVELS, NO_BACKGROUND, SEVERAL, volume_findings
from deepssim.cli import main
from deepssim.config.choices import AuditUnit
from deepssim.errors import DataError
from deepssim.images.coherence import PLANES_APART
from deepssim.images.folders import Collection, Decoded, collect
from tests.audit.scans import head, make_scans


def collected(volumes, size=(16, 16, 16)) -> Collection:
    paths = [Path(f"/data/{number}.nii") for number in range(len(volumes))]
    decoded = [Decoded(volume[None], [""], [size]) for volume in volumes]
    return collect(Path("/data"), paths, decoded, names=paths, scans=[(path,) for path in paths])


def heads(seed, count=6, side=32):
    return [
        np.rint(head(np.random.default_rng([seed, number]), side) / 4).clip(0, 255).astype(np.uint8)
        for number in range(count)
    ]


def findings(real, synthetic):
    return dict([*different_sides({"real": real, "synthetic": synthetic}), *volume_findings(real, synthetic)])


def test_like_volumes_have_no_finding():
    assert findings(collected(heads(1)), collected(heads(2))) == {}


def test_volumes_that_are_small_within_wide_margins_hide_copies():
    small = [np.pad(volume, 32) for volume in heads(2, side=32)]
    found = findings(collected([np.pad(volume, 1) for volume in heads(1, side=94)]), collected(small))
    assert MARGINS in found
    assert MARGINS in HIDING


def test_one_small_scan_among_many_hides_copies():
    """A few small images are slices at the end of an organ; a whole scan that is small is not."""
    real = [np.pad(volume, 1) for volume in heads(1, side=94)]
    synthetic = [np.pad(volume, 1) for volume in heads(2, 30, side=94)]
    small = np.pad(heads(3, 1, side=32)[0], 32)
    assert MARGINS not in findings(collected(real), collected(synthetic))
    assert "1 of 31 synthetic images show" in findings(collected(real), collected([*synthetic, small]))[MARGINS]


@pytest.mark.parametrize("shape", [(2, 2, 2), (1, 1, 2), (3, 3, 3)])
def test_several_scans_in_one_volume_hide_copies(shape):
    """Two rows, columns and layers of heads have the aspect ratio of one head."""
    tile = heads(2, int(np.prod(shape)), side=16)
    joined = np.zeros((16 * max(shape),) * 3, np.uint8)
    for volume, place in zip(tile, np.ndindex(shape), strict=True):
        joined[tuple(slice(16 * start, 16 * start + 16) for start in place)] = volume
    one = np.pad(heads(3, 1, side=16)[0], (joined.shape[0] - 16) // 2)
    real = [np.pad(volume, 1) for volume in heads(1, side=joined.shape[0] - 2)]
    found = findings(collected(real), collected([joined, real[0]]))
    assert "1 of 2 synthetic images shows several bodies" in found[SEVERAL]
    assert SEVERAL not in findings(collected(real), collected([one, real[0]]))
    assert SEVERAL not in findings(collected([joined, joined]), collected([joined]))  # as legs, or both lungs


def test_a_grey_background_hides_copies():
    grey = heads(2)
    grey[0] = np.where(grey[0] == 0, 70, grey[0]).astype(np.uint8)  # darker than the head, so that it is no negative
    found = findings(collected(heads(1)), collected(grey))
    assert "1 of 6 synthetic images shows no background that is darker" in found[NO_BACKGROUND]
    assert NEGATIVES not in found
    assert NO_BACKGROUND not in findings(collected(grey[:1]), collected(grey[:1]))


@pytest.mark.parametrize("brighter", [5, 30])
def test_a_few_bright_voxels_that_darken_all_others_hide_copies(brighter):
    dark = heads(2)
    dark[0] = (dark[0] / brighter).astype(np.uint8)
    dark[0][14:18, 14:18, 14:22] = 255
    found = findings(collected(heads(1)), collected(dark))
    assert "1 of 6 synthetic images shows most of what is in them in a few grey levels" in found[FEW_LEVELS]
    assert FEW_LEVELS not in findings(collected(dark[:1]), collected(dark[:1]))


def test_other_proportions_and_sizes_are_named():
    found = findings(collected(heads(1), (182, 218, 182)), collected(heads(2), (30, 218, 182)))
    assert "1.20 (6) but synthetic images 7.27 (6)" in found[SQUASHED]
    assert "copies that were squashed" in found[SQUASHED]
    assert (
        findings(collected(heads(1), (182, 218, 182)), collected(heads(2), (218, 182, 182))) == {}
    )  # axes in another order
    assert "sizes differ" in findings(collected(heads(1), (96, 96, 96)), collected(heads(2), (32, 32, 32)))


def test_squashed_volumes_hide_copies():
    """Thick slices of known distance on one side, arrays without any on the other one."""
    thick, arrays = collected(heads(1), (90, 180, 180)), [(30, 180, 180), (90, 180, 180), (110, 180, 180)]
    found = [findings(thick, collected(heads(2), size)) for size in arrays]
    assert SQUASHED in HIDING
    assert [SQUASHED in item for item in found] == [True, False, False]
    assert "aspect ratios differ" in found[2]


def test_an_inverted_side_is_named():
    found = findings(collected(heads(1)), collected([255 - volume for volume in heads(2)]))
    assert "one side may be inverted" in found


def test_single_negatives_among_volumes_hide_copies():
    volumes = heads(2)
    padded = np.zeros_like(volumes[5])
    padded[:, 4:-4, 2:-2] = 255 - volumes[5][:, 4:-4, 2:-2]  # not a cube
    found = findings(collected(heads(1)), collected([*volumes[:4], 255 - volumes[4], padded]))
    assert "2 of 6 synthetic images are brighter at the border than inside" in found[NEGATIVES]
    assert NEGATIVES in HIDING


def test_constant_and_repeated_volumes_are_named():
    volumes = [*heads(1), np.zeros((32, 32, 32), np.uint8)]
    made = collected([*volumes, volumes[0]])
    assert made.constant == ["6.nii"]
    (finding,) = constant({"real": made, "synthetic": made})[:1]
    assert "1 of 8 training images shows nothing but one grey value" in finding.message
    (finding,) = duplicates_within(made.pack.keys, made.pixel_hashes)
    assert finding.items == [("0.nii", "7.nii")]


def test_the_training_set_given_as_holdout_is_refused(tmp_path):
    sides = {"real": collected(heads(1)), "synthetic": collected(heads(2)), "holdout": collected(heads(1))}
    with pytest.raises(DataError, match="all 6 held-out images are training images"):
        require_sides_apart(sides, {name: tmp_path / name for name in sides})


def test_scans_stand_in_for_patients_that_are_not_known():
    paths = [Path("a.nii"), Path("b.nii")]
    assert stand_in([paths], AuditUnit.VOLUME) is SCAN
    assert stand_in([paths], AuditUnit.IMAGE) is IMAGE
    assert stand_in([[paths[0]] * 2], AuditUnit.VOLUME).many == "files"  # volumes of one file may be of one patient


def test_the_same_scans_on_both_sides_are_refused(tmp_path, capsys):
    root = make_scans(tmp_path, people=2, others=1)
    for path in (root / "real").iterdir():
        (root / "same").mkdir(exist_ok=True)
        (root / "same" / f"x{path.name}").write_bytes(path.read_bytes())
    command = ["audit", str(root / "real"), str(root / "same"), "--out", str(root / "out"), "--unit", "volume"]
    with pytest.raises(SystemExit):
        main(command)
    assert "holds the same files as" in capsys.readouterr().err


def test_planes_of_different_volumes_hide_copies():
    real, synthetic = collected(heads(1)), collected(heads(2))
    synthetic.stored["notice"] = {PLANES_APART: 1}
    assert PLANES in HIDING
    assert findings(real, synthetic)[PLANES].startswith(
        "1 file of synthetic images has volumes whose neighbouring planes"
    )
    real.stored["notice"] = {PLANES_APART: 1}
    assert findings(real, synthetic) == {}
