"""The audit's protocol is frozen: a row that changes needs a new version."""

import json
import shutil

import numpy as np
import pytest

from deepssim.config.audit import AuditConfig
from deepssim.config.settings import Config
from deepssim.images.distort import CUSTOM, DISTORTIONS, PROTOCOL, PROTOCOL_COPIES, PROTOCOL_SEED, protocol
from tests.golden.protocol import FILE, TOLERANCE, row, write

GOLDEN = json.loads(FILE.read_text(encoding="utf-8"))


def test_no_row_is_added_left_out_or_moved():
    assert list(DISTORTIONS) == list(GOLDEN["rows"])
    assert (GOLDEN["seed"], GOLDEN["copies"]) == (PROTOCOL_SEED, PROTOCOL_COPIES)


@pytest.mark.parametrize("name", DISTORTIONS)
def test_a_row_does_what_its_version_stands_for(name):
    now, golden = row(name), dict(GOLDEN["rows"][name])
    for measure in ("means", "deviations"):
        np.testing.assert_allclose(now.pop(measure), golden.pop(measure), rtol=0, atol=TOLERANCE, err_msg=measure)
    assert now == golden


def test_the_tolerance_tells_rows_apart():
    rows = [np.array([golden["means"], golden["deviations"]]) for golden in GOLDEN["rows"].values()]
    apart = [np.abs(one - other).max() for number, one in enumerate(rows) for other in rows[:number]]
    same = [("none", "blur 0.1 of 512 px")]  # a blur that narrow changes nothing
    assert sum(difference <= TOLERANCE for difference in apart) == len(same)


def test_an_audit_with_default_settings_follows_the_protocol():
    seed, copies = Config.model_fields["seed"].default, AuditConfig().controls
    assert protocol(seed, copies) == PROTOCOL == "deepssim-audit-v1"
    assert protocol(seed + 1, copies) == protocol(seed, copies - 1) == CUSTOM


def test_a_stored_version_is_never_overwritten(tmp_path):
    file = tmp_path / FILE.name
    write(file)
    assert json.loads(file.read_text(encoding="utf-8"))["rows"].keys() == GOLDEN["rows"].keys()
    shutil.copy(FILE, file)
    with pytest.raises(SystemExit, match="new name"):
        write(file)
