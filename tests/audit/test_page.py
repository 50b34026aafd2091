"""The page of an audit in a real browser: it shows, filters and sorts, and asks for nothing outside of its file."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

import deepssim
from tests.audit.folders import make_folders, picture, tiny_encoder, write

HOSTILE = "<script>alert(1)<"  # a file's name; a slash is the one character it cannot have
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    root = make_folders(folder / "data")
    write(root / "synthetic" / f"{HOSTILE}.png", picture(np.random.default_rng(1)))
    shutil.copy(root / "real" / "p05_0.png", root / "synthetic" / f"{HOSTILE} copy.png")
    deepssim.audit(
        root / "real", root / "synthetic", folder / "report", holdout=root / "holdout", image_size=(32, 32), controls=6,
        encoder=tiny_encoder(folder / "e.safetensors"), subject_pattern=r"^([a-z]\d+)", bootstrap=50, gallery=20,
    )  # fmt: skip
    return folder / "report"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not chromium or not driver:
        reason = "no chromium with chromedriver here; install Debian's chromium and chromium-driver"
        if os.environ.get("DEEPSSIM_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    window = webdriver.Chrome(options=options, service=Service(driver))
    window.set_window_size(1100, 900)
    yield window
    window.quit()


@pytest.fixture
def page(browser, report):
    browser.get((report / "index.html").as_uri())
    return browser


def visible(page):
    return [pair for pair in page.find_elements("css selector", ".pair") if pair.is_displayed()]


def test_it_opens_without_an_error_and_asks_for_nothing_else(page, report):
    page.get_log("performance")  # of the browser's own first page
    page.refresh()
    assert page.title == "Audit for copies of training images"
    assert page.get_log("browser") == []
    sent = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = {item["params"]["request"]["url"] for item in sent if item["method"] == "Network.requestWillBeSent"}
    assert (report / "index.html").as_uri() in asked
    assert not {url for url in asked if not url.startswith("data:")} - {(report / "index.html").as_uri()}


def test_the_verdict_comes_first_with_its_uncertainty(page):
    verdict = page.find_element("id", "verdict").text
    assert verdict.startswith("Copies found")
    assert "interval" in verdict
    assert "4 are identical to a training image in every pixel" in verdict


def test_the_gallery_shows_images(page):
    shown = visible(page)
    for kind in ("real", "synthetic", "top", "difference"):
        pictures = page.find_elements("css selector", f".pair img.{kind}")
        assert len(pictures) == len(shown) > 10
        assert all(page.execute_script("return arguments[0].naturalWidth", picture) in (32, 64) for picture in pictures)


def test_copies_are_called_copies_and_come_first(page):
    from selenium.webdriver.support.select import Select

    Select(page.find_element("id", "sort")).select_by_visible_text("score")
    pairs = visible(page)
    named = [pair for pair in pairs if "above" in pair.get_attribute("class")]
    assert len(named) >= 4
    assert page.find_element("id", "pairs-summary").text.startswith(
        f"{len(named)} of the {len(pairs)} pairs shown are called copies"
    )
    scores = [float(pair.get_attribute("data-score")) for pair in pairs]
    assert scores == sorted(scores, reverse=True)
    for pair in named:
        assert pair.find_element("css selector", ".kind").text.startswith(
            ("identical", "confirmed copy", "copy", "partial")
        )


def of_a_copy(page):
    return page.find_element("css selector", ".pair[data-kind=identical]")


def test_the_slider_moves_the_boundary(page):
    from selenium.webdriver.common.keys import Keys

    pair = of_a_copy(page)
    overlay, slider = (pair.find_element("css selector", name) for name in (".overlay", ".slider"))
    top = overlay.find_element("css selector", ".top")
    base = overlay.find_element("css selector", "img:not(.top)")
    assert base.get_attribute("src") == pair.find_element("css selector", ".real").get_attribute("src")
    assert base.rect == top.rect
    assert "50%" in top.value_of_css_property("clip-path")
    focused = page.execute_script("arguments[0].focus(); return document.activeElement", slider)
    slider.send_keys(Keys.ARROW_RIGHT)
    assert "51%" in top.value_of_css_property("clip-path")
    assert page.switch_to.active_element == focused  # the arrow keys have not gone on to the next pair
    slider.send_keys(Keys.END)
    assert "100%" in top.value_of_css_property("clip-path")
    slider.send_keys(Keys.HOME)
    assert "0%" in top.value_of_css_property("clip-path") or "inset(0px)" in top.value_of_css_property("clip-path")


def test_a_pair_blinks(page):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    pair = of_a_copy(page)
    button, top = (pair.find_element("css selector", name) for name in (".blink", ".top"))
    visibility = lambda: top.value_of_css_property("visibility")  # noqa: E731
    assert (button.get_attribute("aria-pressed"), visibility()) == ("false", "visible")
    button.send_keys(Keys.SPACE)
    assert button.get_attribute("aria-pressed") == "true"
    for state in ("hidden", "visible", "hidden"):
        WebDriverWait(page, 5, poll_frequency=0.05).until(lambda _, state=state: visibility() == state)
    button.send_keys(Keys.SPACE)
    assert (button.get_attribute("aria-pressed"), visibility()) == ("false", "visible")


def test_one_pair_at_a_time_by_click_and_keys(page):
    from selenium.webdriver.common.keys import Keys

    pairs = visible(page)
    number = pairs.index(of_a_copy(page)) + 1
    viewer = page.find_element("id", "viewer")
    picture = pairs[number - 1].find_element("css selector", ".real")
    before = picture.rect["width"]
    assert not viewer.is_displayed()
    pairs[number - 1].find_element("css selector", ".both").click()
    assert viewer.is_displayed()
    assert picture.rect["width"] >= max(1.5 * before, page.execute_script("return arguments[0].naturalWidth", picture))
    place = page.find_element("id", "place")
    assert place.text == f"{number} of {len(pairs)}: Pair {number}: identical"
    viewer.send_keys(Keys.ARROW_RIGHT)
    assert place.text.startswith(f"{number + 1} of ")
    slider = viewer.find_element("css selector", ".slider")
    slider.send_keys(Keys.ARROW_RIGHT)  # moves the boundary, not on to the next pair
    assert place.text.startswith(f"{number + 1} of ")
    assert slider.get_property("value") == "51"
    page.find_element("id", "previous").click()
    assert place.text.startswith(f"{number} of ")
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not viewer.is_displayed()
    assert visible(page) == pairs  # each is back in its place
    assert page.switch_to.active_element == pairs[number - 1]
    pairs[number - 1].send_keys(Keys.ENTER)
    assert viewer.is_displayed()
    page.find_element("id", "close").click()
    assert not viewer.is_displayed()


def test_a_pair_beside_the_verdict_leads_to_the_large_one(page):
    link = page.find_elements("css selector", ".six a")[1]
    link.click()
    assert page.find_element("id", "place").text.startswith("2 of ")
    page.find_element("id", "close").click()


def test_pairs_close_to_the_limit_are_counted(page):
    from selenium.webdriver.support.select import Select

    near = page.find_elements("css selector", ".pair[data-borderline='1']")
    everything = len(visible(page))
    Select(page.find_element("id", "kind")).select_by_visible_text("closest to the limit")
    assert visible(page) == near
    assert page.find_element("id", "count").text == f"{len(near)} of {everything} pairs"


def test_a_decimal_comma_is_a_number_and_words_filter_nothing(page):
    least, count = (page.find_element("id", name) for name in ("least", "count"))
    scores = sorted(float(pair.get_attribute("data-score")) for pair in visible(page))
    least.send_keys(str(scores[-4]).replace(".", ","))
    assert len(visible(page)) == sum(score >= scores[-4] for score in scores)
    least.clear()
    least.send_keys("much")
    assert len(visible(page)) == len(scores)
    assert least.get_attribute("aria-invalid") == "true"
    assert count.text.endswith("not a number")


def test_shared_keypoints_are_joined_by_lines(page):
    pair = of_a_copy(page)
    drawing = pair.find_element("css selector", ".matches")
    drawn, shared = (int(word) for word in drawing.get_attribute("aria-label").split() if word.isdigit())
    assert 4 <= drawn <= shared
    lines = [path.get_attribute("d") for path in drawing.find_elements("css selector", ".line")]
    assert sum(path.count("M") for path in lines) == drawn
    # The pictures are equal, so that every line is horizontal and as long as the pictures are apart.
    width = float(drawing.get_dom_attribute("viewBox").split()[2])
    for line in "".join(lines).split("M")[1:]:
        (left, down), (right, low) = ([float(number) for number in place.split()] for place in line.split("L"))
        assert 0 <= left < (width - 3) / 2 + 0.1
        assert abs(right - left - (width + 3) / 2) < 0.2
        assert abs(low - down) < 0.2
    box, first = drawing.rect, pair.find_element("css selector", ".real").rect
    assert (box["x"], box["y"], box["height"]) == pytest.approx((first["x"], first["y"], first["height"]), abs=1)
    pair.find_element("css selector", ".lines").click()
    assert not drawing.is_displayed()
    others = page.find_elements("css selector", ".matches")
    assert any(other.is_displayed() for other in others)
    page.find_element("id", "lines").click()
    assert not any(other.is_displayed() for other in others)


def test_controls_are_a_picture_with_their_numbers_folded_away(page):
    picture = page.find_element("css selector", "img[alt^='Heat map']")
    assert page.execute_script("return arguments[0].naturalWidth", picture) > 600
    table = page.find_element("id", "controls")
    assert not table.is_displayed()
    table.find_element("xpath", "ancestor::details/summary").click()
    assert "rotation 20°" in table.text
    assert len(table.find_elements("tag name", "tr")) == 51  # fifty distortions and the head


def test_filters_and_sorting_work(page):
    from selenium.webdriver.support.select import Select

    everything = len(visible(page))
    Select(page.find_element("id", "kind")).select_by_visible_text("identical")
    assert len(visible(page)) == 4
    assert page.find_element("id", "count").text == f"4 of {everything} pairs"
    page.find_element("id", "text").send_keys("p00")
    assert [pair.get_attribute("data-name") for pair in visible(page)] == ["s00.png", "s01.png"]
    page.find_element("id", "text").clear()
    page.refresh()
    Select(page.find_element("id", "sort")).select_by_visible_text("name")
    names = [pair.get_attribute("data-name") for pair in visible(page)]
    assert names == page.execute_script("return arguments[0].sort((a, b) => a.localeCompare(b))", names)
    Select(page.find_element("id", "sort")).select_by_visible_text("order of the report")
    assert [pair.get_attribute("id") for pair in visible(page)] == [f"pair-{n + 1}" for n in range(everything)]
    for text, name in (("keypoints", "keypoints"), ("SSIM after registration", "ssim"), ("score", "score")):
        Select(page.find_element("id", "sort")).select_by_visible_text(text)
        values = [float(pair.get_attribute(f"data-{name}")) for pair in visible(page)]
        assert values == sorted(values, reverse=True)
        assert values[0] > values[-1]
    least = page.find_element("id", "least")
    least.clear()
    scores = sorted(float(pair.get_attribute("data-score")) for pair in visible(page))
    least.send_keys(str(scores[-4]))
    assert len(visible(page)) == sum(score >= scores[-4] for score in scores)
    least.clear()
    least.send_keys("100")
    assert visible(page) == []


def test_the_keyboard_is_enough(page):
    from selenium.webdriver.common.keys import Keys

    first, second = visible(page)[:2]
    page.execute_script("arguments[0].focus()", first)
    first.send_keys(Keys.ARROW_RIGHT)
    assert page.switch_to.active_element == second
    head = page.find_elements("css selector", "#subjects th button")[0]
    head.send_keys(Keys.ENTER)
    subjects = [row.text.split()[0] for row in page.find_elements("css selector", "#subjects tbody tr")]
    assert subjects == sorted(subjects, reverse=True)
    assert len(subjects) >= 3


def test_names_stay_text(page):
    from selenium.webdriver.support.select import Select

    Select(page.find_element("id", "kind")).select_by_visible_text("identical")
    assert any(HOSTILE in pair.text for pair in visible(page))
    assert len(page.find_elements("tag name", "script")) == 1


def test_it_fits_a_phone_and_paper(page, browser):
    # The window of a desktop browser cannot be as narrow as a phone, so its screen is emulated.
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") <= 360
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        overlay = of_a_copy(page).find_element("css selector", ".top")
        assert overlay.value_of_css_property("clip-path") == "none"
        assert not page.find_element("css selector", ".slider").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert len(printed) > 50_000


def test_without_scripts_the_pictures_lie_side_by_side(browser, report):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get((report / "index.html").as_uri())
        pair = of_a_copy(browser)
        assert all(
            pair.find_element("css selector", f".{name}").is_displayed()
            for name in ("real", "synthetic", "top", "difference", "matches")
        )
        assert pair.find_element("css selector", ".top").value_of_css_property("clip-path") == "none"
        assert not pair.find_element("css selector", ".slider").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_the_files_of_a_hundred_thousand_images_are_small(report, tmp_path):
    """What grows with the number of images is text: the page shows as many pairs as the gallery has."""
    page = (report / "index.html").stat().st_size
    shown = pd.read_csv(report / "pairs.csv")
    row = (report / "pairs.csv").stat().st_size / (len(shown) + 1)
    name = (report / "keep.txt").stat().st_size / len((report / "keep.txt").read_text().splitlines())
    copies = 30_000  # of 100,000
    assert page + copies * row + 100_000 * name < 10_000_000
