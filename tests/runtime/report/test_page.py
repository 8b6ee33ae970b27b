"""The page in a real browser: everything is drawn, nothing complains, and what it shows is what the JSON says."""

import base64
import json
import re
import shutil
import time
from itertools import pairwise

import imageio.v3 as imageio
import numpy as np
import pytest
from click.testing import CliRunner
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from nmbrl.runtime.report.document import Estimate, Quantity
from nmbrl.runtime.report.text import number, text
from nmbrl.runtime.run_command import main as run_main

from .conftest import bundle_writer, call

SECTIONS = ("summary", "world", "agent", "cost", "fidelity", "provenance")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
# WCAG 2.2, 1.4.3 contrast (minimum), level AA.
CONTRAST = 4.5


@pytest.fixture(scope="module")
def browser():
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [name for name, path in programs.items() if path is None]
    assert not missing, f"no {missing[0]}: apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(programs["chromedriver"]))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Files of a report over floats, integers, spikes and a record, with films."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield make_report(folder, bundle_writer(folder, monkeypatch))


def make_report(folder, bundle):
    record = folder / "board.json"
    paths = [bundle("<float> & co", "onnx"), bundle("half", "tflite", skill=0.5), bundle("chip", "loihi", spikes=3)]
    assert CliRunner().invoke(run_main, [str(paths[1]), "--episodes", "2", "--json", str(record)]).exit_code == 0
    files = {name: folder / f"report.{name}" for name in ("html", "json", "md")}
    written = ("--out", files["html"], "--json", files["json"], "--markdown", files["md"])
    done = call(*paths, f"board={record}", "--episodes", 2, *written, films=True)
    assert done.exit_code == 0, done.output
    return files


def show(browser, page, size="desktop", dark=False):
    width, height = SIZES[size]
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(page.as_uri())
    for _ in range(600):
        if browser.execute_script("return document.documentElement.dataset.drawn"):
            break
        time.sleep(0.1)
    note = browser.execute_script("return document.getElementById('undrawn').textContent")
    assert browser.execute_script("return document.documentElement.dataset.drawn"), note


def at(document, path):
    for part in path.split("."):
        document = document[int(part) if isinstance(document, list) else part]
    return document


def written(value):
    """How the page writes what the JSON holds there."""
    if isinstance(value, dict):
        return text(Estimate(**value) if "name" in value else Quantity(**value))
    return value


