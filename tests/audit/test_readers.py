"""What readers say of pairs: hand calculations, and files that are not ratings of this audit."""

import numpy as np
import pytest

from deepssim.audit.leakage import Copies
from deepssim.audit.rating_page import rating_table
from deepssim.audit.rating_sample import RatingSample, Stratum, draw_pairs
from deepssim.audit.readers import compare_readers, require_ratings, require_unrated
from deepssim.audit.second_opinions import SecondOpinions
from deepssim.audit.sides import Side
from deepssim.datasets.tables import write_csv
from deepssim.errors import DataError
from deepssim.evaluation.verdict import Verdict
from deepssim.images.packs import ImagePack
from deepssim.similarity.embeddings import Embeddings

STRATA = [Stratum.ABOVE] * 10 + [Stratum.NEAR] * 10 + [Stratum.FAR] * 10
#         above: 8 same, 2 different; near: 2 same, 6 different, 2 unsure; far: 10 different
MARKS = ["same"] * 8 + ["different"] * 2 + ["same"] * 2 + ["different"] * 6 + ["unsure"] * 2 + ["different"] * 10


@pytest.fixture
def sample():
    rows = np.arange(30)
    return RatingSample(
        rows, rows, STRATA, dict(zip(Stratum, (10, 40, 200), strict=True)), [f"pair-{row}" for row in rows],
        [str(row) for row in rows], "audit-1",
    )  # fmt: skip


def rated(path, sample, marks):
    table = rating_table(sample)
    table["rating"] = marks
    write_csv(path, table)
    return str(path)


def compare(sample, *paths):
    return compare_readers(sample, paths, [f"Reader {number}" for number, _ in enumerate(paths, 1)], 0.95)


def test_figures_of_a_reader_match_hand_calculation(tmp_path, sample):
    found = compare(sample, rated(tmp_path / "a.csv", sample, MARKS))
    reader = found["readers"][0]
    assert reader["rated"] == 30
    assert reader["strata"][1] == {
        "stratum": "just below the limit", "pairs": 40, "drawn": 10, "same": 2, "different": 6, "unsure": 2, "not_rated": 0,
    }  # fmt: skip
    assert (reader["sensitivity"].count, reader["sensitivity"].total) == (8, 10)
    assert (reader["specificity"].count, reader["specificity"].total) == (16, 18)
    # 28 pairs: 24 alike; audit 10 above, reader 10 same: by chance (10 * 10 + 18 * 18) / 28^2.
    chance = (10 * 10 + 18 * 18) / 28**2
    assert reader["kappa"].value == pytest.approx((24 / 28 - chance) / (1 - chance))
    assert reader["kappa"].low < reader["kappa"].value < reader["kappa"].high
    assert reader["kappa"].total == 28
    assert reader["if_unsure_is"]["same"]["sensitivity"] == pytest.approx(8 / 12)
    assert reader["if_unsure_is"]["same"]["specificity"] == pytest.approx(16 / 18)
    assert reader["if_unsure_is"]["different"]["sensitivity"] == pytest.approx(8 / 10)
    assert reader["if_unsure_is"]["different"]["specificity"] == pytest.approx(18 / 20)
    assert reader["of_all_pairs"] is None  # not every pair of the sample was decided
    assert (found["missed"], found["below_rated"], found["between"]) == (2, 20, [])


def test_the_estimate_for_all_pairs_weights_the_strata(tmp_path, sample):
    marks = ["different" if mark == "unsure" else mark for mark in MARKS]
    found = compare(sample, rated(tmp_path / "a.csv", sample, marks))["readers"][0]["of_all_pairs"]
    # Same: 8 above, 40 * 2/10 just below, none of 200 far below. Different: 2 above, 32 and 200 below.
    assert found["sensitivity"].value == pytest.approx(8 / 16)
    assert found["specificity"].value == pytest.approx(232 / 234)
    assert 0 < found["sensitivity"].low < 0.2  # up to a third of the 200 could be copies, as far as 10 pairs tell
    assert found["sensitivity"].low < 0.5 < found["sensitivity"].high < 1
    assert found["specificity"].low < 232 / 234 < found["specificity"].high < 1


def test_only_what_was_rated_is_counted(tmp_path, sample):
    marks = ["Same "] * 5 + [""] * 15 + ["DIFFERENT"] * 5 + [""] * 5
    found = compare(sample, rated(tmp_path / "a.csv", sample, marks))
    reader = found["readers"][0]
    assert reader["rated"] == 10
    assert (reader["sensitivity"].count, reader["sensitivity"].total) == (5, 5)
    assert (reader["specificity"].count, reader["specificity"].total) == (5, 5)
    assert (found["missed"], found["below_rated"]) == (0, 5)
    assert reader["strata"][1]["not_rated"] == 10


def test_two_readers_are_compared_where_both_are_sure(tmp_path, sample):
    other = ["same"] * 10 + ["different"] * 18 + ["", ""]
    found = compare(sample, rated(tmp_path / "a.csv", sample, MARKS), rated(tmp_path / "b.csv", sample, other))
    two = found["between"][0]
    assert two["readers"] == ["Reader 1", "Reader 2"]
    assert (two["rated_by_both"], two["unsure"]) == (28, 2)
    assert (two["agreement"].count, two["agreement"].total) == (22, 26)  # 2 above and 2 just below differ
    chance = (10 * 10 + 16 * 16) / 26**2
    assert two["kappa"].value == pytest.approx((22 / 26 - chance) / (1 - chance))


