"""The page as a file: whole, of one piece, readable without scripts, safe to embed anything in."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re

from tests.testing.report.report_world import Writer, failing, hostile, many, passing

from cove.testing.report import Run, render
from cove.testing.timeline import Timeline


def embedded(page: str) -> dict[str, object]:
    """The JSON in a page, by the id of its element."""
    found = re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', page)
    return {name: json.loads(text) for name, text in found}


def test_timelines_are_in_the_page_as_they_are() -> None:
    timeline = failing()

    data = embedded(render([passing(), timeline], Run("Shop", "k3s")))

    assert data["data-1"] == json.loads(json.dumps(timeline.to_json()))
    assert Timeline.from_json(data["data-1"]).to_json() == timeline.to_json()  # type: ignore[arg-type]
    assert len(data) == 3


def test_long_timelines_are_packed() -> None:
    (timeline,) = many(1, 400)

    page = render([timeline])

    (packed,) = re.findall(r'<script type="application/gzip" id="data-0">(.*?)</script>', page)
    assert json.loads(gzip.decompress(base64.b64decode(packed))) == timeline.to_json()
    assert len(packed) * 5 < len(json.dumps(timeline.to_json()))


def test_the_page_is_of_one_piece() -> None:
    page = render([passing(), failing()])

    assert not re.search(r"""(?:src|href)=["'](?!data:,|#)""", page)
    assert "@import" not in page
    assert "url(" not in page
    assert "http://" not in page
    assert "https://" not in page


def test_the_policy_allows_this_script_and_no_other() -> None:
    page = render([hostile()])

    policy = html.unescape(re.findall(r'Content-Security-Policy" content="(.*?)"', page)[0])
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_nothing_recorded_is_markup() -> None:
    page = render([hostile()], Run("</title><script>1</script>", facts={"<b>": "</script>"}))

    assert "<script>window" not in page
    assert "<img" not in page
    assert "<script>1" not in page
    assert "\u2028" not in re.sub(r'<script type="application/json".*?</script>', "", page)


def test_without_scripts_failures_can_be_read() -> None:
    page = render([passing(), failing()])

    (plain,) = re.findall(r"<noscript>(.*?)</noscript>", page, re.DOTALL)
    text = html.unescape(re.sub(r"<[^>]+>", "", plain))
    assert "1 passed, 1 failed" in text
    assert "TestOrders::test_the_shop_answers (680 ms)" in text
    assert "from GET pods/web in shop → status.phase" in text


def test_what_json_cannot_say_is_said_somehow() -> None:
    w = Writer("test")
    w.note("text", "odd", data={1: {"a", "b"}, "big": 2**70, "text": "\ud800", "at": ("x", 1)})

    events = embedded(render([w.end()]))["data-0"]["events"]  # type: ignore[index]

    assert events[0]["data"]["at"] == ["x", 1]
    assert events[0]["data"]["big"] == 2**70


def test_a_run_without_tests_is_a_page() -> None:
    assert "<title>Test report</title>" in render([])
