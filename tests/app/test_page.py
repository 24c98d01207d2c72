"""The page in a real browser: upload, a fit of 30 steps, drag, keep, download; and what is wrong, in a sentence."""

import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from hybrid_dip.app.form import painted
from hybrid_dip.errors import SettingsError
from hybrid_dip.images.files import save_image
from tests.browser import open_browser, outside, until
from tests.waiting import HANG

pytestmark = pytest.mark.slow


@pytest.fixture
def address() -> Iterator[str]:
    """The page, served by the command; Ctrl-C ends it."""
    command = [sys.executable, "-m", "hybrid_dip.cli", "app", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        said = server.stdout.readline()
        yield said.split()[1] + "/"
        server.send_signal(signal.SIGINT)
        assert server.wait(HANG) == 0


def wait(condition: Callable[[], Any]) -> Any:
    return until(condition, HANG)


def find(browser: Any, label: str) -> Any:
    """The field with a label, as soon as it is shown."""
    labels = wait(lambda: [one for one in browser.find_elements("css selector", "label") if one.text.strip() == label])
    return labels[0].find_element("css selector", "input, textarea")


def button(browser: Any, text: str) -> Any:
    """The button with a text, as soon as it is shown."""
    return wait(lambda: [one for one in browser.find_elements("css selector", "button, a") if one.text.split("\n")[0] == text])[
        0
    ]


def type_into(field: Any, text: str) -> None:
    from selenium.webdriver import Keys

    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(text)


def test_upload_fit_drag_keep_and_download(address: str, photograph: Tensor, tmp_path: Path) -> None:
    from selenium.webdriver import Keys

    noisy = F.interpolate(photograph, (64, 64), mode="bicubic") + 0.1 * torch.randn(1, 3, 64, 64)
    save_image(noisy.clamp(0, 1), tmp_path / "my photo.png")
    with open_browser(tmp_path) as browser:
        browser.get(address)
        wait(lambda: browser.find_elements("css selector", "#restore"))
        upload = browser.find_element("css selector", "input[type=file]")
        wrong = browser.find_element("css selector", "#wrong")
        button(browser, "Restore").click()
        assert wait(lambda: wrong.text) == "There is no image yet: drop a file, or take a sample."
        upload.send_keys(str(tmp_path / "my photo.png"))
        wait(lambda: "the degraded image" in browser.find_element("css selector", "#ends").text)
        type_into(find(browser, "Noise (sigma, of 255)"), "25.5")
        button(browser, "More").click()
        type_into(find(browser, "Steps"), "30")
        button(browser, "Restore").click()
        progress = browser.find_element("css selector", "#progress")
        wait(lambda: "finished" in progress.text)
        assert "seed 1" in progress.text
        pictures = browser.find_elements("css selector", "#pictures img")
        result = pictures[1].get_attribute("src")
        slider = browser.find_element("css selector", "#at input[type=range]")
        for _ in range(3):
            slider.send_keys(Keys.ARROW_LEFT)
        ends = browser.find_element("css selector", "#ends")
        wait(lambda: "seed 1, step 27" in ends.text)
        wait(lambda: pictures[1].get_attribute("src") != result)
        assert pictures[1].value_of_css_property("image-rendering") == "pixelated"
        button(browser, "Keep this picture").click()
        wait(lambda: "seed 1, step 27" in browser.find_element("css selector", "#kept").text)
        command = find(browser, "The command that repeats it").get_attribute("value")
        assert "'my photo.png'" in command
        assert "--steps 28 --runs 1 --seed 1 --stop max_steps" in command
        button(browser, "Download the picture").click()
        button(browser, "Picture, command and files (zip)").click()
        wait(lambda: (tmp_path / "restored.png").exists() and (tmp_path / "restored.zip").exists())
        with zipfile.ZipFile(tmp_path / "restored.zip") as pack:
            assert pack.read("restored.png") == (tmp_path / "restored.png").read_bytes()
            assert command in pack.read("command.txt").decode()
            assert pack.read("my photo.png") == (tmp_path / "my photo.png").read_bytes()
        with Image.open(tmp_path / "restored.png") as picture:
            assert picture.size == (64, 64)
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == [], "no error on the console"
        assert outside(browser, address) == [], "no request leaves the page"


def choose(browser: Any, label: str, text: str) -> None:
    """Take an entry of a list."""
    wait(lambda: browser.find_elements("css selector", f"input[aria-label='{label}']"))[0].click()
    entries = "[role=option]"
    wait(lambda: [one for one in browser.find_elements("css selector", entries) if text in one.text])[0].click()


def paint(browser: Any) -> None:
    """Draw a stroke across the image."""
    from selenium.webdriver import ActionChains

    canvas = wait(lambda: browser.find_elements("css selector", "#painter canvas"))[0]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    ActionChains(browser).move_to_element(canvas).click_and_hold().move_by_offset(30, 10).move_by_offset(
        20, -10
    ).release().perform()


def test_paint_stop_go_on_and_restore_with_another_prior(address: str, photograph: Tensor, tmp_path: Path) -> None:
    save_image(F.interpolate(photograph, (64, 64), mode="bicubic").clamp(0, 1), tmp_path / "photo.png")
    with open_browser(tmp_path) as browser:
        browser.get(address)
        wait(lambda: browser.find_elements("css selector", "#restore"))
        browser.find_element("css selector", "input[type=file]").send_keys(str(tmp_path / "photo.png"))
        wait(lambda: "the degraded image" in browser.find_element("css selector", "#ends").text)
        choose(browser, "What is wrong with it", "regions to fill in")
        paint(browser)
        button(browser, "More").click()
        type_into(find(browser, "Steps"), "150")
        type_into(find(browser, "Fits averaged"), "1")
        button(browser, "Restore").click()
        progress = browser.find_element("css selector", "#progress")
        wait(lambda: "to fill in" in progress.text)
        button(browser, "Stop").click()
        wait(lambda: "stopped" in progress.text)
        button(browser, "Go on").click()
        wait(lambda: "finished" in progress.text)
        choose(browser, "Prior 1", "tv (")
        button(browser, "Restore").click()
        runs = browser.find_element("css selector", "#runs")
        wait(lambda: len(runs.find_elements("css selector", "input")) == 2)
        wait(lambda: "finished" in progress.text)
        choose(browser, "Left of the divider", "1")
        assert browser.find_element("css selector", "#wrong").text == ""
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_what_is_painted_is_filled_in() -> None:
    layer = np.zeros((4, 5, 4), np.uint8)
    with pytest.raises(SettingsError, match="Nothing is painted"):
        painted({"layers": [layer]})
    layer[1, 2, 3] = 90
    mask = painted({"layers": [layer]})
    assert mask.shape == (1, 1, 4, 5)
    assert (mask == 0).nonzero().tolist() == [[0, 0, 1, 2]]
