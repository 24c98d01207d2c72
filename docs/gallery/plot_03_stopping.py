"""
Stopping rules on one curve
===========================

A fit that goes on for long enough fits the noise. Several rules follow the same fit here, and say which step they would keep.
None of them sees the clean image.
"""

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import skimage.data

import hybrid_dip as hd

steps, side = 700, 64

# %%
# One long fit
# ------------
# The network of the preset ``fast`` is fitted once, for all steps: ``rule`` takes the place of the preset's own rule. A rule
# that follows the fit is an observer of it.

photo = hd.load_image(Path(skimage.data.__file__).with_name("chelsea.png"))
clean = photo[..., 72 : 72 + side, 130 : 130 + side]
case = hd.degradations.noisy(clean, sigma=25 / 255)
rules = {
    "discrepancy": hd.stopping.Discrepancy(),
    "whiteness": hd.stopping.Whiteness(),
    "windowed variance": hd.stopping.WindowedVariance(window=50, patience=300),
    "moving variance": hd.stopping.MovingVariance(patience=300),
}
followed = {name: hd.stopping.Following(rule, case.task) for name, rule in rules.items()}
recipe = replace(hd.presets.fast(case.task), runs=1, steps=steps)
hooks = hd.FitHooks(list(followed.values()))
result = hd.restore(case, preset=recipe, rule=hd.stopping.MaxSteps(), log_every=1, hooks=lambda fit: hooks)

# %%
# Where each would stop
# ---------------------
# The best step is an oracle: only the clean image can name it.

best = max(result.psnr, key=result.psnr.get)
kept = {name: (one.kept_at, hd.metrics.psnr(case.task.finish(one.image), clean)) for name, one in followed.items()}
kept["all steps"] = (steps - 1, result.psnr[steps - 1])
print(f"best (oracle):     step {best:4}, {result.psnr[best]:.2f} dB")
for name, (step, psnr) in kept.items():
    print(f"{name + ':':18} step {step:4}, {psnr:.2f} dB, {result.psnr[best] - psnr:.2f} dB below")

figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
axis.plot(list(result.psnr), list(result.psnr.values()), color="black", label="the fit")
axis.plot(best, result.psnr[best], "*", markersize=14, color="gold", label=f"best (oracle), {result.psnr[best]:.2f} dB")
for marker, (name, (step, psnr)) in zip("osD^v", kept.items(), strict=True):
    axis.plot(step, psnr, marker, markersize=8, label=f"{name}, {psnr:.2f} dB")
axis.set(xlabel="step", ylabel="PSNR (dB)", ylim=(result.psnr[best] - 6, result.psnr[best] + 0.5))
axis.legend()
axis.grid(alpha=0.3)
plt.show()

# %%
# The discrepancy principle needs the noise level, the others do not. One image says little: experiment 009 has the rules on 24
# cases, and selection by held-out pixels and by the bootstrap.
