"""
A study with its report
=======================

Does total variation help? One image says little, so a study runs every image, task, seed and arm of one file, and makes a
report with intervals.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from hybrid_dip.study.describe.plan import plan_study
from hybrid_dip.study.describe.settings import read_study
from hybrid_dip.study.reporting.report import report_study
from hybrid_dip.study.running.run import run_study
from hybrid_dip.study.running.store import Store

steps, side = 300, 64

# %%
# The file
# --------
# An arm is a preset with what differs from it. Images are files, or sample images of scikit-image. The preset ``fast`` ends
# each fit when the residual has the size of the noise.

place = tempfile.TemporaryDirectory()
folder = Path(place.name)
(folder / "study.toml").write_text(f"""
name = "tv-or-not"
seeds = [0]
images = [
    {{ path = "skimage:astronaut", name = "face", crop = [88, 192, {side}, {side}] }},
    {{ path = "skimage:coffee", name = "spoon", crop = [200, 310, {side}, {side}] }},
    {{ path = "skimage:chelsea", name = "eye", crop = [80, 136, {side}, {side}] }},
]

[[tasks]]
kind = "denoise"
sigma = 25

[[arms]]
name = "dip"
preset = "fast"
runs = 1
steps = {steps}

[[arms]]
name = "dip+tv"
preset = "fast"
runs = 1
steps = {steps}
regularisers = ["tv@balance=0.3"]
""")

# %%
# Run and report
# --------------
# On the command line this is ``hybrid-dip study run study.toml -o out`` and ``hybrid-dip study report study.toml -o out``, with
# a process for each core. Interrupt it and repeat it: what is finished is not done again.

plan, store = plan_study(read_study(folder / "study.toml")), Store(folder / "out")
with ThreadPoolExecutor(1) as executor:
    print(run_study(plan, store, executor))
report = report_study(plan, store)
print(*sorted(Path(file).name for file in report["files"]))

# %%
# Its table
# ---------
# Means over the images, with 95 % intervals.

table = pd.DataFrame(report["summary"])
table[["arm", "metric", "mean", "low", "high", "images"]].round(3)

# %%
# What counts is an arm's difference from the first one, image by image. Both intervals hold 0: these fits are stopped in time
# already, and total variation adds nothing.

pd.DataFrame(report["against"])[["arm", "metric", "mean", "low", "high", "p"]].round(3)

# %%
# Its pictures
# ------------
# ``report.html`` shows them with a divider to drag. It is one file that needs no network.

for file in sorted((folder / "out/pictures").glob("*.png")):
    picture = plt.imread(file)
    plt.figure(figsize=(8, 8 * picture.shape[0] / picture.shape[1]), layout="constrained")
    plt.imshow(picture)
    plt.axis("off")
plt.show()
