"""Started on demand (``cove start report``): what the api has to say, as log lines."""

import json
import os
import urllib.request

with urllib.request.urlopen(f"{os.environ['services__api__url']}/offers") as answer:
    for name, price in json.load(answer).items():
        print(f"{name} costs {price}")
