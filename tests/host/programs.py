"""Small programs that misbehave, for processes of a test."""

from __future__ import annotations

import sys

__all__ = ["SERVER", "python"]

# Serves HTTP on $PORT; GET /healthz is answered what is in the file "health", else 200.
SERVER = """
import http.server, os, pathlib
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = pathlib.Path("health")
        self.send_response(int(path.read_text()) if path.exists() else 200)
        self.end_headers()
    def log_message(self, *args): pass
print("serving", flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def python(text: str) -> list[str]:
    """A command that runs a few lines of Python."""
    return [sys.executable, "-u", "-c", text]
