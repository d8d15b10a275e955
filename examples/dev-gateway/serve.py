"""The gateway out of the cluster: the pages of src/, and at /about what it was given."""

import os
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

GIVEN = ("KUBECONFIG", "MODE", "services__page__url", "images__gateway__reference")


class Handler(SimpleHTTPRequestHandler):
    """Files, and what the environment says."""

    def do_GET(self) -> None:
        """Answer one request."""
        if self.path != "/about":
            super().do_GET()
            return
        body = "".join(f"{name}={os.environ.get(name, '')}\n" for name in GIVEN).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    folder = str(Path(__file__).parent / "src")
    address = ("127.0.0.1", int(os.environ["PORT"]))
    with HTTPServer(address, partial(Handler, directory=folder)) as server:
        print(f"serving on http://127.0.0.1:{server.server_port}")
        server.serve_forever()
