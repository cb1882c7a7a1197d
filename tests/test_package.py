"""Importing is cheap, and the layers depend on each other in one direction."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import timediff

PACKAGE = Path(timediff.__file__).parent


def test_importing_the_package_does_not_import_torch():
    code = "import sys, timediff; print(sorted({'torch', 'gluonts', 'pandas'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"


def test_every_public_name_is_there():
    for name in timediff.__all__:
        assert getattr(timediff, name).__doc__, name
    assert set(timediff.__all__) <= set(dir(timediff))
    with pytest.raises(AttributeError, match="Forecastr"):
        timediff.Forecastr  # noqa: B018


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


LOW = ["timediff.types", "timediff.errors", "timediff.registry", "timediff._cache"]
ALLOWED = {"diffusion": LOW, "network": [*LOW, "timediff.diffusion", "timediff.options"]}


@pytest.mark.parametrize("layer", ALLOWED)
def test_the_core_imports_only_what_lies_below_it(layer):
    for path in (PACKAGE / layer).rglob("*.py"):
        for name in imports(path):
            assert name.split(".")[0] not in ("gluonts", "lightning", "pandas"), (path, name)
            if name.startswith("timediff"):
                own = name.startswith(f"timediff.{layer}")
                assert own or any(name.startswith(low) for low in ALLOWED[layer]), (path, name)


def test_shapes_are_checked_under_pytest_only():
    import torch

    from timediff.network.prior import gaussian_nll

    wrong = torch.ones(2, 3), torch.ones(2, 3), torch.ones(3, 2, 3)
    with pytest.raises(Exception, match="Type-check error"):
        gaussian_nll(*wrong)
    code = (
        "import torch; from timediff.network.prior import gaussian_nll; "
        "print(gaussian_nll(torch.ones(2, 3), torch.ones(2, 3), torch.ones(3, 2, 3)).shape)"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "[3, 2, 3]" in out.stdout
