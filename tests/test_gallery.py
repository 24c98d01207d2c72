"""The scripts of docs/gallery/ have the form that the gallery needs, and run as notebooks."""

import ast
import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "docs/gallery").glob("plot_*.py"))


def load(path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


SMALL = load(ROOT / "docs/extensions/small.py")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_has_a_title_blocks_and_sizes(script: Path) -> None:
    text = script.read_text()
    title, line = (ast.get_docstring(ast.parse(text)) or "").splitlines()[:2]
    assert line == "=" * len(title)
    assert "\n# %%\n" in text
    assert SMALL.SMALL in SMALL.shrink(text)


@pytest.mark.parametrize("name", ["plot_01_deep_image_prior", pytest.param("plot_03_stopping", marks=pytest.mark.slow)])
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Jupyter runs it, from the script that its page is made of."""
    import nbformat
    from nbclient import NotebookClient
    from sphinx_gallery.gen_gallery import DEFAULT_GALLERY_CONF
    from sphinx_gallery.notebook import jupyter_notebook, save_notebook
    from sphinx_gallery.py_source_parser import split_code_and_text_blocks

    script = tmp_path / f"{name}.py"
    script.write_text(SMALL.shrink((ROOT / f"docs/gallery/{name}.py").read_text()))
    _, blocks = split_code_and_text_blocks(script)
    save_notebook(jupyter_notebook(blocks, DEFAULT_GALLERY_CONF, tmp_path), tmp_path / f"{name}.ipynb")
    # The kernel is a process of its own.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(tmp_path / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert any("dB" in output.get("text", "") for output in outputs)
