"""The page of `vtok bench` needs nothing but itself, says what was measured, and works in a real browser."""

import json
import re
import runpy
import shutil

import numpy as np
import pytest
from conftest import new_tiny_tokenizer
from made_videos import ROOT, write_video

from vtok.benchmark import viewer
from vtok.benchmark.page import write_page
from vtok.benchmark.progress import silent
from vtok.benchmark.run import Settings, run_benchmark, write_results
from vtok.video.frame import Frame

SETTINGS = Settings(
    settings={"vtok": [2, 6], "x264-ultrafast": [30, 40]},
    max_frames=12,
    with_vmaf=False,
    viewer_qualities=[2, 6],
    num_pictures=3,
    viewer_preset="ultrafast",
    threads=1,
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NASTY = '<img src=x onerror=alert(1)>&".mkv'


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small report by a tokenizer with random weights, and its folder."""
    folder = tmp_path_factory.mktemp("report")
    clips = [write_video(folder.parent / "wide.mkv", num_frames=12, size=(256, 192), codec="ffv1")]
    clips.append(write_video(folder.parent / NASTY, num_frames=12, size=(64, 80), codec="ffv1"))
    tokenizer = new_tiny_tokenizer()
    benchmark = run_benchmark(clips, folder, SETTINGS, tokenizer=tokenizer, progress=silent)
    write_results(benchmark, folder)
    write_page(benchmark, folder)

    def again():
        return run_benchmark(clips, folder, SETTINGS, tokenizer=tokenizer, progress=silent)

    return folder, benchmark, again


@pytest.fixture
def html(made):
    return (made[0] / "index.html").read_text(encoding="utf-8")


def data_of(html, name="data"):
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', html, re.DOTALL)[1])


def test_the_page_refers_to_nothing_outside(html):
    markup = html.replace("img src=x", "")  # in a name; see below
    links = re.findall(r"""(?:src|href)=["']?([^"'\s>]*)|url\(([^)]*)\)|@import""", markup)
    assert {link for pair in links for link in pair if link} <= {"data:,", "data:"}
    assert "default-src 'none'" in html
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_the_page_says_what_was_measured_with_what(html, made):
    _, benchmark, _ = made
    assert benchmark.made["date"] in html
    assert "0" * 64 in html, "the hash of the weights"
    for mean in benchmark.means:
        assert f"{mean['bpp']:.4f}" in html
    for rate in benchmark.mean_bd_rates:
        text = "none" if rate["percent"] is None else f"{rate['percent']:+.1f} %"
        assert f"<td>{text}</td>" in html
    scopes = data_of(html)["scopes"]
    assert [scope["name"] for scope in scopes] == ["the mean over 2 clips", "wide.mkv", NASTY]
    assert [len(points) for points in scopes[1]["curves"]] == [2, 2]


def test_names_are_text_and_not_markup(html):
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;" in html


def test_x264_beside_vtok_has_the_same_bitrate(made):
    _, benchmark, _ = made
    assert [(r["clip"], r["setting"]) for r in benchmark.viewer] == [
        ("wide.mkv", 2), ("wide.mkv", 6), (NASTY, 2), (NASTY, 6),
    ]  # fmt: skip
    for record in benchmark.viewer:
        if 0 < record["x264_crf"] < 51:
            assert record["x264_bpp"] == pytest.approx(record["bpp"], rel=0.1)
        measured = [r for r in benchmark.results if r["codec"] == "vtok" and r["setting"] == record["setting"]]
        assert record["bpp"] in [r["bpp"] for r in measured], "the same file was measured and is shown"
    assert any(0 < record["x264_crf"] < 51 for record in benchmark.viewer)


def test_the_worst_frames_come_first_and_the_median_is_there(made, html):
    frames = data_of(html)["frames"]
    worst = [frame["psnr"][0] for frame in frames]
    assert worst == sorted(worst)
    assert len(frames) >= 8
    for record in made[1].viewer:
        assert sum(frame["is_median"] for frame in record["frames"]) == 1


def test_the_best_frames_are_left_out_of_a_page_that_would_be_too_large(made, tmp_path, html):
    folder, benchmark, _ = made
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    frames = data_of(html)["frames"]
    kept = {name for frame in frames[:3] for name in frame["pictures"] + frame["maps"]}
    room = sum((folder / "pictures" / name).stat().st_size for name in kept)
    write_page(benchmark, other, max_picture_bytes=room)
    small = (other / "index.html").read_text(encoding="utf-8")
    assert data_of(small)["frames"] == frames[:3]
    assert set(data_of(small, "pictures")) == kept
    assert f"the {len(frames) - 3} best of these frames were left out" in small


def test_pictures_that_were_removed_are_made_again(made):
    folder, benchmark, again = made
    (picture,) = (folder / "pictures" / name for name in benchmark.viewer[0]["frames"][0]["pictures"][1:2])
    before = picture.read_bytes()
    picture.unlink()
    assert again().viewer == benchmark.viewer
    assert picture.read_bytes() == before


def test_error_maps_are_the_mean_absolute_error_of_luma():
    y = np.full((10, 12), 100, np.uint8)
    chroma = np.full((5, 6), 128, np.uint8)
    coded = y.copy()
    coded[4:8, 8:12] -= 16
    coded[0, 0] += 32
    errors = viewer.error_map(Frame(y, chroma, chroma, 0), Frame(coded, chroma, chroma, 0))
    assert errors.tolist() == [[2, 0, 0], [0, 0, 16], [0, 0, 0]]
    assert viewer.map_bytes(errors).startswith(b"\x89PNG")
    brightness = viewer.palette().astype(int).sum(axis=1)
    assert (np.diff(brightness) > 0).all(), "more error is brighter"


def test_the_pictures_and_tables_of_the_documentation_come_from_reports(made, tmp_path):
    folder, benchmark, _ = made
    generator = runpy.run_path(str(ROOT / "docs" / "generate_quality.py"))
    generator["generate"]([f"Some clips={folder}"], tmp_path, "wide.mkv", 6)
    page = (tmp_path / "quality.md").read_text()
    assert "## Some clips" in page
    assert benchmark.made["date"] in page
    assert "0" * 64 in page
    for mean in benchmark.means:
        assert f"| {mean['codec']} | {mean['setting']} | {mean['bpp']:.4f} | {mean['psnr_yuv']:.2f} |" in page
    for picture in re.findall(r"\]\((images/[^)]*)\)", page):
        assert 1000 < (tmp_path / picture).stat().st_size < 150_000


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install chromium to test the page in a browser")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, made):
    """Opens the page; whatever it asks for, logs or throws is in `complaints`."""
    pages, complaints = [], []

    def open_page(**options):
        page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}} | options)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: request.url.startswith("data:") or requests.append(request.url))
        page.add_init_script(
            "window.shift = 0; new PerformanceObserver((list) => list.getEntries()"
            ".forEach((entry) => { if (!entry.hadRecentInput) window.shift += entry.value; }))"
            ".observe({type: 'layout-shift', buffered: true})"
        )
        requests = []
        page.goto((made[0] / "index.html").as_uri())
        # Not wait_for_function: it evaluates strings, which the page's own policy forbids.
        page.locator("#stage:not(.empty)").wait_for()
        assert len(requests) == 1, "the page itself and nothing else"
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert complaints == []


