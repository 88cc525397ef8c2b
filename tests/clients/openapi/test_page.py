"""The page of the API in a browser: Chromium and its driver (in Debian, chromium and chromium-driver).

`SCREENSHOT=docs/openapi.png` before the command also stores what the browser shows.
"""

import json
import os
import shutil

import pytest
import yaml
from conftest import ROOT
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait


@pytest.fixture
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1400"):
        options.add_argument(argument)
    with webdriver.Chrome(options=options) as driver:
        yield driver


def test_the_page_shows_each_operation_and_tries_one_out(local, browser):
    def all_of(selector):
        return browser.find_elements(By.CSS_SELECTOR, selector)

    def click(selector):
        found = WebDriverWait(browser, 60).until(lambda _: all_of(selector))
        browser.execute_script("arguments[0].click()", found[0])

    browser.get(f"{local.url}/docs")
    operations = [
        operation["operationId"]
        for methods in yaml.safe_load((ROOT / "openapi.yaml").read_text())["paths"].values()
        for method, operation in methods.items() if method != "parameters"
    ]
    WebDriverWait(browser, 60).until(lambda _: len(all_of(".opblock")) == len(operations))
    if "SCREENSHOT" in os.environ:
        browser.save_screenshot(os.environ["SCREENSHOT"])
    shown = "#operations-rebuilds-RebuildNamedWorkspace"
    click(f"{shown} .opblock-summary-control")
    click(f"{shown} .try-out__btn")
    click(f"{shown} .execute")
    click(f"{shown} .live-responses-table .response-col_status")
    [status] = all_of(f"{shown} .live-responses-table .response .response-col_status")
    [body] = all_of(f"{shown} .live-responses-table .response .highlight-code code")
    assert status.text.startswith("202")
    assert json.loads(body.text)["data"].keys() == {"id", "created_at"}
    # The page is complete without the internet.
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert asked and all(url.startswith((local.url, "data:")) for url in asked), asked
    # The browser also asks for an icon, which the local run does not have.
    problems = [entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]]
    assert problems == []
