"""The page in a real browser: what is seen, what is found, and that nothing recorded is run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.testing.report.report_world import failing, hostile, many, passing, skipped

from cove.testing.report import Run, render
from cove.testing.timeline import Timeline

pytestmark = pytest.mark.requires("chromium")
Open = Callable[[Sequence[Timeline]], Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium; all tests here are synchronous, as its driver is."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no chromium")
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens the page of timelines; afterwards it has complained of nothing and asked nobody."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    complaints: list[str] = []
    asked: list[str] = []

    def open_page(timelines: Sequence[Timeline]) -> Any:
        file = tmp_path / "report.html"
        file.write_text(render(timelines, Run("Shop", "embedded", 1.0, 2.5, {"cove": "1.0"})))
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        return page

    yield open_page
    context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def visible(page: Any, selector: str) -> list[str]:
    """The texts of what is seen."""
    return [e.inner_text() for e in page.query_selector_all(selector) if e.is_visible()]


def open_all(page: Any) -> None:
    """Open everything, and return when it is filled."""
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.wait_for_function(
        "[...document.querySelectorAll('details')].every((d) => !d.open || d.children.length > 1)"
    )


def test_the_head_tells_how_it_went(show: Open) -> None:
    page = show([passing(), failing(), skipped()])

    assert visible(page, "h1") == ["Shop"]
    assert page.title() == "Shop"
    (facts,) = visible(page, ".facts")
    assert facts.startswith("3 tests")
    for said in ("took 2.50 s", "engine embedded", "cove 1.0"):
        assert said in facts
    assert visible(page, ".mark") == ["passed", "failed", "skipped"]
    assert page.get_attribute(".share", "aria-label") == "1 failed, 1 passed, 1 skipped"
    assert "AssertionError: expected status.phase == 'Running'" in visible(page, ".fail-item")[0]
    assert "from GET pods/web in shop → status.phase" in visible(page, ".fail-item")[0]


def test_tests_are_found_by_outcome_and_text(show: Open) -> None:
    page = show([passing(), failing(), skipped(), passing("tests/test_b.py::test_other")])

    page.click("button[data-outcome=passed]")
    assert visible(page, ".test .name") == ["test_a_pod_runs", "test_other"]
    assert page.get_attribute("button[data-outcome=passed]", "aria-pressed") == "true"
    page.fill("#search", "other")
    assert visible(page, ".test .name") == ["test_other"]
    assert visible(page, ".group") != []
    assert visible(page, "[role=status]") == ["1 of 4"]
    page.click("button[data-outcome='']")
    # By what a test touched, and by how it failed.
    page.fill("#search", "DEPLOYMENTS/api")
    assert visible(page, ".test .name") == ["TestOrders::test_the_shop_answers"]
    page.fill("#search", "expected running")
    assert visible(page, ".test .name") == ["TestOrders::test_the_shop_answers"]
    page.fill("#search", "nothing like it")
    assert visible(page, ".test .name") == []
    assert visible(page, "#none") == ["No test is like that."]
    page.press("#search", "Escape")
    assert len(visible(page, ".test .name")) == 4


def test_assertions_are_folded_under_the_call_they_came_from(show: Open) -> None:
    page = show([passing()])

    page.click("#t0 > summary")
    assert visible(page, ".assertions li") == []
    call = page.locator("details.line", has_text="patch")
    assert call.locator(".tally").inner_text() == "✓ 2"
    call.locator("summary").first.click()

    told = visible(page, ".assertions li")
    assert len(told) == 2
    assert "status.phase == 'Running'" in told[0]
    assert "report_world.py:" in told[0]
    assert page.locator("details.line", has_text="create").locator(".tally").count() == 0


def test_an_object_s_change_is_a_diff_without_managed_fields(show: Open) -> None:
    page = show([passing()])

    page.click("#t0 > summary")
    page.locator("details.line", has_text="patch").locator("summary").first.click()

    assert visible(page, ".diff .del") == ['-   resourceVersion: "101"', "-   phase: Pending"]
    assert visible(page, ".diff .add") == [
        '+   resourceVersion: "102"',
        "+   phase: Running",
        '+   podIP: "10.44.0.7"',
    ]
    assert "managedFields" not in page.inner_text("#t0")


def test_a_change_is_found_where_no_call_says_what_was_before(show: Open) -> None:
    page = show([failing()])

    page.click("#t0 > summary")
    page.click("#t0-e9 > summary")

    patched = page.locator("#t0-e9")
    assert "PATCH /api/v1/namespaces/shop/pods/web" in patched.inner_text()
    assert patched.locator(".diff .add").all_inner_texts() == ['+   resourceVersion: "102"']


def test_a_failed_test_begins_with_what_it_failed_by(show: Open) -> None:
    page = show([passing(), failing()])

    page.click(".fail-item")

    said = page.inner_text("#t1 .cause")
    assert "expected status.phase == 'Running'" in said
    assert "'Pending'" in said
    assert "GET pods/web in shop → status.phase" in said
    body = page.inner_text("#t1 .body")
    order = [body.index(text) for text in ("expected", "tests/test_shop.py:31", "Timeline")]
    assert order == sorted(order)
    # Its call is open, and the assertion marked; another try of the same is not.
    assert page.locator(".culprit").count() == 1
    assert len(visible(page, ".culprit .assertions li")) == 3
    assert len(visible(page, ".assertions li.bad")) == 1


def test_a_link_leads_from_the_assertion_to_its_call(show: Open) -> None:
    page = show([*[passing(f"tests/test_a.py::test_{n}") for n in range(60)], failing()])

    page.click(".fail-item")
    page.click("#t60 .cause a")

    assert page.evaluate("location.hash").startswith("#t60-e")
    call = page.locator(".culprit > summary")
    box = call.bounding_box()
    assert 0 < box["y"] < 800
    assert page.evaluate("document.activeElement.closest('.culprit') !== null")


def test_an_address_with_a_place_opens_it(show: Open) -> None:
    page = show([passing(), failing()])
    address = page.url

    page.goto("about:blank")
    page.goto(f"{address}#t1")

    assert visible(page, "#t1 .cause") != []


def test_the_keyboard_reaches_everything(show: Open) -> None:
    page = show([passing(), failing(), failing("tests/test_b.py::test_second")])

    page.keyboard.press("n")
    assert page.evaluate("location.hash") == "#t1"
    page.keyboard.press("n")
    assert page.evaluate("location.hash") == "#t2"
    page.keyboard.press("p")
    assert page.evaluate("location.hash") == "#t1"
    page.keyboard.press("Enter")
    assert page.locator("#t1").get_attribute("open") is None
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("second")
    assert visible(page, ".test .name") == ["test_second"]
    page.keyboard.press("Escape")
    assert len(visible(page, ".test .name")) == 3
    page.focus("#search")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert visible(page, ".test .mark") == ["passed"]


def test_notes_logs_and_events_are_there(show: Open) -> None:
    page = show([failing()])

    page.click("#t0 > summary")

    body = page.inner_text("#t0 .body")
    for said in (
        "The cluster at the failure",
        "ImagePullBackOff",
        "Error: ErrImagePull: shop/web:1: not found",
        "ready for connections 7",
        "latency 200 ms on GET pods",
        "advanced by 1 h",
        "eventually: 3 looks",
        "export KUBECONFIG=",
        "kubectl",
    ):
        assert said in body, said
    assert [text.split()[0] for text in visible(page, ".phase")] == ["setup", "call", "teardown"]
    page.locator("details.line", has_text="watch").locator("summary").first.click()
    assert "MODIFIED" in page.inner_text("table.seen")
    assert "shop/web" in page.inner_text("table.seen")


def test_what_was_recorded_is_never_run(show: Open) -> None:
    page = show([hostile(), passing()])

    page.click("#t0 > summary")
    open_all(page)

    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert "</script><script>window.hacked=1</script>" in page.inner_text("#t0")
    assert visible(page, ".test .name")[1] == "test_a_pod_runs"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1600])
def test_it_fits_every_width_in_both_colours(
    browser: Any, tmp_path: Path, width: int, scheme: Any
) -> None:
    file = tmp_path / "report.html"
    file.write_text(
        render([passing(), failing("tests/test_a.py::test_" + "long_" * 40), hostile()])
    )
    page = browser.new_page(viewport={"width": width, "height": 700}, color_scheme=scheme)
    page.goto(file.as_uri())

    page.click("#t1 > summary")
    open_all(page)

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(int(part) for part in colour[4:-1].split(","))
    assert (bright > 600) == (scheme == "light")
    page.close()


def test_on_paper_what_failed_is_open(show: Open) -> None:
    page = show([passing(), failing()])

    page.emulate_media(color_scheme="dark")
    page.pdf()

    assert page.locator("#t1").get_attribute("open") is not None
    assert page.locator("#t0").get_attribute("open") is None
    # Paper is white, whatever the screen is.
    page.emulate_media(media="print", color_scheme="dark")
    ink = page.evaluate("getComputedStyle(document.querySelector('.failure')).color")
    sunk = page.evaluate("getComputedStyle(document.querySelector('.failure')).backgroundColor")
    assert sum(int(part) for part in ink[4:-1].split(",")) < 200
    assert sum(int(part) for part in sunk[4:-1].split(",")) > 600
    assert visible(page, "#tools") == []


def test_a_long_timeline_is_unpacked_when_it_is_opened(show: Open) -> None:
    (long,) = many(1, 400)
    page = show([passing(), long])

    page.click(".fail-item")
    page.wait_for_selector("#t1 .culprit .assertions li.bad")

    assert page.get_attribute("#data-1", "type") == "application/gzip"
    assert page.locator("#t1 details.line").count() == 200
    assert page.evaluate("location.hash") == "#t1"


def test_a_large_run_opens(show: Open) -> None:
    page = show(many(1000, 30))

    assert len(page.query_selector_all(".test")) == 1000
    assert len(page.query_selector_all(".fail-item")) == 20
    page.fill("#search", "test_number_999")
    page.click("#t999 > summary")
    page.wait_for_selector("#t999 details.line")
    assert page.locator("#t999 details.line").count() == 15
    # Only what is opened is made.
    assert page.locator("details.line").count() == 15
