"""What the words of a command become: groups of options, and the help that is made of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hybrid_dip.cli.app import make_app
from hybrid_dip.cli.asked import Restoration
from hybrid_dip.cli.restore import restore

Command = Callable[..., tuple[int, str, str]]
COMMANDS = [
    "restore", "degrade", "sweep", "impedance", "list", "explain", "fit-mixture", "demo", "study plan", "study run",
    "study status", "study report", "study attribute", "study impedance", "weights list", "weights fetch", "weights verify",
    "pretrain-network", "invert-features", "maximise-activation",
]  # fmt: skip


def parse(*words: str) -> tuple[Path, Restoration]:
    command, bound, _ = make_app().parse_args(["restore", *words], exit_on_error=False, print_error=False)
    assert command is restore
    image: Path = bound.arguments["image"]
    asked: Restoration = bound.arguments["asked"]
    return image, asked


def test_options_stand_before_and_after_the_image() -> None:
    before = parse("--task", "denoise", "--gif", "-R", "tv@0.05", "-o", "out", "photo.png", "-R", "red", "--lr", "1e-3")
    after = parse("photo.png", "-o", "out", "--lr=1e-3", "--regulariser", "tv@0.05", "-R", "red", "--gif", "--task=denoise")
    assert before == after
    image, asked = before
    assert image == Path("photo.png")
    assert (asked.wrong.task, asked.method.regularisers, asked.method.lr) == ("denoise", ("tv@0.05", "red"), 1e-3)
    assert (asked.output.out, asked.output.gif, asked.output.resume) == (Path("out"), True, False)


@pytest.mark.parametrize(
    ("words", "group", "option", "value"),
    [
        (["--sigma", "-5"], "wrong", "sigma", -5.0),
        (["--sigma", "-1e-3"], "wrong", "sigma", -1e-3),
        (["--sigma", "25"], "wrong", "sigma", 25.0),
        (["--sigma", "5", "--sigma", "7"], "wrong", "sigma", 7.0),
        (["--mask", "a mask.png"], "wrong", "mask", Path("a mask.png")),
        (["--seed", "-1"], "method", "seed", -1),
        (["--lr-schedule", "cosine=1..0.1"], "method", "lr_schedule", "cosine=1..0.1"),
        (["--compile", "auto"], "where", "compile", "auto"),
        (["--checkpoint-every", "10"], "where", "checkpoint_every", 10),
        (["--arm", "quick", "--arm", "fast"], "fusion", "arm", ("quick", "fast")),
        (["--crop", "64"], "source", "crop", 64),
    ],
)
def test_values_are_read_by_their_type(words: list[str], group: str, option: str, value: Any) -> None:
    _, asked = parse("photo.png", "--task", "denoise", "-o", "out", *words)
    assert getattr(getattr(asked, group), option) == value
    assert type(getattr(getattr(asked, group), option)) is type(value)


def test_what_was_given_goes_into_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "psf.png").touch()
    _, asked = parse("photos", "--task", "deblur", "-o", "out", "--psf", "psf.png", "--guide", "a.png", "--operator", "m.py:A")
    files = {"psf": str(tmp_path / "psf.png"), "guide": str(tmp_path / "a.png"), "operator": f"{tmp_path / 'm.py'}:A"}
    assert asked.wrong.entry() == {"kind": "deblur", "observed": True, **files}
    _, asked = parse("photos", "--task", "deblur", "-o", "out", "--psf", "gaussian:1.5")
    assert asked.wrong.entry()["psf"] == "gaussian:1.5"
    assert asked.where.entry() == {}
    _, asked = parse("photos", "--task", "jpeg", "-o", "out", "--tile", "off", "--graph", "on")
    assert asked.where.entry() == {"tile": 0, "graph": "on"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, hybrid_dip_command: Command) -> None:
    status, out, err = hybrid_dip_command(*command.split(), "--help")
    assert (status, err) == (0, "")
    assert f"Usage: hybrid-dip {command}" in out
    assert hybrid_dip_command(*command.split(), "-h") == (0, out, "")
    assert "--no-" not in out
    assert "--empty-" not in out


def test_help_has_panels(hybrid_dip_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    _, out, _ = hybrid_dip_command("restore", "--help")
    panels = ["Arguments", "Options", "What is wrong with the image", "How it is fitted", "Where, and how long"]
    places = [out.index(f"─ {panel} ─") for panel in panels]
    assert places == sorted(places)
    assert "[default: fast]" in out
    assert "NAME[:option=value,...][@weight], file.py:name or module:name; repeatable." in out
    assert "FILE's [attribution]" in hybrid_dip_command("study", "attribute", "--help")[1]


@pytest.mark.parametrize("group", ["study", "weights"])
def test_a_bare_group_shows_its_help(group: str, hybrid_dip_command: Command) -> None:
    status, out, err = hybrid_dip_command(group)
    assert (status, err) == (0, "")
    assert f"Usage: hybrid-dip {group} COMMAND" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["restor"], 'Unknown command "restor". Did you mean "restore"?'),
        (["weigths"], 'Unknown command "weigths". Did you mean "weights"?'),
        (["study", "pln"], 'Unknown command "pln". Did you mean "plan"?'),
        (["restore"], "'restore' needs IMAGE."),
        (["restore", "a.png"], "'restore' needs --task."),
        (["restore", "a.png", "--task", "jpeg"], "'restore' needs --out."),
        (["restore", "a.png", "--taks", "jpeg", "-o", "b"], "'restore' needs --task. Did you mean --task instead of --taks?"),
        (["sweep", "a.png", "--task", "jpeg", "-o", "b"], "'sweep' needs --regulariser."),
        (["study", "plan"], "'study plan' needs FILE."),
        (["restore", "a.png", "b.png", "--task", "jpeg", "-o", "out"], "Unused Tokens: ['b.png']."),
        (["list", "tasks", "--jsn"], "Unknown option: --jsn. Did you mean --json?"),
        (["list", "tasks", "--no-json"], "Unknown option: --no-json. Did you mean --json?"),
    ],
)
def test_misspelt_words_are_one_sentence(words: list[str], sentence: str, hybrid_dip_command: Command) -> None:
    status, out, err = hybrid_dip_command(*words)
    assert (status, out) == (2, "")
    assert err.startswith(f"hybrid-dip: {sentence}")
    assert err.count("\n") == 1


def test_the_version_is_said(hybrid_dip_command: Command) -> None:
    assert hybrid_dip_command("--version") == (0, "hybrid-dip 0.1.0\n", "")