def test_readers_never_clear_and_can_contradict():
    seen = SecondOpinions(readers={"missed": 2, "below_rated": 20})
    assert seen.verdict(Verdict.NONE) is seen.verdict(Verdict.CANDIDATES) is Verdict.CANNOT_TELL
    assert seen.opening().startswith("Readers call 2 pairs below the limit the same image")
    assert [finding.qualifies for finding in seen.findings()] == [True]
    nothing = SecondOpinions(readers={"missed": 0, "below_rated": 20})
    for verdict in Verdict:
        assert nothing.verdict(verdict) is verdict
        assert seen.verdict(verdict) is not Verdict.NONE
    assert nothing.opening() == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.assign(audit="audit-2"), "the ratings are of audit-2, and this is audit-1"),
        (lambda table: table.assign(pair=table["pair"] + "x"), "30 of 30 rated pairs are not pairs of this audit, first"),
        (lambda table: table.assign(rating=["maybe", *MARKS[1:]]), "1 of 30 ratings are neither .* first 'maybe' of 'pair-0'"),
        (lambda table: table.assign(pair=["pair-1", *table["pair"][1:]]), "1 rows repeat a pair, first 'pair-1'"),
        (lambda table: table.drop(columns="rating"), "has no column 'rating'"),
        (lambda table: table.drop(columns="pair"), "lacks 1 of 2 required columns, first 'pair'"),
    ],
)  # fmt: skip
def test_wrong_files_are_refused_in_a_sentence(tmp_path, sample, change, message):
    path = tmp_path / "a.csv"
    write_csv(path, change(rating_table(sample).assign(rating=MARKS)))
    with pytest.raises(DataError, match=message) as error:
        compare(sample, str(path))
    assert str(error.value).startswith(str(path))


def test_files_are_checked_before_the_audit(tmp_path, sample):
    empty = rated(tmp_path / "empty.csv", sample, "")
    with pytest.raises(DataError, match="no pair is rated"):
        require_ratings([empty])
    one = rated(tmp_path / "a.csv", sample, MARKS)
    with pytest.raises(DataError, match="is given 2 times"):
        require_ratings([one, str(tmp_path / "." / "a.csv")])
    with pytest.raises(DataError, match="does not exist"):
        require_ratings([str(tmp_path / "absent.csv")])
    require_unrated(tmp_path / "absent.csv")
    require_unrated(tmp_path / "empty.csv")
    with pytest.raises(DataError, match="holds 30 ratings"):
        require_unrated(tmp_path / "a.csv")


def test_a_spreadsheet_may_change_separators_and_headers(tmp_path, sample):
    path = tmp_path / "a.csv"
    table = rating_table(sample).assign(rating=MARKS).rename(columns={"rating": "Rating", "pair": "Pair"})
    path.write_text(table.to_csv(index=False, sep=";", lineterminator="\r\n"), encoding="utf-8-sig")
    assert compare(sample, str(path))["readers"][0]["rated"] == 30


def side(hashes, subjects=None):
    keys = [f"k{row}" for row in range(len(hashes))]
    return Side(
        ImagePack(np.zeros((len(hashes), 2, 2), np.uint8), keys), hashes, subjects or keys,
        Embeddings(np.zeros((len(hashes), 1), np.float32), keys, "", ""),
    )  # fmt: skip


def drawn(count=30, above=5, images=100, seed=0, hashes=None):
    scores = np.linspace(2, -2, images)
    flagged = np.arange(images) < above
    copies = Copies(
        flagged, np.zeros(images, bool), np.arange(images) % 7, scores, np.zeros((images, 1)), np.zeros(7, bool)
    )
    synthetic = side(hashes or [f"s{row}" for row in range(images)])
    return draw_pairs(side([f"r{row}" for row in range(7)]), synthetic, copies, count, seed)


def test_pairs_come_from_all_strata_in_an_order_that_tells_nothing():
    sample = drawn()
    assert sample.sizes == {Stratum.ABOVE: 5, Stratum.NEAR: 10, Stratum.FAR: 85}
    assert [sample.strata.count(stratum) for stratum in Stratum] == [5, 10, 15]
    for row, stratum in zip(sample.rows, sample.strata, strict=True):
        assert stratum is (Stratum.ABOVE if row < 5 else Stratum.NEAR if row < 15 else Stratum.FAR)
    above = np.array([stratum is Stratum.ABOVE for stratum in sample.strata])
    assert not above[:5].all()
    places = [np.flatnonzero([s is Stratum.ABOVE for s in drawn(seed=seed).strata]).mean() for seed in range(200)]
    assert np.mean(places) == pytest.approx(14.5, abs=1)  # the middle of 30 places, whatever the score
    assert drawn().pairs == sample.pairs
    assert drawn(seed=1).pairs != sample.pairs


def test_every_pair_of_a_stratum_is_drawn_equally_often():
    counts = np.zeros(100)
    for seed in range(300):
        counts[drawn(seed=seed).rows] += 1
    assert (counts[:15] == 300).all()
    assert counts[15:].min() > 300 * 15 / 85 - 4 * np.sqrt(300 * 0.18 * 0.82)
    assert counts[15:].max() < 300 * 15 / 85 + 4.5 * np.sqrt(300 * 0.18 * 0.82)


def test_ids_are_bound_to_pixels_and_to_the_sample():
    one = drawn()
    other = drawn(hashes=[f"t{row}" for row in range(100)])
    assert set(one.pairs).isdisjoint(other.pairs)
    assert len({one.audit, other.audit, drawn(above=6).audit, drawn(count=29).audit}) == 4
    equal = drawn(count=100, hashes=["s"] * 100)
    assert len(set(equal.pairs)) == 100  # equal synthetic images remain pairs of their own
