from hybrid_dip.errors import told


def test_what_anybodys_code_raises_is_the_end_of_a_sentence() -> None:
    assert told(FileNotFoundError("There is no file\n  nofile.png.")) == "FileNotFoundError: There is no file nofile.png"
    assert told(KeyError()) == "KeyError"
