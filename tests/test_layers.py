"""The order of the layers: a module imports only modules above it, so data flows one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hybrid_dip

PACKAGE = Path(hybrid_dip.__file__).parent

# From the top down; a module may import those in lines above its own, a package also its own files.
LAYERS = [
    ["errors", "files", "version", "allocation", "options", "shapley", "recomputing", "replaying"],
    ["contracts", "resampling", "start", "simplex"],
    ["terms"],
    ["images", "metrics", "networks", "latents", "operators", "fidelity", "denoisers", "schedules", "optimizers"],
    ["regularisers", "stopping", "checkpoint", "devices", "execution"],
    ["objective", "tasks", "stacking"],
    ["tracking", "history", "degradations", "plug_and_play"],
    ["guard", "selection"],
    ["fit"],
    ["solvers"],
    ["recipe"],
    ["presets"],
    ["denoiser_presets"],
    ["solver_presets"],
    ["catalogue"],
    ["spec"],
    ["tiling"],
    ["planned", "prepare"],
    ["restore"],
    ["estimate", "watching", "figures", "folder", "arguments", "listing", "deepinv"],
    ["fusion", "consensus"],
    ["tuning"],
    ["session"],
    ["fusing"],
    ["study", "plugin_commands"],
    ["restore_command", "degrade_command"],
    ["cli"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def part(module: str) -> str:
    """hybrid_dip.networks.skip -> networks."""
    return module.split(".")[1]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path} has a relative import"
            # `from hybrid_dip import metrics` imports a module, `from hybrid_dip.fit import fit` a name.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= set(names) if node.module == "hybrid_dip" else {node.module}
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_import_goes_upwards(path: Path) -> None:
    relative = path.relative_to(PACKAGE).with_suffix("")
    own = relative.parts[0]
    if own == "__init__":
        return
    for module in imports(path):
        assert module != "hybrid_dip", f"{relative} imports the whole package, so everything above and below it"
        assert not module.startswith("pretrained"), f"{relative} imports {module}: the core knows no pretrained network"
        if module.startswith("hybrid_dip."):
            other = part(module)
            assert other == own or LEVEL[other] < LEVEL[own], f"{relative} imports {module}, which is not above it"


def test_every_module_has_a_layer() -> None:
    present = {
        path.stem if path.is_file() else path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()
    }
    assert present - {"__init__", "__pycache__"} == set(LEVEL)


def test_importing_the_package_and_listing_the_catalogue_stays_light() -> None:
    code = (
        "import sys, hybrid_dip; from hybrid_dip.catalogue import catalogue, KINDS;"
        "[catalogue().entries(kind) for kind in KINDS];"
        "heavy = {'timm', 'lpips', 'matplotlib', 'torchmetrics', 'skimage', 'torchvision', 'typer'} & set(sys.modules);"
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
