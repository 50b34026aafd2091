import numpy as np
import pytest

from deepssim.evaluation.contrast import rate_difference
from deepssim.evaluation.intervals import clopper_pearson
from deepssim.evaluation.strata import (
    NOT_STATED,
    corrected_confidence,
    held_by_top,
    levels_of,
    most_by_chance,
    rates_by_level,
    sorted_levels,
)


def people(count):
    return [f"p{number}" for number in range(count)]


def test_numbers_are_cut_at_quartiles_of_subjects():
    ages = [str(age) for age in range(20, 60)]
    levels = levels_of(ages, people(40), most=12)
    assert sorted_levels(levels) == ["below 30", "30 to 39", "40 to 48", "49 or more"]
    assert levels[ages.index("29")] == "below 30"
    assert levels[ages.index("30")] == "30 to 39"
    assert [levels.count(level) for level in sorted_levels(levels)] == [10, 10, 9, 11]


def test_a_subject_with_many_images_does_not_move_the_cuts():
    ages, subjects = [str(age) for age in range(20, 60)], people(40)
    many = levels_of([*ages, *["99"] * 500], [*subjects, *["p39"] * 500], most=12)
    assert "49 or more" in many  # else most quartiles would be 99


def test_ages_of_dicom_and_decimals_are_numbers():
    assert sorted_levels(levels_of([f"0{age}Y" for age in range(20, 60)], people(40), most=12))[0] == "below 30"
    decimals = levels_of([f"{number / 7:.4f}" for number in range(1, 41)], people(40), most=12)
    assert sorted_levels(decimals) == ["below 1.54", "1.54 to 2.93", "2.93 to 4.32", "4.32 or more"]


def test_few_numbers_and_words_stay_as_they_are():
    assert levels_of(["0", "1", "1", "0"], people(4), most=12) == ["0", "1", "1", "0"]
    assert levels_of(["F", " M ", "", "F"], people(4), most=12) == ["F", "M", NOT_STATED, "F"]
    mixed = ["1", "2", "3", "4", "5", "6", "7", "unclear"]
    assert set(levels_of(mixed, people(8), most=12)) == set(mixed)  # one word, and the column is none of numbers


def test_values_of_fewest_subjects_are_pooled():
    values = ["A"] * 6 + ["B"] * 3 + ["C"] * 2 + ["D", "E"]
    assert sorted_levels(levels_of(values, people(13), most=3)) == ["A", "B", "C", "other values (2)"]
    assert sorted_levels(levels_of(values, people(13), most=12, least_groups=5)) == ["A", "other values (4)"]
    assert "E" in levels_of(values, people(13), most=4)  # a pool of one value would only hide its name
    one = levels_of(values, ["p0"] * 6 + people(13)[6:], most=12, least_groups=5)
    assert "A" not in one  # six images of one subject are one subject


def test_rates_match_hand_calculation():
    found = np.array([True, False, True, False, False, False])
    rates = rates_by_level(found, ["a", "a", "b", "c", "d", "e"], list("FFFFMM"), confidence=0.95, comparisons=1)
    female, male = rates
    assert (female.level, female.subjects.count, female.subjects.total) == ("F", 2, 3)
    assert (female.subjects.low, female.subjects.high) == clopper_pearson(2, 3)
    assert (female.items.count, female.items.total) == (2, 4)
    assert (male.subjects.value, male.subjects.total) == (0, 2)
    assert female.difference == rate_difference(2, 3, 0, 2)
    assert female.difference.value == -male.difference.value == pytest.approx(2 / 3)
    assert female.differs is False


def test_a_single_level_has_no_difference():
    (only,) = rates_by_level(np.array([True, False]), ["a", "b"], ["F", "F"], confidence=0.95, comparisons=0)
    assert np.isnan(only.difference.value)
    assert only.differs is None


def test_more_comparisons_give_wider_intervals():
    assert corrected_confidence(0.95, 5) == pytest.approx(0.99)
    assert corrected_confidence(0.95, 1) == corrected_confidence(0.95, 0) == pytest.approx(0.95)
    random = np.random.default_rng(0)
    found, levels = random.random(100) < 0.3, ["A", "B"] * 50
    few, many = (
        rates_by_level(found, people(100), levels, confidence=0.95, comparisons=count)[0].difference
        for count in (1, 20)
    )
    assert many.low < few.low < few.high < many.high


def test_intervals_cover_where_one_group_leaks_more():
    """Three of ten subjects of one group leak, and one of twenty of the other, each with all of their images."""
    random, trials = np.random.default_rng(3), 300
    levels = np.repeat(["A", "B"], 40)
    rate = {"A": 0.3, "B": 0.05}
    subjects = np.repeat(people(80), 2)
    covered, differs = np.zeros((trials, 4), bool), 0
    for trial in range(trials):
        leaks = random.random(80) < np.array([rate[level] for level in levels])
        first, second = rates_by_level(
            np.repeat(leaks, 2), subjects, np.repeat(levels, 2), confidence=0.95, comparisons=1
        )
        covered[trial] = [
            first.subjects.low <= 0.3 <= first.subjects.high, second.subjects.low <= 0.05 <= second.subjects.high,
            first.items.low <= 0.3 <= first.items.high, first.difference.low <= 0.25 <= first.difference.high,
        ]  # fmt: skip
        differs += bool(first.differs)
    assert (covered.mean(axis=0) >= 0.95).all()
    assert differs / trials > 0.6


def test_where_all_are_alike_a_difference_is_rarely_called_one():
    random, trials, wrong = np.random.default_rng(5), 400, 0
    levels = np.array(list("ABCD")).repeat(25)
    for _ in range(trials):
        found = random.random(100) < 0.2
        rates = rates_by_level(found, people(100), levels, confidence=0.95, comparisons=4)
        wrong += any(rate.differs for rate in rates)
    assert wrong / trials <= 0.05


def test_the_most_found_subject_against_chance():
    assert most_by_chance(np.zeros(5, int), np.ones(5, int)) == 1
    # Two finds, both of one of 100 subjects: 100 * (1 / 100)^2.
    counts = np.zeros(100, int)
    counts[7] = 2
    assert most_by_chance(counts, np.ones(100, int)) == pytest.approx(0.01)
    uneven = np.full(100, 1)
    uneven[7] = 100
    assert most_by_chance(counts, uneven) > 0.2  # a subject with half of all images is often found
    random = np.random.default_rng(0)
    draws = random.multinomial(30, np.full(50, 1 / 50), size=400)
    assert np.mean([most_by_chance(draw, np.ones(50, int)) <= 0.05 for draw in draws]) <= 0.05


def test_what_the_most_found_hold():
    counts = np.array([1, 5, 0, 2])
    assert [held_by_top(counts, number) for number in (1, 2, 4, 9)] == [5, 7, 8, 8]
