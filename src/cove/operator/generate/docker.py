"""A Dockerfile for an operator that is a Python project; pure.

Built in one stage and run in another, as nobody; the project is installed as pip installs it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cove.operator.generate.files import File
from cove.operator.generate.options import Options
from cove.operator.generate.workload import USER, ports

if TYPE_CHECKING:
    from cove.operator.operator import Operator

__all__ = ["docker"]

_DOCKERFILE = """\
# Yours to change: it is not written again once it is there.
# docker build -f {dockerfile} -t {image} .
ARG PYTHON={python}

FROM python:${{PYTHON}} AS build
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /project
COPY . .
RUN pip install --no-cache-dir .

FROM python:${{PYTHON}}
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /venv /venv
USER {user}:{user}
{expose}ENTRYPOINT ["cove", "operator"]
CMD {command}
"""
_IGNORED = """\
# Yours to change: it is not written again once it is there.
.git
.venv
venv
**/__pycache__
**/*.pyc
.*_cache
build
dist
*.egg-info
tests
deploy
**/*.key
**/*.pem
**/kubeconfig
.env
"""


def docker(operator: Operator, options: Options) -> list[File]:
    """The Dockerfile and its .dockerignore."""
    numbers = [target for _, _, target in ports(operator)]
    if operator.settings.health_port:
        numbers.append(operator.settings.health_port)
    listed = " ".join(map(str, dict.fromkeys(numbers)))
    text = _DOCKERFILE.format(
        dockerfile="Dockerfile",
        image=options.image,
        python=options.python,
        user=USER,
        expose=f"EXPOSE {listed}\n" if listed else "",
        command=json.dumps(["run", options.module]),
    )
    return [
        File("Dockerfile", text=text, keep=True),
        File(".dockerignore", text=_IGNORED, keep=True),
    ]
