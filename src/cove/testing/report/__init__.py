"""What a run of tests is told as: a page of HTML, JUnit's XML, text on a terminal.

All of it is made of timelines, when the tests are over.  For the plugin: :func:`render` at the end of
the session, :func:`failure` for a failed test's section, :func:`properties` and :func:`system_out` for
its JUnit test case.
"""

from cove.testing.report.html import Run, render
from cove.testing.report.junit import properties, system_out
from cove.testing.report.terminal import failure

__all__ = ["Run", "failure", "properties", "render", "system_out"]
