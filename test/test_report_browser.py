"""Reports in a real browser: everything is drawn, nothing complains, clicks lead where they say."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from report_samples import driven, replayed, rival

from crnn_snn_ros.evaluation.replay_output import REPORT, write_pictures
from crnn_snn_ros.evaluation.report import page
from crnn_snn_ros.evaluation.report.closed_loop import drives_report

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: [test]")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None,
    reason="no Chromium to open reports in: sudo apt-get install chromium chromium-driver",
)
WIDTHS = {"desktop": 1280, "phone": 390}
READY_S = 60


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(DRIVER, log_output=os.devnull)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    write_pictures([replayed()], folder=folder, video=None)
    write_pictures([replayed(), rival()], folder=folder / "two", video=None)
    drives = [driven(3), driven(4, "goal")]
    whole = drives_report("Courses", drives, header=replayed().header, subtitle="two of them")
    page.write(folder / "drives.html", whole)
    return {
        "replay": folder / REPORT,
        "drives": folder / "drives.html",
        "compare": folder / "two" / REPORT,
    }


def opened(browser: Any, path: Path, width: int) -> Callable[..., Any]:
    """Open a page and wait until it is drawn; gives a way to run JavaScript in it."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(path.as_uri())
    wait(lambda: browser.execute_script("return document.documentElement.dataset.ready"))
    return browser.execute_script


def wait(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + READY_S
    while not condition():
        assert time.monotonic() < deadline, "the page never got there"
        time.sleep(0.02)


def complaints(browser: Any) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser")]


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
@pytest.mark.parametrize("name", ["replay", "drives", "compare"])
def test_everything_is_drawn_and_nothing_complains(browser, reports, name, width):
    run = opened(browser, reports[name], width)
    plots = run("""
        return [...document.querySelectorAll(".plot")].map((plot) => [
          plot.id, plot.querySelectorAll("svg.main-svg").length, plot.clientWidth,
          plot.querySelectorAll(".trace, .bars, .hm, .point").length])
    """)
    assert len(plots) >= 4
    for plot, layers, wide, marks in plots:
        assert layers > 0, f"{plot} is not drawn"
        assert marks > 0, f"{plot} is empty"
        assert wide > 200, f"{plot} is {wide} pixels wide"
    assert run("return document.documentElement.scrollWidth <= window.innerWidth")
    images = run("return [...document.images].map((image) => image.naturalWidth)")
    assert images
    assert min(images) > 0
    assert complaints(browser) == []


@pytest.mark.parametrize("name", ["replay", "drives", "compare"])
def test_the_page_asks_the_network_for_nothing(browser, reports, name):
    opened(browser, reports[name], 1280)
    asked = [entry["message"] for entry in browser.get_log("performance")]
    urls = [text.split('"url":"')[1].split('"')[0] for text in asked
            if "Network.requestWillBeSent\"" in text]  # fmt: skip
    assert [url for url in urls if not url.startswith(("file:", "data:", "blob:"))] == []
    assert urls


@pytest.mark.parametrize("name", ["replay", "compare"])
def test_a_worst_moment_leads_to_its_place_in_the_traces(browser, reports, name):
    run = opened(browser, reports[name], 1280)
    moments = browser.find_elements("css selector", ".moment")
    assert len(moments) >= 2
    run("window.scrollTo(0, 0)")
    for moment in moments[:2]:
        time_s = float(moment.get_attribute("data-jump"))
        run("arguments[0].click()", moment)
        wait(lambda t=time_s: float(run("return traces.dataset.at || -1")) == t)
        low, high = run("return traces.layout.xaxis.range")
        assert low < time_s < high
        assert high - low == pytest.approx(min(8.0, high - low))
        lines = run("return traces.layout.shapes.filter((s) => s.x0 === s.x1).map((s) => s.x0)")
        assert lines[-1] == time_s
    wait(lambda: run("const r = traces.getBoundingClientRect(); return r.top < innerHeight && "
                     "r.bottom > 0"))  # fmt: skip
    assert complaints(browser) == []


def test_zoom_buttons(browser, reports):
    run = opened(browser, reports["replay"], 1280)
    width = "const [a, b] = traces.layout.xaxis.range; return b - a"
    whole = run(width)
    for factor, share in (("0.5", 0.5), ("0.5", 0.25), ("2", 0.5), ("0", 1.0)):
        button = f"#section-traces [data-zoom='{factor}']"
        run("arguments[0].click()", browser.find_element("css selector", button))
        wait(lambda s=share: abs(run(width) - s * whole) < 1e-6 * whole)
    assert complaints(browser) == []


def test_raster_shows_the_chosen_layer_of_the_chosen_frame(browser, reports):
    run = opened(browser, reports["replay"], 1280)
    shown = "return raster.data.map((t, i) => t.visible === true ? i : -1).filter((i) => i >= 0)"
    layers = run("return document.querySelector('[name=layer]').options.length")
    names = run("return raster.data.map((trace) => trace.name)")
    assert run(shown) == [layers - 1]
    run("""
        const box = document.querySelector("[data-choose]");
        box.querySelector("[name=frame]").value = "1";
        box.querySelector("[name=layer]").value = "0";
        box.dispatchEvent(new Event("change"));
    """)
    wait(lambda: run(shown) == [layers])
    assert names[layers].endswith("stem")
    assert complaints(browser) == []


def test_a_frame_of_the_filmstrip_is_found_on_the_map(browser, reports):
    run = opened(browser, reports["drives"], 1280)
    frame = browser.find_elements("css selector", "#section-drive-1 .filmstrip button")[2]
    run("arguments[0].click()", frame)
    where = "return document.getElementById('drive-1-traces-map')"
    wait(lambda: run(f"{where}.dataset.at") is not None)
    assert float(run(f"{where}.dataset.at")) == float(frame.get_attribute("data-jump")) == 1.0
    here = run(f"{where}.data.find((trace) => trace.name === 'here')")
    path = run(f"{where}.data.find((trace) => trace.name === 'path')")
    at = path["customdata"].index(1.0)
    assert here["visible"] is True
    assert (here["x"], here["y"]) == ([path["x"][at]], [path["y"][at]])
    assert complaints(browser) == []


def test_dark_and_light_have_other_inks(browser, reports):
    run = opened(browser, reports["replay"], 1280)
    ink = {}
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        wanted = "getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()"
        wait(lambda w=wanted: run(f"return traces.layout.font.color === {w}"))
        ink[scheme] = run("return traces.layout.font.color")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert ink["light"] != ink["dark"]
    assert complaints(browser) == []


@pytest.mark.parametrize("name", ["replay", "compare"])
def test_it_prints(browser, reports, name):
    opened(browser, reports[name], 1280)
    printed = browser.execute_cdp_cmd("Page.printToPDF", {})
    assert len(printed["data"]) > 50_000
    assert complaints(browser) == []
