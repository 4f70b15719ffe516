"""The built documentation: every link leads somewhere, and the zoo's table works in a browser.

`make docs` builds site/ and runs this. What needs Chromium is skipped where it is not installed.
"""

import functools
import html.parser
import http.server
import pathlib
import shutil
import threading
import urllib.parse

import pytest

SITE = pathlib.Path(__file__).parents[1] / "site"
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
EACH_PAGE = pytest.mark.parametrize("page", PAGES or ["none"])
LOADED = {"script": "src", "img": "src", "link": "href"}

pytestmark = [
    pytest.mark.no_backend,
    pytest.mark.skipif(not PAGES, reason="site/ is not built: make docs"),
]


class Page(html.parser.HTMLParser):
    """The addresses that a page points to, those it loads by itself, and its anchors."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.anchors = set(), set(), {""}
        self.feed((SITE / path).read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes[key] for key in ("id", "name") if attributes.get(key)}
        self.links |= {attributes[key] for key in ("href", "src") if attributes.get(key)}
        if tag in LOADED and attributes.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.add(attributes.get(LOADED[tag], ""))


read = functools.cache(Page)


def is_external(address):
    return bool(urllib.parse.urlsplit(address).netloc)


@EACH_PAGE
def test_every_internal_link_leads_somewhere(page):
    dead = []
    for address in read(page).links:
        parts = urllib.parse.urlsplit(address)
        if is_external(address) or parts.scheme:
            continue
        target = urllib.parse.urljoin(f"/{page}", urllib.parse.unquote(parts.path) or f"/{page}")
        file = SITE / target.lstrip("/")
        file = file / "index.html" if file.is_dir() else file
        anchors = {parts.fragment}
        if file.suffix == ".html" and file.is_file():
            anchors = read(file.relative_to(SITE).as_posix()).anchors
        if not file.is_file() or urllib.parse.unquote(parts.fragment) not in anchors:
            dead.append(address)
    assert not dead


@EACH_PAGE
def test_a_page_loads_nothing_from_other_sites(page):
    assert not [address for address in read(page).loaded if is_external(address)]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves the site without a word."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    """The address of the site."""
    handler = functools.partial(Quiet, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(scope="module")
def chromium():
    """Chromium without a window, cut off from all but this machine."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="the extra `docs` has selenium")
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not (binary and driver):
        pytest.skip("Chromium is not installed: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("headless", "no-sandbox", "disable-gpu", "window-size=1300,1000"):
        options.add_argument(f"--{argument}")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    browser = webdriver.Chrome(options=options, service=service)
    yield browser
    browser.quit()


@pytest.fixture
def zoo(chromium, server):
    """Chromium with the zoo opened; zoo.js makes the filter last."""
    chromium.get("about:blank")
    chromium.get(f"{server}/zoo/index.html")
    wait_for(chromium, ".filter output")
    return chromium


def wait_for(browser, selector):
    """Wait until there is such an element: a page may count as loaded before its scripts have run."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 20).until(lambda b: b.find_elements("css selector", selector))


def shown(browser, column):
    """The texts of a column of the zoo's table, of the rows that are to be seen."""
    rows = browser.find_elements("css selector", ".filtered tbody tr:not([hidden])")
    return [row.find_elements("css selector", "td")[column].text for row in rows]


def click_head(browser, column):
    heads = browser.find_elements("css selector", ".filtered th button")
    browser.execute_script("arguments[0].click()", heads[column])


def errors(browser):
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture
def phone(chromium):
    """Chromium with the screen of a phone, 390 pixels wide."""
    screen = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    yield chromium
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@EACH_PAGE
def test_a_page_opens_with_its_images_and_without_an_error_in_the_console(chromium, server, page):
    errors(chromium)  # those of earlier pages
    chromium.get(f"{server}/{page}")
    assert chromium.title
    assert not errors(chromium)
    broken = (
        "return [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
    )
    assert chromium.execute_script(broken) == []


@EACH_PAGE
def test_a_page_does_not_scroll_sideways_on_a_phone(phone, server, page):
    phone.get(f"{server}/{page}")
    assert phone.execute_script("return document.documentElement.scrollWidth") <= 390


def test_the_zoo_shows_name_parameters_and_accuracy_on_a_phone(phone, server):
    phone.get(f"{server}/zoo/index.html")
    wait_for(phone, ".filter output")
    heads = phone.find_elements("css selector", ".filtered th")
    assert [head.text for head in heads if head.is_displayed()] == [
        "name",
        "parameters",
        "accuracy",
    ]


def test_plots_are_dark_on_a_dark_page(chromium, server):
    chromium.get(f"{server}/index.html")
    script = "document.body.setAttribute('data-md-color-scheme', 'slate');"
    script += "return getComputedStyle(document.querySelector('.md-content img')).filter"
    assert "invert(1)" in chromium.execute_script(script)


@EACH_PAGE
def test_external_links_are_well_formed(page):
    for address in filter(is_external, read(page).links):
        parts = urllib.parse.urlsplit(address)
        assert parts.scheme in ("https", "http"), address
        assert "." in parts.netloc, address
        assert " " not in address, address


def test_the_table_sorts_numbers_up_and_down(zoo):
    click_head(zoo, 2)
    sizes = [int(text.replace(",", "")) for text in shown(zoo, 2)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 20
    click_head(zoo, 2)
    assert [int(text.replace(",", "")) for text in shown(zoo, 2)] == sorted(sizes, reverse=True)


def test_the_table_sorts_words_and_puts_empty_cells_last(zoo):
    click_head(zoo, 1)
    papers = [text.lower() for text in shown(zoo, 1)]
    assert papers == sorted(papers)
    for _ in range(2):
        click_head(zoo, 5)
        filled = [bool(text) for text in shown(zoo, 5)]
        assert filled[0]
        assert filled == sorted(filled, reverse=True)


def test_the_filter_keeps_rows_that_have_all_words(zoo):
    rows = list(zip(*(shown(zoo, column) for column in (0, 1, 6)), strict=True))
    expected = [r[0] for r in rows if all(w in " ".join(r).lower() for w in ("simnet", "layer"))]
    field = zoo.find_element("css selector", ".filter input")
    field.send_keys("SimNet layer")
    assert shown(zoo, 0) == expected != []
    count = zoo.find_element("css selector", ".filter output").text
    assert count == f"{len(expected)} of {len(rows)}"
    field.clear()
    field.send_keys("no such words")
    assert shown(zoo, 0) == []


def test_the_plot_has_a_point_per_record_that_leads_to_its_card(zoo):
    points = zoo.find_elements("css selector", "#scatter a.point")
    records = sorted(path.parent.name for path in SITE.glob("zoo/*/card.html"))
    assert sorted(point.get_dom_attribute("href") for point in points) == [
        f"{record}/card.html" for record in records
    ]
    zoo.find_element("css selector", ".filter input").send_keys("no such words")
    dimmed = zoo.find_elements("css selector", "#scatter a.point.dimmed")
    assert len(dimmed) == len(points) > 0


@pytest.mark.parametrize("opened", ["from a server", "as a file"])
def test_the_search_finds_a_layer(chromium, server, opened):
    chromium.get(f"{server if opened == 'from a server' else SITE.as_uri()}/index.html")
    wait_for(chromium, ".md-search__input")
    chromium.find_element("css selector", ".md-search__input").send_keys("GlobalMEXPooling2D")
    wait_for(chromium, ".md-search-result__item a[href*='api/layers.html']")


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("freeze", "guides/transfer"),
        ("fine-tune", "guides/transfer"),
        ("mixed precision", "guides/gpu"),
        ("cite", "papers/simnets"),
        ("resume", "guides/train"),
    ],
)
def test_a_search_finds_its_page(chromium, server, words, page):
    chromium.get(f"{server}/index.html")
    wait_for(chromium, ".md-search__input")
    chromium.find_element("css selector", ".md-search__input").send_keys(words)
    wait_for(chromium, f".md-search-result__item a[href*='{page}.html']")
