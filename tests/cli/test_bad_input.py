"""Bad input on the command line: one sentence, status 2, nothing written."""

from pathlib import Path

import pytest

from tests.command import SMALL, Command
from tests.images.test_files import BAD_FILES

BAD = {
    "missing file": (["nothing.png"], "There is no file nothing.png"),
    "folder without images": (["folder"], "there are no images in"),
    "empty file": (["empty.png"], "is empty"),
    "text": (["text.png"], "not an image"),
    "one pixel": (["one.png"], "at least 16x16"),
    "mask size": (["noisy.png", "--task", "inpaint", "--mask", "mask31.png"], "same size"),
    "empty mask": (["noisy.png", "--task", "inpaint", "--mask", "mask_empty.png"], "no pixel as known"),
    "full mask": (["noisy.png", "--task", "inpaint", "--mask", "mask_full.png"], "every pixel as known"),
    "grey mask": (["noisy.png", "--task", "inpaint", "--mask", "mask_grey.png"], "only 255"),
    "coloured mask": (
        ["noisy.png", "--task", "inpaint", "--mask", "mask_colour.png"],
        "is in colour, which would fill in single",
    ),
    "empty word": (["", "--task", "denoise"], "What follows 'restore' is empty"),
    "empty option": (["noisy.png", "--reference="], "What follows '--reference' is empty"),
    "folder of bad files": (
        ["damaged"],
        "3 images cannot be used (empty: ",
    ),
    "no mask": (["noisy.png", "--task", "inpaint"], "needs --mask"),
    "negative sigma": (["noisy.png", "--sigma", "-5"], "at least 0"),
    "NaN sigma": (["noisy.png", "--sigma", "nan"], "at most 2550, got nan"),
    "text sigma": (["noisy.png", "--sigma", "much"], "--sigma"),
    "factor 0": (["noisy.png", "--task", "super-resolve", "--factor", "0"], "at least 2"),
    "factor above the image": (["noisy.png", "--task", "super-resolve", "--factor", "1000"], "exceeds"),
    "unknown task": (["noisy.png", "--task", "denoize"], "did you mean 'denoise'"),
    "unknown preset": (["noisy.png", "--preset", "orignal"], "did you mean 'original'"),
    "unknown device": (["noisy.png", "--device", "gpu"], "Unknown device"),
    "unknown network": (["noisy.png", "--network", "skipp"], "did you mean 'skip'"),
    "unknown noise": (["noisy.png", "--noise", "poison"], "did you mean 'poisson'"),
    "unknown regulariser": (["noisy.png", "-R", "tvv@0.1"], "did you mean 'tv'"),
    "negative weight": (["noisy.png", "-R", "tv@-1"], "at least 0"),
    "regulariser's option": (["noisy.png", "-R", "tv:epsilom=1@1"], "'tv' has no option 'epsilom': did you mean 'epsilon'"),
    "type of a regulariser's option": (["noisy.png", "-R", "tv:epsilon=small@1"], "'epsilon' of 'tv' must be of type float"),
    "weight": (["noisy.png", "-R", "tv@heavy"], "'tv@heavy': 'heavy' is not a weight"),
    "prior that is none": (["noisy.png", "-R", "prior.py:calls@1"], "'prior.py:calls@1': A term needs a callable"),
    "schedule": (["noisy.png", "--lr-schedule", "cosin=1..0"], "--lr-schedule 'cosin=1..0': There is no schedule 'cosin'"),
    "file with a syntax error": (["noisy.png", "-R", "broken.py:prior@1"], "'broken.py' cannot be loaded: SyntaxError"),
    "prior without a gradient": (["noisy.png", "-R", "prior.py:detached@1"], "'detached' returns a tensor cut off"),
    "prior of three channels": (["grey.png", "--sigma", 25, "-R", "prior.py:colour@1"], "'colour' failed at step 0"),
    "vector prior": (["noisy.png", "-R", "prior.py:mine@1"], "'mine' must return a scalar"),
    "prior of two arguments": (["noisy.png", "-R", "prior.py:two@1"], "'two' failed at step 0"),
    "prior that leaves": (["noisy.png", "-R", "prior.py:leaves@1"], "'leaves' failed at step 0: SystemExit"),
    "prior that fails later": (["noisy.png", "-R", "prior.py:later@1", "--steps", "30"], "'later' must return a scalar"),
    "prior that cannot be bound": (["noisy.png", "-R", "prior.py:Unbound@1"], "'Unbound' failed to bind"),
    "prior that binds to nothing": (["noisy.png", "-R", "prior.py:Nowhere@1"], "'Nowhere' is bound to NoneType"),
    "prior of a fresh tensor": (["noisy.png", "-R", "prior.py:fresh@1"], "'fresh' returns a tensor cut off from the image"),
    "prior of its own parameter": (["noisy.png", "-R", "prior.py:Own@1"], "'Own' returns a tensor cut off from the image"),
    "term of the network, of a fresh tensor": (
        ["noisy.png", "-R", "prior.py:fresh_of_network@1"],
        "'fresh_of_network' returns a tensor cut off from the network",
    ),
    "prior whose gradient fails": (["noisy.png", "-R", "prior.py:one_way@1"], "'one_way' failed at step 0, in its gradient"),
    "prior with a NaN gradient": (["noisy.png", "-R", "prior.py:root@1"], "'root' has a gradient that is not finite"),
    "rule that is none": (["noisy.png", "--stop", "prior.py:number"], "'number' has no 'start'"),
    "rule without an update": (["noisy.png", "--stop", "prior.py:Deaf"], "'Deaf' has no 'update'"),
    "rule that says nothing": (["noisy.png", "--stop", "prior.py:Mute"], "'Mute' must return a dictionary and a Verdict"),
    "rule that fails to start": (["noisy.png", "--stop", "prior.py:Lost"], "'Lost' failed to start: AttributeError"),
    "network that fails at work": (["noisy.png", "--network", "prior.py:Broken"], "The network failed at step 0: IndexError"),
    "network of two outputs": (["noisy.png", "--network", "prior.py:Twice"], "The network must return an image"),
    "file that leaves": (["noisy.png", "-R", "leaves.py:prior@1"], "cannot be loaded: SystemExit"),
    "file without a name": (["noisy.png", "-R", "prior.py@1"], "prior.py:NAME"),
    "option twice": (["noisy.png", "-R", "tv:epsilon=1,epsilon=2@1"], "occurs twice"),
    "rule's own option": (["noisy.png", "--stop", "max_steps:reason=5"], "no option 'reason'"),
    "window": (["noisy.png", "--stop", "wmv:window=1000000000"], "window of 2 to"),
    "network that is none": (["noisy.png", "--network", "prior.py:number"], "must be a torch module"),
    "network that fails": (["noisy.png", "--network", "prior.py:two"], "cannot be made"),
    "latent of flash": (
        ["noisy.png", "--task", "flash", "--guide", "clean.png", "--latent", "meshgrid"],
        "--latent does not go",
    ),
    "blank guide": (["noisy.png", "--task", "flash", "--guide", "mask_full.png"], "The guide image has no detail"),
    "sigma beyond all": (["noisy.png", "--sigma", "1e38"], "at most 2550"),
    "runs beyond all": (["noisy.png", "--runs", "99999999999999999999"], "at most 1000"),
    "learning rate beyond all": (["noisy.png", "--lr", "1e38"], "at most 1e6"),
    "wide PSF": (["noisy.png", "--task", "deblur", "--psf", "gaussian:100000"], "at most"),
    "seed": (["noisy.png", "--seed", "99999999999999999999"], "seed"),
    "negative seed": (["noisy.png", "--seed", "-1"], "seed"),
    "balanced learning rate": (["noisy.png", "--lr-schedule", "balance=0.5"], "no schedule for the learning rate"),
    "option type": (["noisy.png", "--stop", "wmv:window=2.5"], "must be of type int"),
    "network option": (["noisy.png", "--network", "skip:kernel_down=abc", "--latent", "uniform"], "cannot be made"),
    "nothing to optimise": (["noisy.png", "--network", "pixels", "--optimise", "latent"], "does not depend"),
    "NaN prior": (["noisy.png", "-R", "prior.py:nan@1"], "'nan' is nan at the first step"),
    "unknown rule": (["noisy.png", "--stop", "wvm"], "did you mean 'wmv'"),
    "rule that does not apply": (["noisy.png", "--task", "jpeg", "--stop", "discrepancy"], "level of Gaussian noise"),
    "option of another task": (["noisy.png", "--factor", "2"], "--factor does not go with 'denoise'"),
    "reference size": (["noisy.png", "--reference", "mask31.png"], "the same was expected"),
    "steps that are not whole": (["noisy.png", "--steps", "1.5"], "--steps: a whole number was expected, got '1.5'"),
    "option without its value": (["noisy.png", "--sigma"], "--sigma requires an argument"),
    "no steps": (["noisy.png", "--steps", "0"], "--steps"),
    "no runs": (["noisy.png", "--runs", "0"], "--runs"),
    "no time": (["noisy.png", "--time-budget", "0"], "--time-budget"),
    "learning rate": (["noisy.png", "--lr", "0"], "--lr"),
    "unwritable": (["noisy.png", "-o", "/proc/nowhere/out"], "cannot be written"),
    "output is a file": (["noisy.png", "-o", "clean.png"], "is a file"),
    "folder with other things": (["noisy.png", "-o", "full"], "already holds"),
    "folder that is not ours": (["noisy.png", "-o", "full", "--overwrite"], "not a result folder"),
    "resume and overwrite": (["noisy.png", "--resume", "--overwrite"], "one of --resume and --overwrite"),
    "unknown option": (["noisy.png", "--sigm", "3"], "Unknown option: --sigm. Did you mean --sigma?"),
    "PSF": (["noisy.png", "--task", "deblur", "--psf", "gaussian:wide"], "gaussian:1.5"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_status_2_and_nothing_written(
    files: Path, hybrid_dip_command: Command, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    given, words = BAD[name]
    arguments = ["restore", *given]
    for option, value in {"--task": "denoise", "-o": "out", "--steps": "2"}.items():
        if option not in given:
            arguments += [option, value]
    if "--network" not in given and "--preset" not in given:
        arguments += SMALL
    before = {path: path.read_bytes() for path in files.rglob("*") if path.is_file()}
    status, out, err = hybrid_dip_command(*arguments)
    assert status == 2, (out, err)
    sentence = err.strip().splitlines()[-1]
    assert sentence.startswith("hybrid-dip: ")
    assert words in sentence
    assert "Traceback" not in err
    # one that fails in the middle of a fit comes after the estimate and the progress bar; all else speaks alone
    assert len(err.strip().splitlines()) == 1 or name in ("prior that fails later", "rule that says nothing")
    assert {path: path.read_bytes() for path in files.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "given",
    [["noisy.png"], ["noisy.png", "--runs", "2"], ["photos"], ["noisy.png", "--fuse", "stack", "-R", "tv@0.01"]],
    ids=["a fit", "each seed", "a folder", "a stack"],
)
def test_a_learning_rate_that_breaks_the_fit_is_a_sentence_and_status_2(
    files: Path, hybrid_dip_command: Command, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    status, _, err = hybrid_dip_command("restore", *given, "--task", "denoise", *SMALL, "--lr", 100, "--steps", 8, "-o", "out")
    assert status == 2
    assert "The fit came to nothing, because" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not list(files.rglob("restored*.png"))


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_one_sentence_and_status_2(tmp_path: Path, hybrid_dip_command: Command, name: str) -> None:
    (tmp_path / name).write_bytes(BAD_FILES[name])
    status, _, err = hybrid_dip_command("restore", tmp_path / name, "--task", "denoise", "--sigma", 25, "-o", tmp_path / "out")
    assert status == 2
    assert len(err.strip().splitlines()) == 1
    assert name in err
    assert not (tmp_path / "out").exists()