def luminance(colour):
    channels = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_the_page_in_a_browser(browser, report):
    show(browser, report["html"])
    document = json.loads(report["json"].read_text())
    run = browser.execute_script

    # Every section is there and has a size; the document inside is the JSON file.
    for name in SECTIONS:
        heading = browser.find_element(By.ID, name)
        section = run("return arguments[0].closest('section')", heading)
        assert heading.is_displayed() and section.size["height"] > 100, name
    assert json.loads(run("return document.getElementById('report').textContent")) == document

    # Numbers in tables are the JSON's.
    cells = run("return [...document.querySelectorAll('[data-path]')].map(c => [c.dataset.path, c.textContent])")
    assert len(cells) > 70
    for path, shown in cells:
        value = written(at(document, path))
        expected = {value} if isinstance(value, str) else {number(value), f"{value} ahead", f"{value:,}"}
        # Counts of what differs are shown with what they are out of.
        assert shown.split(" of ")[0] in expected, path

    # Every figure is drawn, of the JSON's numbers.
    figures = run(
        "return [...document.querySelectorAll('[data-figure]')].map(d => [d.dataset.figure, !!d._fullLayout])"
    )
    assert len(figures) > 10 and all(drawn for _, drawn in figures)
    for name, drawn in figures:
        assert browser.find_element(By.CSS_SELECTOR, f"[data-figure='{name}'] svg.main-svg").size["height"] > 100, drawn

    def traces(figure, row):
        # Reads what Plotly was given, typed arrays as lists.
        script = """const d = document.querySelector(`[data-figure="${arguments[0]}"]`).data;
        return d.filter(t => t.meta === arguments[1]).map(t => [Array.from(t.x), Array.from(t.y)])"""
        return run(script, figure, row)

    for row in document["rows"]:
        native, varied = traces("returns", row["name"])
        assert (native[1], varied[1]) == (row["returns"]["values"], row["returns_varied"]["values"])
        actions, rewards = traces("actions-worst", row["name"])
        assert [[action] for action in actions[1]] == row["behaviour"]["worst"]["actions"]
        assert rewards[1] == row["behaviour"]["worst"]["rewards"]
        for what in ("energy", "latency"):
            for (x,), (y,) in traces(f"return-{what}", row["name"]):
                assert (x, y) == (row[what][0]["value"], row["quantities"]["return"]["value"])
        if row["prediction"] is not None:
            growth = traces("growth", row["name"])
            assert [y for _, y in growth] == [row["prediction"]["observation"], row["prediction"]["reward"]]
            followed = np.array(row["prediction"]["followed"]).T.tolist()
            assert sorted(y for _, y in traces("trace-one-step", row["name"])[:2]) == sorted(followed)

    # Films are there, play together, and leave with their target.
    films = browser.find_elements(By.TAG_NAME, "video")
    assert len(films) == 4 + 4 + 3
    sizes = """const films = [...document.querySelectorAll('video')];
    return Promise.all(films.map(film => film.readyState || new Promise(done => film.onloadedmetadata = done)))
      .then(() => films.map(film => [film.videoWidth, film.duration]))"""
    assert all(width == 64 and duration > 1 for width, duration in run(sizes))
    group = browser.find_element(By.CSS_SELECTOR, ".films")
    button = group.find_element(By.CSS_SELECTOR, ".play")
    run("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    time.sleep(0.5)
    assert button.text == "Pause all"
    assert all(run("return [...arguments[0].querySelectorAll('video')].map(v => v.currentTime > 0)", group))
    run("document.querySelector('.targets input[value=half]').click()")
    time.sleep(0.5)
    assert run("return [...document.querySelectorAll('[data-target=half]')].every(f => f.hidden)")
    visible = "return document.querySelector('[data-figure=growth]').data.filter(t => t.visible).map(t => t.meta || '')"
    for _ in range(50):
        shown = run(visible)
        if "half" not in shown:
            break
        time.sleep(0.1)
    assert set(shown) == {"", "<float> & co", "chip"}

    # Nothing complained and nothing was fetched.
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    fetched = run("return performance.getEntriesByType('resource').map(r => r.name)")
    assert all(name.startswith(("blob:", "data:")) for name in fetched), fetched


def test_phone_dark_print_and_keyboard(browser, report):
    show(browser, report["html"], "phone", dark=True)
    run = browser.execute_script
    assert run("return document.documentElement.scrollWidth") <= SIZES["phone"][0]
    # Names of rows break between words, if at all.
    heights = run("return [...document.querySelectorAll('tbody th')].map(name => name.offsetHeight)")
    assert heights and max(heights) < 170
    assert run("return document.querySelector('[data-figure=trace-one-step]').layout.grid.columns") == 1
    assert run("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
    assert run("return document.querySelector('[data-figure=growth]').layout.font.color") == "#e7eaee"
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert run("return document.activeElement.className") == "skip"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert run("return document.activeElement.id") == "main"
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert printed.startswith(b"%PDF") and printed.count(b"/Type /Page\n") > 2


def test_the_trace_of_neurons_in_a_browser(browser, loihi_bundle, tmp_path):
    page = tmp_path / "report.html"
    assert call(f"chip={loihi_bundle}", "--episodes", 1, "--out", page).exit_code == 0
    run = browser.execute_script
    loaded = "return arguments[0].decode().then(() => arguments[0].naturalWidth)"
    brightness = {}
    for dark in (False, True):
        show(browser, page, "phone", dark=dark)
        (picture,) = browser.find_elements(By.CSS_SELECTOR, ".neurons img")
        assert run(loaded, picture) > 500
        # It can be read on a phone, and scrolls there by itself.
        assert picture.size["width"] > 600 and run("return document.documentElement.scrollWidth") <= SIZES["phone"][0]
        run("arguments[0].scrollIntoView()", picture)
        drawn = imageio.imread(picture.screenshot_as_png)[..., :3]
        brightness[dark] = drawn.max(), np.median(drawn)
    # Ink on paper, and the other way round.
    assert brightness[False][1] > 240 and brightness[True][1] < 40 and brightness[True][0] > 200
    run("document.querySelector('.targets input').click()")
    assert not picture.is_displayed()


def test_the_page_is_told_to_those_who_cannot_see_it(report):
    page = report["html"].read_text()
    body = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    levels = [int(level) for level in re.findall(r"<h([1-6])", body)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert body.count("<table") == body.count("<caption") >= 5
    assert all("scope=" in heading for heading in re.findall(r"<th[ >][^>]*", body))
    assert all(re.search(r'aria-label="[^"]{20,}"', tag) for tag in re.findall(r'<div[^>]*role="img"[^>]*>', body))
    assert all("aria-label=" in tag for tag in re.findall(r"<video[^>]*>", body))
    assert '<html lang="en">' in page and "<main" in body and "<nav" in body
    identifiers = re.findall(r'\sid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r'href="#([^"]+)"', body)) <= set(identifiers)
    assert "<float>" not in body
    assert not re.search(r'(src|href)\s*=\s*"(?!#|data:)', body) and "@import" not in body and "url(http" not in body


def test_text_stands_out_in_both_themes(report):
    style = re.search(r"<style>(.*?)</style>", report["html"].read_text(), re.DOTALL)[1]
    light, dark = (
        dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]
    )
    for theme in (light, {**light, **dark}):
        for ground in ("paper", "panel"):
            for ink in ("ink", "quiet", "alert", "link", "measured", "counted", "modelled"):
                lighter, darker = sorted((luminance(theme[ink]), luminance(theme[ground])), reverse=True)
                assert (lighter + 0.05) / (darker + 0.05) >= CONTRAST, (ink, ground)


def test_markdown_has_the_numbers_of_the_json(report):
    lines = report["md"].read_text().splitlines()
    document = json.loads(report["json"].read_text())
    for row in document["rows"]:
        shown = next(line for line in lines if line.startswith(f"| {row['name'].replace('<', '&lt;')} |"))
        for quantity in (row["quantities"]["return"], *row["energy"][:1], *row["latency"][:1]):
            assert written(quantity) in shown
    assert any(line.startswith("1. ") for line in lines)
