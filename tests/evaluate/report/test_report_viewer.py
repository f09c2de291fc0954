"""The viewer in a real browser: opened from disk, driven by mouse and keys, its canvases read back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from made_evaluation import evaluation_of, predict

from ncct_cta.common.hu import ANGIO_WINDOW_HU
from ncct_cta.data import Case
from ncct_cta.evaluate.report.page import write_report
from ncct_cta.volumes.nifti import read_ct
from ncct_cta.volumes.nifti_write import write_like

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs Chromium and chromedriver on the PATH"),
]
webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (pip install -e '.[test]')")

# A box of soft tissue in air, with a bright block in the patient's right, anterior, superior corner.
SHAPE, SPACING = (40, 30, 20), (4.0, 4.0, 8.0)


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1400,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of one case whose files run to the patient's left, back and foot: everything must be turned."""
    folder = tmp_path_factory.mktemp("marker")
    volume = np.random.default_rng(0).normal(-1000, 8, SHAPE).astype(np.int16)  # noise: no padding, but scanned air
    volume[3:-3, 3:-3, 1:-1] = 0
    volume[-12:-4, -10:-4, -6:-2] = 600  # RAS+: right, front, head are the ends
    affine = np.diag([-SPACING[0], -SPACING[1], -SPACING[2], 1])
    for kind in ("ncct", "cta"):
        nib.save(nib.Nifti1Image(volume[::-1, ::-1, ::-1], affine), folder / f"m_{kind}.nii.gz")
    case = Case("m", folder / "m_ncct.nii.gz", folder / "m_cta.nii.gz")
    write_report(evaluation_of([case], {"identity": predict([case], "identity", 0, folder)}), folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def report(evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(evaluation, path)
    return path


def find(browser, selector):
    return browser.find_element("css selector", selector)


def open_report(browser, path):
    browser.get(path.as_uri())
    wait_until_drawn(browser)
    return browser


def wait_until_drawn(browser):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 30).until(lambda b: find(b, "#viewer").get_attribute("data-state") == "ready")


def pixels(browser, name="CTA", kind="image"):
    """(rows, columns, 4) uint8 of a canvas."""
    script = """
        const canvas = document.querySelector(`canvas[data-name="${arguments[0]}"][data-kind="${arguments[1]}"]`);
        const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return JSON.stringify([image.width, image.height, Array.from(image.data)]);"""
    width, height, values = json.loads(browser.execute_script(script, name, kind))
    return np.array(values, np.uint8).reshape(height, width, 4)


def press(browser, key):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).move_to_element(find(browser, "canvas")).send_keys(key).perform()


def slide(browser, by):
    browser.execute_script(
        "const s = document.getElementById('viewer-slice'); s.value = +s.value + arguments[0];"
        "s.dispatchEvent(new Event('input', {bubbles: true}));",
        by,
    )


def choose(browser, number):
    from selenium.webdriver.support.ui import Select

    Select(find(browser, "#viewer-case")).select_by_index(number)
    wait_until_drawn(browser)


def wheel(browser):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    canvas = find(browser, "canvas")
    ActionChains(browser).click(canvas).perform()
    ActionChains(browser).scroll_from_origin(ScrollOrigin.from_element(canvas), 0, -200).perform()


def drag(browser):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).drag_and_drop_by_offset(find(browser, "canvas"), 30, 20).perform()


ACTIONS = {
    "slider": lambda b: slide(b, 3),
    "window button": lambda b: find(b, 'button[data-window="1"]').click(),
    "plane button": lambda b: find(b, 'button[data-plane="coronal"]').click(),
    "MIP button": lambda b: find(b, "#viewer-mip").click(),
    "zoom button": lambda b: find(b, 'button[data-key="+"]').click(),
    "case": lambda b: choose(b, 2),
    "wheel": wheel,
    "drag": drag,
    "key up": lambda b: press(b, "\ue013"),
    "key page down": lambda b: press(b, "\ue00f"),
    "key 3": lambda b: press(b, "3"),
    "key s": lambda b: press(b, "s"),
    "key m": lambda b: press(b, "m"),
    "key +": lambda b: press(b, "+"),
}


def changed_share(after, before):
    return (after != before).any(axis=-1).mean() if after.shape == before.shape else 1.0


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_changes_every_picture(browser, report, action):
    open_report(browser, report)
    panels = [("NCCT", "image"), ("G", "image"), ("CTA", "image")]
    panels += [("G", "error")] * (action not in ("window button", "key 3"))  # errors have a range of their own
    before = [pixels(browser, *panel) for panel in panels]
    ACTIONS[action](browser)
    for panel, image in zip(panels, before, strict=True):
        assert changed_share(pixels(browser, *panel), image) > 0.01, panel  # the cursor's cross is far smaller


def test_pictures_are_not_blank_and_methods_differ(browser, report):
    open_report(browser, report)
    ncct, cta = pixels(browser, "NCCT"), pixels(browser, "CTA")
    assert len(np.unique(ncct[..., 0])) > 20
    assert cta[..., 0].mean() > ncct[..., 0].mean()
    # Under the NCCT, contrast is missing: blue. The better method has less of it.
    blue = {name: int(np.maximum(0, np.subtract(image[..., 2], image[..., 0], dtype=int)).sum())
            for name in ("NCCT", "G") for image in [pixels(browser, name, "error")]}  # fmt: skip
    assert 0 < blue["G"] < blue["NCCT"] / 2


