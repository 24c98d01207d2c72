"""What a user of Python may pass: taken where its meaning is plain, else one sentence that says what was expected."""

import multiprocessing
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hybrid_dip as hd
from hybrid_dip.errors import HybridDIPError
from tests.copies import InCopy
from tests.waiting import HANG

Y = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
MASK = (Y[:, :1] > 0.3).float()
TASK = hd.tasks.denoise(Y, sigma=0.1)
NOISY = hd.degradations.noisy(Y, sigma=0.1)


def make(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(in_channels, 4, 3, padding=1), nn.Sigmoid(), nn.Conv2d(4, out_channels, 1))


def lazy(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3, padding=1), nn.LazyBatchNorm2d(), nn.LazyConv2d(out_channels, 1))


RECIPE = hd.Recipe(make, partial(hd.latents.uniform, channels=3), steps=2)


def restore(task: Any = TASK, **options: Any) -> hd.Result:
    return hd.restore(task, **{"preset": RECIPE, "device": "cpu", **options})


def recipe(**changed: Any) -> Any:
    return restore(preset=replace(RECIPE, **changed))


def fit(network: Any = None, z: Any = Y, task: Any = TASK, **options: Any) -> hd.Fit:
    return hd.fit(make(3, 3) if network is None else network, z, task, **{"max_steps": 2, **options})


tv = hd.TV()
MEANT: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "regularisers None": (lambda: restore(regularisers=None), restore),
    "None among them": (lambda: restore(regularisers=[None]), restore),
    "a class": (lambda: restore(regularisers=hd.TV), lambda: restore(regularisers=1 * tv)),
    "a class with a weight": (lambda: restore(regularisers=0.1 * hd.TV), lambda: restore(regularisers=0.1 * tv)),
    "a class in a term": (lambda: restore(regularisers=hd.Term(hd.TV, 0.1)), lambda: restore(regularisers=0.1 * tv)),
    "sum of terms": (
        lambda: restore(regularisers=sum([0.1 * tv, 0.2 * tv])),
        lambda: restore(regularisers=0.1 * tv + 0.2 * tv),
    ),
    "sum of sums": (
        lambda: restore(regularisers=sum([0.1 * tv + 0.2 * tv, 0.3 * tv])),
        lambda: restore(regularisers=0.1 * tv + 0.2 * tv + 0.3 * tv),
    ),
    "a list and a sum": (
        lambda: restore(regularisers=[0.1 * tv] + (0.2 * tv + 0.3 * tv)),
        lambda: restore(regularisers=0.1 * tv + 0.2 * tv + 0.3 * tv),
    ),
    "lists in it": (
        lambda: restore(regularisers=[[0.1 * tv], 0.2 * tv]),
        lambda: restore(regularisers=0.1 * tv + 0.2 * tv),
    ),
    "a NumPy number": (lambda: restore(regularisers=np.float64(0.1) * tv), lambda: restore(regularisers=0.1 * tv)),
    "a tensor as weight": (lambda: restore(regularisers=torch.tensor(0.5) * tv), lambda: restore(regularisers=0.5 * tv)),
    "device None": (lambda: restore(device=None), lambda: restore(device="auto")),
    "a device": (lambda: restore(device=torch.device("cpu")), restore),
    "steps 2.0": (lambda: restore(steps=2.0, runs=1.0, seed=0.0, log_every=1.0), restore),
    "a NumPy count": (lambda: restore(steps=np.int64(2)), restore),
    "rule None": (lambda: restore(rule=None), restore),
    "lazy layers": (lambda: recipe(network=lazy), lambda: recipe(network=lazy)),
    "factor 2.0": (
        lambda: restore(hd.tasks.super_resolve(Y, factor=2.0)),
        lambda: restore(hd.tasks.super_resolve(Y, factor=2)),
    ),
    "a mask of booleans": (lambda: restore(hd.tasks.inpaint(Y, MASK.bool())), lambda: restore(hd.tasks.inpaint(Y, MASK))),
    "a mask of whole numbers": (lambda: restore(hd.tasks.inpaint(Y, MASK.int())), lambda: restore(hd.tasks.inpaint(Y, MASK))),
    "an image as a task": (lambda: restore(Y), lambda: restore(hd.tasks.denoise(Y))),
    "a case as a task": (lambda: restore(hd.degradations.noisy(Y, sigma=0.1)), lambda: restore(NOISY.task)),
    "no noise by None": (
        lambda: restore(hd.tasks.inpaint(Y, MASK, sigma=None)),
        lambda: restore(hd.tasks.inpaint(Y, MASK)),
    ),
}


