"""The report in a real browser: it works by hand, says nothing on the console, and asks for nothing outside of itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hybrid_dip.study.describe.plan import plan_study
from hybrid_dip.study.describe.settings import as_study
from hybrid_dip.study.reporting.report import report_study
from hybrid_dip.study.running.run import run_study
from hybrid_dip.study.running.store import Store
from tests.browser import open_browser, outside, until
from tests.studies import TINY, Inline

IMAGES = ["astronaut", "camera", "rocket"]
STUDY: dict[str, Any] = {
    "name": "a <script> & <!-- <b>name",
    "images": [f"skimage:{name}" for name in IMAGES],
    "crop": 16,
    "metrics": ["psnr", "ssim"],
    "tasks": [{"kind": "denoise", "sigma": 25}, {"kind": "super-resolve", "factor": 2, "name": "<i>x2"}],
    "attribution": {
        "common": {**TINY, "steps": 6},
        "priors": [{"name": "architecture", "off": {"network": "pixels"}}, {"name": "smooth", "regularisers": ["tv@0.05"]}],
    },
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    plan, store = plan_study(as_study(STUDY, folder / "study.toml")), Store(folder / "out")
    run_study(plan, store, Inline())
    report_study(plan, store)
    return folder / "out" / "report.html"


@pytest.fixture
def browser(report: Path) -> Iterator[Any]:
    with open_browser() as found:
        found.get(report.as_uri())
        until(lambda: found.find_elements("css selector", "[data-ready]"))
        yield found
        assert found.get_log("browser") == [], "nothing on the console"
        assert outside(found, report.as_uri()) == [], "no request leaves the page"


def pixels(browser: Any, part: str) -> list[int]:
    script = """const canvas = document.querySelector(`[data-part="${arguments[0]}"]`);
        return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]"""
    found: list[int] = browser.execute_script(script, part)
    return found


def choose(browser: Any, part: str, value: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element("css selector", f'[data-part="{part}"]')).select_by_value(value)


def test_the_divider_is_dragged_and_moved_by_keys(browser: Any) -> None:
    from selenium.webdriver import ActionChains, Keys

    bar = browser.find_element("css selector", '[data-part="bar"]')
    over = browser.find_element("css selector", '[data-part="over"]')
    width = browser.find_element("css selector", '[data-part="divided"]').size["width"]
    assert bar.get_attribute("aria-valuenow") == "50"
    before = over.value_of_css_property("clip-path")
    ActionChains(browser).drag_and_drop_by_offset(bar, width // 4, 0).perform()
    assert abs(int(bar.get_attribute("aria-valuenow")) - 75) <= 1
    assert over.value_of_css_property("clip-path") != before
    bar.send_keys(Keys.ARROW_LEFT)
    assert abs(int(bar.get_attribute("aria-valuenow")) - 70) <= 1
    ActionChains(browser).drag_and_drop_by_offset(bar, -int(0.7 * width) - 10, 0).perform()
    assert bar.get_attribute("aria-valuenow") == "0", "it stays within the picture"


def test_a_table_is_sorted_by_a_column_both_ways(browser: Any) -> None:
    table = browser.find_element("css selector", '[data-table="board denoise"]')

    def column(number: int) -> list[str]:
        return [row.text.split("[")[0].strip() for row in table.find_elements("css selector", f"td:nth-child({number})")]

    assert column(1) == ["none", "architecture", "smooth", "architecture + smooth"]
    button = table.find_elements("css selector", "th button")[1]
    for order in ("descending", "ascending"):
        button.click()
        values = [float(text) for text in column(2)]
        assert values == sorted(values, reverse=order == "descending")
        assert button.find_element("xpath", "..").get_attribute("aria-sort") == order


def test_pictures_zoom_together_and_differences_are_of_the_clean_one(browser: Any) -> None:
    browser.find_element("css selector", '[data-part="closer"]').click()
    first = browser.find_element("css selector", ".task-viewer").find_elements("css selector", "canvas")
    assert len({canvas.get_attribute("style") for canvas in first}) == 1
    assert "scale(2)" in first[0].get_attribute("style")
    choose(browser, "left", "clean")
    until(lambda: browser.find_element("css selector", '[data-part="left-tag"]').text.startswith("clean"))
    clean = pixels(browser, "left-canvas")
    choose(browser, "left", "degraded")
    until(lambda: pixels(browser, "left-canvas") != clean)
    noisy = pixels(browser, "left-canvas")
    choose(browser, "mode", "difference")
    until(lambda: pixels(browser, "left-canvas") != noisy)
    expected = [a if i % 4 == 3 else min(255, 4 * abs(a - b)) for i, (a, b) in enumerate(zip(noisy, clean, strict=True))]
    assert pixels(browser, "left-canvas") == expected


def test_another_image_has_its_own_pictures_and_curves(browser: Any) -> None:
    root = browser.find_element("css selector", ".task-viewer")
    before = pixels(browser, "right-canvas")
    choose(browser, "image", "rocket")
    until(lambda: root.get_attribute("data-ready") == "rocket")
    assert pixels(browser, "right-canvas") != before
    assert len(root.find_elements("css selector", "polyline")) == 3, "a curve a fit; the arm without one has none"
    assert "was kept" in root.find_element("css selector", "circle title").get_attribute("textContent")


def test_it_is_readable_on_a_phone_and_in_darkness(browser: Any) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    )
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390, "no sideways scrolling"
    colours = []
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        script = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
        colours.append(browser.execute_script(script))
    assert colours[0] == ["rgb(27, 31, 36)", "rgb(255, 255, 255)"]
    assert colours[1] == ["rgb(230, 237, 243)", "rgb(13, 17, 23)"]


def test_names_are_text_and_not_markup(browser: Any) -> None:
    assert browser.title == STUDY["name"]
    assert browser.find_element("css selector", "h1").text == STUDY["name"]
    assert [head.text for head in browser.find_elements("css selector", "h2")][:2] == ["denoise", "<i>x2"]