def split_of(page):
    """Where the boundary is, as a share of the stage."""
    return page.evaluate(
        "(() => { const box = (id) => document.getElementById(id).getBoundingClientRect();"
        " return (box('boundary').left + 1 - box('stage').left) / box('stage').width; })()"
    )


def pixels_of(page, number):
    return page.evaluate(f"document.querySelectorAll('#crops canvas')[{number}].toDataURL()")


def test_in_a_browser_it_loads_and_nothing_jumps(open_page):
    page = open_page()
    page.wait_for_timeout(300)
    assert page.evaluate("window.shift") == 0
    assert page.locator("#chart .mark").count() == 4
    page.select_option("#chart-scope", label="wide.mkv")
    page.get_by_role("radio", name="MS-SSIM").check()
    assert page.locator("#chart .mark").count() == 4
    page.locator("#chart .mark").first.hover(force=True)
    assert re.match(r"vtok, quality \d: \d.\d{4} bits per pixel, MS-SSIM", page.inner_text("#chart-readout"))


def test_in_a_browser_the_slider_moves_by_keyboard_and_by_pointer(open_page):
    page = open_page()
    assert split_of(page) == pytest.approx(0.5, abs=0.01)
    page.focus("#split")
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    assert split_of(page) == pytest.approx(0.4, abs=0.01)
    assert "up to 40 %" in page.get_attribute("#split", "aria-valuetext")
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.up()
    assert split_of(page) == pytest.approx(0.8, abs=0.01)
    clip = page.evaluate("getComputedStyle(document.getElementById('right-picture')).clipPath")
    left = re.fullmatch(r"inset\(0px 0px 0px ([\d.]+)%\)", clip)
    assert float(left[1]) == pytest.approx(80, abs=1), "what is left of the boundary is the left picture's"


def test_in_a_browser_frames_sides_errors_and_crops_can_be_chosen(open_page):
    from playwright.sync_api import expect

    page = open_page()
    page.select_option("#clip", "wide.mkv")  # the other one hardly exceeds a crop
    expect(page.locator("#caption")).to_contain_text("wide.mkv")
    crops = [pixels_of(page, n) for n in range(3)]
    assert len(set(crops)) == 3, "original, vtok and x264 differ"
    page.focus("#crops")
    for _ in range(10):
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowLeft")
    assert pixels_of(page, 0) != crops[0]
    page.check("#errors")
    assert page.get_attribute("#right-picture", "src").startswith("data:image/png")
    assert page.get_attribute("#left-picture", "src").startswith("data:image/webp"), "the original has no errors"
    page.locator("#right label", has_text="x264").click()
    assert page.inner_text("#right-name") == "x264"
    before = page.inner_text("#caption")
    page.locator("#frames label").nth(1).click()
    expect(page.locator("#caption")).not_to_have_text(before)
    page.select_option("#quality", "6")
    page.select_option("#clip", NASTY)
    expect(page.locator("#caption")).to_contain_text(NASTY)
    expect(page.locator("#caption")).to_contain_text("quality 6")


def test_in_a_browser_it_is_dark_or_light_and_fits_a_telephone(open_page):
    backgrounds = {
        open_page(color_scheme=scheme).evaluate("getComputedStyle(document.documentElement).backgroundColor")
        for scheme in ("light", "dark")
    }
    assert len(backgrounds) == 2
    page = open_page(viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.wait_for_timeout(300)
    assert page.evaluate("window.shift") == 0
