import warnings

import pytest

from hybrid_dip.errors import HybridDIPWarning, Interrupted, SettingsError, collect_warnings, describe_error, one_sentence, warn


def test_what_anybodys_code_raises_is_the_end_of_a_sentence() -> None:
    assert describe_error(FileNotFoundError("No file\n  nofile.png.")) == "FileNotFoundError: No file nofile.png"
    assert describe_error(KeyError()) == "KeyError"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (SettingsError("There is no device 'cuda';\n  take cpu."), 2, "a program: There is no device 'cuda'; take cpu.\n"),
        (
            FileNotFoundError(2, "No such file or directory", "x.png"),
            2,
            "a program: [Errno 2] No such file or directory: 'x.png'\n",
        ),
        (Interrupted("Interrupted after 3 of 9 steps; repeat."), 130, "Interrupted after 3 of 9 steps; repeat.\n"),
        (KeyboardInterrupt(), 130, "Stopped; repeat.\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_program_ends_in_one_sentence(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, one_sentence("a program", "Stopped; repeat."):
        raise error
    assert ended.value.code == status
    assert capsys.readouterr().err == said


def test_a_fault_of_the_program_is_no_sentence() -> None:
    with pytest.raises(ZeroDivisionError), one_sentence("a program"):
        raise ZeroDivisionError


def test_a_warning_is_a_sentence_of_the_program_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    with one_sentence("a program"):
        for _ in range(2):
            warn("The image has two pages;\n  the first is taken.")
    assert capsys.readouterr().err == "a program: The image has two pages; the first is taken.\n"
    with pytest.warns(HybridDIPWarning, match="two pages"):
        warn("The image has two pages.")


def test_warnings_are_collected_also_if_they_were_said_before() -> None:
    for _ in range(2):
        said: list[str] = []
        with collect_warnings(said.append):
            warn("The image has two pages.")
        assert said == ["The image has two pages."]
    with pytest.warns(DeprecationWarning, match="go on"), collect_warnings(said.append):
        warnings.warn("Others go on.", DeprecationWarning, stacklevel=1)
