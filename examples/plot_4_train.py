"""
Train on your photographs
=========================

Bursts are synthesised from sharp photographs as training goes. This run is as short as a page can wait for; a
useful one takes hours, with the same command.
"""

import csv
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from skimage import data

import deconvnet
from deconvnet.cli.main import main
from deconvnet.io import read_image, write_image

# %%
# "Your photographs" are a folder of picture files. Here it is filled with some that scikit-image carries.

folder = Path(tempfile.mkdtemp())
photographs = folder / "photographs"
photographs.mkdir()
for name in ("astronaut", "camera", "chelsea", "coffee", "rocket"):
    write_image(photographs / f"{name}.png", getattr(data, name)() / 255)

# %%
# The command, as it would be typed after ``deconvnet``. ``--blur plain`` is the papers' setting; without it bursts are
# like a camera's. Whatever the options, a run that was interrupted goes on with ``--resume``.

run = folder / "run"
options = "--steps 60 --batch 2 --frames 4 --validation 8 --validate-every 20 --blur plain --quiet"
status = main(["train", "burst", "--images", str(photographs), "--out", str(run), *options.split()])
print("exit status:", status)

# %%
# What it leaves: the network, the curve, restored bursts, and a summary.

print(*sorted(file.name for file in run.iterdir()), sep="\n")
with (run / "metrics.csv").open() as file:
    for row in csv.DictReader(file):
        print({name: value for name, value in row.items() if "seconds" not in name})

# %%

figure, ax = plt.subplots(figsize=(9, 3.4), layout="constrained")
ax.imshow(read_image(run / "curve.png").pixels)
ax.set_axis_off()
plt.show()

# %%
# The network is used like the one that ships. After these few steps it is no better than none:
# ``deconvnet burst shots/* -o sharp.png --model …/model.safetensors``, or

network = deconvnet.load_model(run / "model.safetensors")
print(network.kind, network.name, sum(p.value.size for p in network.parameters().values()), "weights")
