"""The report in a real browser: it opens, fetches nothing, shows figures and tables, and fits a phone, a laptop and paper."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from matplotlib.image import imread

from dm_fhir.model.case import Case

from .test_page import Outline, page_of

pytestmark = pytest.mark.browser
#: Nothing of the browser's own talks to the network either.
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
MEASURED = """<script>addEventListener("load", () => {
document.body.dataset.measured = JSON.stringify([document.documentElement.scrollWidth, innerWidth,
[...document.querySelectorAll("figure svg")].map(one => Math.round(one.getBoundingClientRect().width))])})</script>"""


@pytest.fixture(scope="module")
def report(twenty_four: tuple[Case, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page_of(twenty_four), encoding="utf-8")
    return path


def browse(page: Path, *options: str, size: str = "1366,900") -> str:
    """What the browser prints, here the page as it stands after loading; started as if for the first time."""
    chromium = shutil.which("chromium") or "chromium"
    profile = page.parent / "profile"
    command = [chromium, *QUIET, f"--user-data-dir={profile}", f"--window-size={size}", *options, page.as_uri()]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    finally:
        shutil.rmtree(profile, ignore_errors=True)


def asked_for(log: Path) -> set[str]:
    """Every address that the browser's log says was asked for, but for the hosts that it calls at every start."""
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    found = {one["params"]["url"] for one in events if "url" in one.get("params", {})}
    return {url for url in found if not (urlsplit(url).hostname or "").endswith(".google.com")}


def test_it_opens_and_fetches_nothing(report: Path) -> None:
    log = report.with_name("net.json")
    outline = Outline(browse(report, "--dump-dom", f"--log-net-log={log}"))

    assert len(outline.all("svg")) == len(outline.all("figcaption")) > 3
    assert len(outline.all("table")) > 5
    assert {one for one in asked_for(log) if not one.startswith(("file:", "data:", "chrome:", "devtools:"))} == set()


@pytest.mark.parametrize(("name", "width"), [("phone", 390), ("laptop", 1366), ("wide", 1920)])
def test_nothing_is_wider_than_the_screen(report: Path, name: str, width: int) -> None:
    # The page itself allows no script; a copy measures itself.
    page = report.with_name(f"{name}.html")
    text = report.read_text(encoding="utf-8")
    without_policy = "".join(line for line in text.splitlines(True) if "Content-Security-Policy" not in line)
    page.write_text(without_policy.replace("</head>", f"{MEASURED}</head>"), encoding="utf-8")

    dom = Outline(browse(page, "--dump-dom", size=f"{width},900"))
    whole, screen, drawings = json.loads(dom.all("body")[0]["data-measured"])

    assert whole <= screen
    assert drawings
    assert all(200 < one <= screen for one in drawings)


@pytest.mark.parametrize("size", ["500,3000", "1366,3000"])
@pytest.mark.parametrize("colours", [(), ("--blink-settings=preferredColorScheme=0",)], ids=["light", "dark"])
def test_it_is_drawn(report: Path, size: str, colours: Sequence[str]) -> None:
    picture = report.with_name("picture.png")
    browse(report, f"--screenshot={picture}", *colours, size=size)

    pixels = imread(picture)
    corner = pixels[-1, 0, :3].mean()
    assert pixels[..., :3].std() > 0.05, "a blank page"
    assert corner < 0.2 if colours else corner > 0.9, "the paper has the wrong colour"


def test_it_prints(report: Path) -> None:
    paper = report.with_suffix(".pdf")
    browse(report, f"--print-to-pdf={paper}", "--no-pdf-header-footer")

    assert paper.read_bytes().startswith(b"%PDF-")
    assert paper.stat().st_size > 50_000