@pytest.mark.filterwarnings("ignore:.*is a new feature:UserWarning")
@pytest.mark.parametrize("name", MEANT)
def test_what_has_a_plain_meaning_is_taken(name: str) -> None:
    given, meant = (call() for call in MEANT[name])
    assert torch.equal(given.image, meant.image)


def test_lazy_layers_are_made_in_a_bare_fit_as_well() -> None:
    assert fit(lazy(3, 3)).image.shape == Y.shape
    assert fit(checkpoint=None, max_steps=2.0).steps == 2


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "a number as a task": (lambda: restore(3), "The observation must be a tensor .* got 3"),
    "a list as an image": (lambda: hd.tasks.denoise([Y, Y]), "The observation must be a tensor .* got a list"),
    "channels first": (lambda: hd.tasks.jpeg(np.zeros((3, 16, 16))), r"seems to be \(C, H, W\); \(H, W, C\) was expected"),
    "a batch of arrays": (lambda: hd.tasks.jpeg(np.zeros((1, 16, 16, 3))), r"shape \(1, 16, 16, 3\); \(H, W\) or"),
    "long integers": (lambda: hd.tasks.jpeg(np.zeros((16, 16), int)), "whole numbers of the type int64, whose white is not"),
    "an array of texts": (lambda: hd.tasks.jpeg(np.array([["a"]])), "is an array of <U1"),
    "an array on another scale": (lambda: hd.tasks.jpeg(np.full((16, 16), 99.0)), "values from 99 to 99, .* divide by"),
    "another shape in a metric": (lambda: hd.metrics.psnr(Y[0].numpy(), Y), r"seems to be \(C, H, W\)"),
    "to save, the path first": (lambda: hd.save_image("a.png", Y), "The file to write must be a path, got a tensor"),
    "a SPEC": (lambda: restore(regularisers="tv@0.05"), r"such as 0.05 \* hd.TV\(\), .*; got the text 'tv@0.05'"),
    "a number": (lambda: restore(regularisers=0.05), "Regularisers are terms .*; got 0.05"),
    "a tensor": (lambda: restore(regularisers=Y), "Regularisers are terms .*; got a tensor"),
    "a dictionary": (lambda: restore(regularisers={"tv": 0.1}), "Regularisers are terms .*; got a dict"),
    "a text as weight": (lambda: hd.Term(tv, "0.1"), "weight of a term must be a finite number of at least 0, got the text"),
    "a negative weight": (lambda: -0.1 * tv, "weight of a term .* got -0.1"),
    "True as weight": (lambda: True * tv, "weight of a term .* got True"),
    "no weight": (lambda: hd.Term(tv, None), "weight of a term .* got None"),
    "a class that needs an option": (
        lambda: restore(regularisers=hd.regularisers.GuidePixels),
        "needs an image to compare with",
    ),
    "a number as device": (lambda: restore(device=0), "A device must be a name such as cpu .* got 0"),
    "steps 2.5": (lambda: restore(steps=2.5), "steps must be a whole number of at least 1, got 2.5"),
    "steps True": (lambda: restore(steps=True), "steps must be a whole number .* got True"),
    "steps as text": (lambda: restore(steps="2"), "steps must be a whole number .* got the text '2'"),
    "steps inf": (lambda: restore(steps=float("inf")), "steps must be a whole number .* got inf"),
    "seed True": (lambda: restore(seed=True), "seed must be a whole number of at least 0, got True"),
    "seed None": (lambda: restore(seed=None), "seed must be a whole number of at least 0, got None"),
    "seed -1": (lambda: restore(seed=-1), "seed must be a whole number of at least 0, got -1"),
    "tile as text": (lambda: restore(tile="auto"), "tile must be a whole number of at least 0, got the text 'auto'"),
    "a budget as text": (lambda: restore(time_budget="10"), "time_budget must be a finite number above 0, got the text '10'"),
    "a rule's name": (lambda: restore(rule="wmv"), "The stopping rule 'str' has no 'start'"),
    "a precision": (lambda: restore(execution="bfloat16"), "execution must be an Execution .* got the text 'bfloat16'"),
    "hooks None": (lambda: restore(hooks=None), "hooks must be a function .* got None"),
    "preset None": (lambda: restore(preset=None), "A preset is a name such as 'fast', .* got None"),
    "a network as preset": (lambda: restore(preset=make(3, 3)), "got a Sequential; a network of your own goes into hd.Recipe"),
    "a builder as preset": (lambda: restore(preset=make), "The preset 'make' failed: TypeError"),
    "a preset of nothing": (lambda: restore(preset=lambda task: None), "A preset is a name .* got a function"),
    "a ready network": (
        lambda: recipe(network=make(3, 3)),
        "a module that is ready goes into hd.fit",
    ),
    "a ready lazy network": (lambda: recipe(network=lazy(3, 3)), "is a function .* got a Sequential"),
    "a network's name": (lambda: recipe(network="skip"), "is a function .*such as hd.networks.skip, got the text 'skip'"),
    "a ready latent": (lambda: recipe(latent=Y), "The latent of a recipe is a function size -> z, got a tensor"),
    "a learning rate as text": (lambda: recipe(lr="0.01"), "The learning rate must be a number .* got the text '0.01'"),
    "a jitter below 0": (lambda: recipe(jitter=-0.1), "jitter must be a finite number of at least 0, got -0.1"),
    "torch's optimiser": (lambda: recipe(optimizer=torch.optim.Adam), "such as hd.optimizers.adam, got the class Adam"),
    "a batch": (
        lambda: hd.tasks.denoise(torch.rand(2, 3, 16, 16)),
        r"the shape \(1, C, H, W\), got \(2, 3, 16, 16\)",
    ),
    "no mask": (lambda: hd.tasks.inpaint(Y, None), "The mask must be a tensor .* got None"),
    "a PSF's name": (lambda: hd.tasks.deblur(Y, "gaussian:2"), "A point spread function must be a tensor .* got the text"),
    "factor 2.5": (lambda: hd.tasks.super_resolve(Y, factor=2.5), "must be a whole number of at least 2, got 2.5"),
    "factor True": (lambda: hd.tasks.super_resolve(Y, factor=True), "must be a whole number of at least 2, got True"),
    "factor -2": (lambda: hd.tasks.super_resolve(Y, factor=-2), "must be a whole number of at least 2, got -2"),
    "downsampling by 2.5": (lambda: hd.operators.Downsample(2.5), "factor of a downsampler must be a whole number"),
    "no kernel": (lambda: hd.operators.Downsample(2, None), "A downsampling kernel must be a name"),
    "no pattern": (lambda: hd.tasks.demosaic(Y, pattern=None), "A Bayer pattern must be a name"),
    "sigma as text": (
        lambda: hd.tasks.denoise(Y, sigma="25"),
        "noise level must be a finite number .* got the text",
    ),
    "sigma True": (lambda: hd.tasks.denoise(Y, sigma=True), "noise level must be a finite number .* got True"),
    "a fidelity's name": (lambda: hd.tasks.denoise(Y, fidelity="poisson"), "The fidelity must be a function such as"),
    "a matrix": (lambda: hd.tasks.linear(Y, Y), "The forward operator must be a function"),
    "one side": (lambda: hd.tasks.linear(Y, lambda x: x, shape=16), r"must be of a shape \(1, C, H, W\)"),
    "a shape as text": (lambda: hd.tasks.linear(Y, lambda x: x, shape="16,16"), r"must be of a shape \(1, C, H, W\)"),
    "an array as weight": (
        lambda: hd.tasks.linear(Y, lambda x: x, weight=np.ones(3)),
        "weight must be a tensor, got a NumPy",
    ),
    "a builder in a fit": (lambda: fit(make), "The network must be a torch module, made already, got a function"),
    "a class in a fit": (lambda: fit(nn.Conv2d), "The network must be a torch module, made already, got the class Conv2d"),
    "a latent's builder": (lambda: fit(z=hd.latents.uniform), "The latent must be a tensor of floats.* got a function"),
    "an image in a fit": (lambda: fit(task=Y), "A task such as .* got a tensor"),
    "an average as text": (lambda: fit(average="0.9"), "average must be a decay such as 0.99, or Growing, got the text"),
    "an optimiser's object": (
        lambda: fit(optimizer=torch.optim.SGD([Y.clone()])),
        "must be a function of the parameters",
    ),
    "what is optimised": (lambda: fit(optimise="all"), "'network', 'latent' or 'both', got the text 'all'"),
    "a bare observer": (lambda: fit(observers=print), "observers must be a list of functions"),
    "a checkpoint's path": (lambda: fit(checkpoint="x.pt"), "checkpoint must be an hd.Checkpoint, got the text 'x.pt'"),
    "a seed as generator": (lambda: fit(generator=3), "generator must be a torch.Generator, got 3"),
    "a fallback as text": (lambda: fit(fallback="5"), "fallback must be a finite number of at least 0, got the text '5'"),
    "a tensor to load": (lambda: hd.load_image(Y), "An image file must be a path, got a tensor"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_has_none_is_a_sentence(name: str) -> None:
    call, words = WRONG[name]
    with pytest.raises(HybridDIPError, match=words) as error:
        call()
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("term", [lambda: 2 * (0.1 * tv), lambda: (0.1 * tv) * 2, lambda: tv * 0.1, lambda: tv + 0.1 * tv])
def test_an_algebra_that_is_none_says_how_terms_are_written(term: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match=r"the weight first, as in 0.1 \* TV\(\)"):
        term()


def some_results(y: Tensor) -> list[Tensor]:
    """Tasks and priors of several kinds, made and fitted under the mode that is on."""
    mask = (y[:, :1] > 0.3).float()
    given = [
        hd.tasks.denoise(y),
        hd.tasks.inpaint(y, mask),
        hd.tasks.super_resolve(y, factor=2),
        hd.tasks.deblur(y, torch.ones(3, 3)),
        hd.tasks.flash(y, y.flip(1)),
        hd.tasks.linear(y, lambda x: 0.5 * x),
        hd.degradations.noisy(y, sigma=0.1).task,
    ]
    terms = [
        0.1 * hd.TV(),
        0.1 * hd.regularisers.Wavelet(),
        0.1 * hd.regularisers.GuideGradients(y),
        hd.regularisers.WeightDecay,
    ]
    solved = replace(RECIPE, solver=hd.solvers.ADMM(), jitter=0.1)
    return [restore(task).image for task in given] + [
        restore(given[0], regularisers=terms, rule=hd.selection.Bootstrap()).image,
        restore(given[0], preset=solved, regularisers=0.1 * hd.TV()).image,
    ]


@pytest.mark.parametrize("mode", ["inference", "no grad", "double"])
def test_the_caller_s_mode_changes_nothing(mode: str) -> None:
    expected = some_results(Y)
    if mode == "double":
        torch.set_default_dtype(torch.float64)
        try:
            found = some_results(Y)
        finally:
            torch.set_default_dtype(torch.float32)
    else:
        with torch.inference_mode() if mode == "inference" else torch.no_grad():
            found = some_results(Y.clone())
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_a_network_made_for_inference_is_a_sentence() -> None:
    network = make(3, 3)
    with torch.inference_mode():
        assert fit(network).steps == 2
        with pytest.raises(HybridDIPError, match=r"made under torch.inference_mode"):
            fit(make(3, 3))


def restore_in_forks() -> list[tuple[str, list[str]]]:
    """Fit with two threads, then in processes forked from this one, of which the second wants two threads as well."""
    torch.set_num_threads(2)
    y = torch.rand(1, 3, 128, 128)  # large enough for torch to share each operation out among threads
    restore(hd.tasks.denoise(y, sigma=0.1))
    fork = multiprocessing.get_context("fork")
    said = []
    for threads in (None, 2):
        answers = fork.Queue()
        child = fork.Process(target=_answer, args=(y, threads, answers))
        child.start()
        said.append(answers.get(timeout=HANG))
        child.join(HANG)
    return said


def _answer(y: Tensor, threads: int | None, answers: Any) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            said = str(tuple(restore(hd.tasks.denoise(y, sigma=0.1) if threads is None else TASK).image.shape))
        except HybridDIPError as error:
            said = str(error)
    answers.put((said, [str(one.message) for one in caught]))


def test_a_process_forked_after_a_fit_says_what_it_lacks(in_copy: InCopy) -> None:
    (alone, warned), (in_two, _) = in_copy(restore_in_forks)
    assert alone == "(1, 3, 128, 128)"
    assert "computes with one thread; for more, start it by multiprocessing.get_context('spawn')" in warned[0]
    assert in_two.startswith("This process was forked after a fit, so torch has one thread only in it")
