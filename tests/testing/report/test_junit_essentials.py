"""What JUnit's XML is given of a test, and that XML can hold it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tests.testing.report.report_world import Writer, failing, hostile, passing

from cove.testing.report import properties, system_out

pytest_plugins = ["pytester"]


def test_a_failure_s_properties_say_by_what_and_from_where() -> None:
    said = dict(properties(failing()))

    assert said["cove.calls"] == "6"
    assert said["cove.assertions"] == "3"
    assert said["cove.agents"] == "kubectl"
    assert said["cove.failed"] == "status.phase == 'Running'"
    assert said["cove.actual"] == "'Pending'"
    assert said["cove.failed.call"] == "GET pods/web in shop → status.phase"
    assert "report_world.py:" in said["cove.failed.where"]
    assert said["cove.kept"].startswith("export KUBECONFIG=")


def test_a_test_that_passed_has_its_counts() -> None:
    assert properties(passing()) == [("cove.calls", "3"), ("cove.assertions", "2")]


def test_the_output_has_the_last_calls_and_the_cluster() -> None:
    text = system_out(failing())

    assert text.startswith("calls:\n  +0 µs  CREATE services in shop → 201, 4 ms")
    assert "ImagePullBackOff" in text
    assert "ready for connections 7" in text
    w = Writer("test")
    for n in range(12):
        w.call("get", "pods", f"web-{n}")
    assert system_out(w.end()).startswith("last 10 of 12 calls:\n  +28 ms  GET pods/web-2 ")
    assert system_out(Writer("test").end()) == ""


def test_pytest_s_xml_holds_whatever_was_recorded(
    pytester: pytest.Pytester, tmp_path: Path
) -> None:
    root = str(Path(__file__).resolve().parents[3])
    pytester.makepyfile(
        f"""
        import sys
        sys.path.insert(0, {root!r})
        from tests.testing.report.report_world import failing, hostile
        from cove.testing.report import properties, system_out

        def test_one(record_property):
            for timeline in (failing(), hostile()):
                timeline.calls[0].error = "\\x00\\x1b[2J\\ud800"
                for name, value in properties(timeline):
                    record_property(name, value)
                print(system_out(timeline))
        """
    )
    file = tmp_path / "junit.xml"

    done = pytester.runpytest_subprocess(f"--junitxml={file}", "-o", "junit_logging=all")

    assert done.ret == 0
    (case,) = ET.parse(file).getroot().iter("testcase")
    said = [(p.get("name"), p.get("value")) for p in case.iter("property")]
    assert ("cove.failed.call", "GET pods/web in shop → status.phase") in said
    output = case.find("system-out")
    assert output is not None
    assert "PATCH pods/web in shop → 200" in str(output.text)


def test_what_xml_has_no_place_for_is_replaced() -> None:
    timeline = hostile()
    timeline.calls[0].error = "\x00\x1b[2J\ud800"

    system_out(timeline).encode()
    assert "\x1b" not in system_out(timeline)
    assert "�" in system_out(timeline)