@pytest.fixture(scope="module")
def faulty(cases, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a method that sees no contrast on the patient's left and invents a vessel in soft tissue there."""
    folder = tmp_path_factory.mktemp("faulty")
    predictions = {"identity": predict(cases[:1], "identity", 0, folder)}
    ncct, cta = (read_ct(path) for path in (cases[0].ncct, cases[0].cta))
    image = ncct.array.copy()
    half = image.shape[0] // 2
    image[half:] = cta.array[half:]
    image[half // 2 : half // 2 + 2, 10:38, 11:14] = 400
    write_like(image, ncct, folder / "faulty.nii.gz")
    predictions["G"] = {cases[0].name: folder / "faulty.nii.gz"}
    write_report(evaluation_of(cases[:1], predictions), folder / "report.html")
    return folder / "report.html"


def shares(browser, name):
    """How much of a picture is green, red and blue: found, invented and missed vessels."""
    image = pixels(browser, name).astype(int)
    red, green, blue = (image[..., i] for i in range(3))
    colours = {"found": (green, red, blue), "invented": (red, green, blue), "missed": (blue, red, green)}
    return {word: float(((own > a + 40) & (own > b + 40)).mean()) for word, (own, a, b) in colours.items()}


@pytest.mark.parametrize("mip", [False, True])
def test_found_invented_and_missed_vessels_are_green_red_and_blue(browser, faulty, mip):
    open_report(browser, faulty)
    if mip:
        press(browser, "m")
    browser.execute_script(
        "const s = document.getElementById('viewer-slice'); s.value = 12;"
        "s.dispatchEvent(new Event('input', {bubbles: true}));"
    )
    assert all(share < 1e-3 for share in shares(browser, "G").values())
    legend = find(browser, "#viewer-vessels-legend")
    assert not legend.is_displayed()
    press(browser, "v")
    assert all(share > 2e-3 for share in shares(browser, "G").values())
    nothing = shares(browser, "NCCT")  # the identity: no contrast at all
    assert nothing["missed"] > shares(browser, "G")["missed"]
    assert nothing["found"] + nothing["invented"] < 1e-3
    assert all(share < 1e-3 for share in shares(browser, "CTA").values())
    assert all(word in legend.text for word in ("found, in both CTAs", "invented", "missed", "2 mm"))
    find(browser, "#viewer-vessels").click()
    assert not legend.is_displayed()


def test_hidden_methods_appear_when_asked_for(browser, report):
    open_report(browser, report)
    count = len(browser.find_elements("css selector", "#viewer-panels canvas"))
    find(browser, "#viewer-shown input:checked").click()
    assert len(browser.find_elements("css selector", "#viewer-panels canvas")) == count - 2


def test_hu_stand_under_the_cursor(browser, marker):
    from selenium.webdriver.common.action_chains import ActionChains

    open_report(browser, marker)
    ActionChains(browser).move_to_element(find(browser, "canvas")).perform()
    values = [element.text for element in browser.find_elements("css selector", "#viewer-panels output")]
    assert values == ["0 HU", "0 HU", "0 HU"]


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_right_front_and_head_are_left_and_on_top(browser, marker, plane):
    open_report(browser, marker)
    find(browser, f'button[data-plane="{plane}"]').click()
    find(browser, 'button[data-window="3"]').click()
    volume_slice = {"axial": 16, "coronal": 24, "sagittal": 33}[plane]
    browser.execute_script(
        "const s = document.getElementById('viewer-slice'); s.value = Math.round(arguments[0] * s.max);"
        "s.dispatchEvent(new Event('input', {bubbles: true}));",
        volume_slice / (SHAPE[{"axial": 2, "coronal": 1, "sagittal": 0}[plane]] - 1),
    )
    image = pixels(browser)[..., 0].astype(int)
    image[pixels(browser)[..., 2] < image - 20] = 0  # the yellow letters
    low, high = ANGIO_WINDOW_HU
    bright = image > 255 * (550 - low) / (high - low)
    rows, columns = np.nonzero(bright)
    assert bright.any()
    assert columns.mean() < image.shape[1] / 2
    assert rows.mean() < image.shape[0] / 2


def test_a_picture_has_the_patients_proportions(browser, marker):
    open_report(browser, marker)
    find(browser, 'button[data-plane="coronal"]').click()
    tissue = pixels(browser)[..., 2] > 90  # water is at 40 % of the mediastinal window; the letters have less blue
    rows, columns = np.flatnonzero(tissue.any(axis=1)), np.flatnonzero(tissue.any(axis=0))
    expected = (SHAPE[2] - 2) * SPACING[2] / ((SHAPE[0] - 6) * SPACING[0])
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(expected, rel=0.08)


def test_the_browser_reports_no_error_and_asks_for_nothing(browser, report):
    browser.get_log("browser")
    browser.get_log("performance")
    open_report(browser, report)
    for action in ("plane button", "MIP button", "case"):
        ACTIONS[action](browser)
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [report.as_uri()]
