"""`deconvnet info` tells what there is."""

import importlib.metadata
import json

import numpy as np

from deconvnet import __version__
from deconvnet.cli.main import main


def test_info_tells_versions_device_and_extras(capsys):
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["deconvnet"] == __version__ and found["libraries"]["numpy"] == np.__version__
    assert found["device"] in ("cpu", "cuda") and found["threads"] >= 1 and found["models"] == ["burst", "photo"]
    declared = set(importlib.metadata.metadata("deconvnet").get_all("Provides-Extra"))
    assert set(found["extras"]) == declared - {"bench"} and found["extras"]["test"] and found["blas"]  # bench is torch
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"deconvnet  {__version__}") and any(line.startswith("compiled") for line in lines)
