"""A gateway that is developed in a cluster, and out of it.

    cove dev watch -f examples/dev-gateway/app.py

Its files are copied into the running pod when they change; another Dockerfile means a build.
Beside it are the same commands for make, just and mise.
"""

import sys

import cove

app = cove.App("gateway")
k8s = app.cluster("k8s", ports={8080: 30051}, registry_port=5000)
image = app.image(
    "gateway",
    ".",
    sync=[("src/**", "/www")],
    run_after_sync=[("date > /www/synced.txt", "src/**")],
)
web = k8s.manifests("web", "deploy/web.yaml", images={"example/gateway": "gateway"})
page = k8s.endpoint("page", service="gateway", port=80).after(web)

# cove dev run: the same pages, served by a process on this machine.
app.process(
    "local", [sys.executable, "serve.py"], port=0, env={"MODE": "local"}, watch=["*.py", "src/**"]
).reference(k8s, page, image)
