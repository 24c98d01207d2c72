"""
How many decibels did each prior bring?
=======================================

What two priors bring together is not the sum of what each brings alone, because they may know the same things. Shapley values
divide the gain among them.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from hybrid_dip.study.describe.plan import plan_study
from hybrid_dip.study.describe.settings import read_study
from hybrid_dip.study.reporting.attribution import attribute_study
from hybrid_dip.study.reporting.results import write_results
from hybrid_dip.study.running.run import run_study
from hybrid_dip.study.running.store import Store

steps, side = 250, 64

# %%
# Every subset is an arm
# ----------------------
# Half of the pixels are missing. The architecture of the network is out where each pixel is a parameter. Patch recurrence has
# the weight that experiment 006 chose on other images. Without any prior the gaps are filled from their surroundings.

place = tempfile.TemporaryDirectory()
folder = Path(place.name)
(folder / "study.toml").write_text(f"""
name = "which-prior"
images = [
    {{ path = "skimage:astronaut", name = "face", crop = [88, 192, {side}, {side}] }},
    {{ path = "skimage:coffee", name = "spoon", crop = [200, 310, {side}, {side}] }},
    {{ path = "skimage:chelsea", name = "eye", crop = [80, 136, {side}, {side}] }},
]

[[tasks]]
kind = "missing-pixels"
share = 0.5

[attribution]
none = "baseline"
common = {{ preset = "fast", runs = 1, steps = {steps} }}

[[attribution.priors]]
name = "architecture"
off = {{ network = "pixels", optimizer = "adam", lr = 0.01, jitter = 0.0 }}

[[attribution.priors]]
name = "recurrence"
regularisers = ["non-local@0.1"]
""")
plan, store = plan_study(read_study(folder / "study.toml")), Store(folder / "out")
with ThreadPoolExecutor(1) as executor:
    run_study(plan, store, executor)
table = write_results(plan, store)
means = table.groupby("arm")["psnr"].mean()
alone = means[["architecture", "recurrence"]] - means["none"]
both = means["architecture + recurrence"] - means["none"]
print(f"architecture alone {alone.iloc[0]:+.2f} dB, recurrence alone {alone.iloc[1]:+.2f} dB, both {both:+.2f} dB")
table.pivot(index="image", columns="arm", values="psnr").round(2)

# %%
# The division
# ------------
# Here both bring less than the sum. A prior's value is what it adds, as a mean over all orders in which the priors may come.
# The values sum to the whole gain. On the command line it is ``hybrid-dip study attribute study.toml -o out``.

summary = attribute_study(plan, store, table)
print(f"all priors: {summary['total_db']:+.2f} dB")
pd.DataFrame(summary["shapley_db"]).T.round(2)

# %%
# The same as a picture, from no prior to both, with 95 % intervals over the images. Three images are few: the intervals are
# wide.

picture = plt.imread(folder / "out/attribution.png")
plt.figure(figsize=(7, 7 * picture.shape[0] / picture.shape[1]), layout="constrained")
plt.imshow(picture)
plt.axis("off")
plt.show()
