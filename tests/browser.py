"""A headless Chromium that says what it asks for, and what its console says."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def open_browser(downloads: Path | None = None) -> Iterator[Any]:
    """Yield the browser; the test is skipped where there is none.

    Args:
        downloads: Folder that it downloads to.
    """
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("pages are tried in Debian's chromium with chromium-driver, which are not installed here")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    if downloads is not None:
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    found = webdriver.Chrome(options, Service(driver))
    try:
        yield found
    finally:
        found.quit()


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Return what a condition gives as soon as it gives something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)
    return found


def outside(browser: Any, page: str) -> list[str]:
    """What the browser asked for besides a page, what is in it, and what lies below it."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    assert page in asked, "the log shows requests"
    return [url for url in asked if url != page and not url.startswith(("data:", f"blob:{page}", f"{page.rstrip('/')}/"))]
