"""What a user installs and what a developer runs: the files around the package."""

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parent.parent
# not written out, so that this file passes its own test
HOSTS = [
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "conda" + ".anaconda",
    "download.pytorch" + ".org",
]
PLACES = ["/" + place for place in ("work/", "home/", "root/", "tmp/", "Users/", "opt/")]


def tracked_text_files():
    """What git tracks or would track; without git, what is in the folders of the project."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is not a git repository")
    for name in done.stdout.splitlines():
        path = REPOSITORY / name
        if path.is_file() and path.suffix not in {
            ".parquet",
            ".png",
            ".gif",
            ".gz",
            ".safetensors",
        }:
            yield name, path.read_text(encoding="utf-8")


def pins():
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pinned = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {requirement.name.lower().replace("_", "-"): requirement for requirement in pinned}


def test_no_file_names_a_machine_or_an_index():
    found = [
        f"{name}: {word}"
        for name, text in tracked_text_files()
        for word in [*HOSTS, *PLACES]
        if re.search(rf"(?<![\w.~-]){re.escape(word)}", text)
    ]
    assert not found


def test_the_package_never_postpones_annotations():
    """``from __future__ import annotations`` breaks GluonTS's ``@validated`` on our classes."""
    package = REPOSITORY / "timediff"
    files = list(package.rglob("*.py"))
    assert files
    assert not [path for path in files if "import annotations" in path.read_text()]


def test_constraints_are_exact_and_without_local_versions():
    assert str(pins()["torch"].specifier) == "==2.13.0"
    for name, requirement in pins().items():
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", name
        assert "+" not in specifier.version, name
        assert "*" not in specifier.version, name


@pytest.fixture
def installed():
    try:
        return metadata.distribution("timediff")
    except metadata.PackageNotFoundError:
        pytest.skip("timediff is not installed, only importable")


def test_constraints_satisfy_and_cover_what_the_package_asks_for(installed):
    asked = [Requirement(line) for line in installed.requires]
    assert asked
    for requirement in asked:
        if requirement.name == "timediff":
            continue
        (pin,) = pins()[requirement.name.lower().replace("_", "-")].specifier
        assert requirement.specifier.contains(pin.version), requirement


def test_metadata_of_the_installed_package(installed):
    information = installed.metadata
    assert information["Requires-Python"] == ">=3.10"
    assert information["License-Expression"] == "Apache-2.0"
    extras = {"plot", "baselines", "peers", "frames", "holidays", "export", "sktime", "mlflow"}
    extras |= {"darts", "test", "docs", "dev"}
    assert extras == set(information.get_all("Provides-Extra"))


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_its_data_only(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, REPOSITORY]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "site"
    shutil.unpack_archive(wheel, target, "zip")
    assert {path.name.split("-")[0] for path in target.iterdir()} == {"timediff"}
    data = target / "timediff" / "_data" / "traffic"
    assert {path.name for path in data.iterdir()} == {"data.parquet", "dataset.json"}
    code = "import timediff; print(timediff.__file__, timediff.load_dataset('traffic').windows)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=target, env=os.environ | {"PYTHONPATH": str(target)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(target / "timediff" / "__init__.py"), "28"]


@pytest.fixture
def tree(tmp_path):
    """A copy of the files around the package, with stand-ins for the interpreter."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copytree(REPOSITORY / ".ci", tmp_path / ".ci")
    return tmp_path


def run(tree, *command, **environment):
    # the tests may run under make themselves, which announces a make within a make
    outer = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    outer.pop("MFLAGS", None)
    return subprocess.run(
        command, cwd=tree, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, env=outer | {"CI": "true"} | environment,
    )  # fmt: skip


def script(path, body):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def fake_environment(tree, lint="true", tests='echo "=== 3 passed in 0.10s ==="'):
    """A .venv that counts as up to date, whose tools do what they are told."""
    script(tree / ".venv/bin/ruff", lint)
    script(tree / ".venv/bin/mypy", "true")
    script(tree / ".venv/bin/python", tests)
    (tree / ".venv/.installed").touch()


def test_make_alone_lists_the_targets(tree):
    done = run(tree, "make")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [
        "help", "demo", "test", "check", "docs", "clean",
    ]  # fmt: skip
    assert not (tree / ".venv").exists()


def test_make_refuses_an_old_python(tree):
    old = script(tree / "python3.8", '[ "$1" = --version ] && echo "Python 3.8.1" || exit 1')
    done = run(tree, "make", "check", f"PYTHON={old}")
    assert done.returncode != 0
    assert "timediff needs Python 3.10 or later" in done.stderr
    assert "Python 3.8.1" in done.stderr
    assert not (tree / ".venv").exists()


def test_make_without_a_python_says_so(tree):
    done = run(tree, "make", "check", "PYTHON=no-such-python")
    assert done.returncode != 0
    assert "no-such-python not found" in done.stderr


def test_make_installs_once_and_again_after_a_change(tree):
    body = (
        f'mkdir -p .venv/bin; [ "$1" = -m ] && echo "$@" >> {tree}/calls; cp "$0" .venv/bin/python'
    )
    python = script(tree / "fake-python", body + "; exit 0")
    script(tree / ".venv/bin/ruff", "true")
    script(tree / ".venv/bin/mypy", "true")
    for _ in range(2):
        assert run(tree, "make", "check", f"PYTHON={python}").returncode == 0
    calls = (tree / "calls").read_text().splitlines()
    assert calls[0] == "-m venv .venv"
    assert "-c constraints.txt -e .[dev]" in calls[1]
    assert len(calls) == 2
    later = (tree / ".venv/.installed").stat().st_mtime + 10
    os.utime(tree / "constraints.txt", (later, later))
    run(tree, "make", "check", f"PYTHON={python}")
    assert len((tree / "calls").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("lint", "tests", "code", "last"),
    [
        ("true", 'echo "=== 3 passed in 0.10s ==="', 0, "=== 3 passed in 0.10s ==="),
        ("false", 'echo "=== 3 passed in 0.10s ==="', 1, "=== 3 passed in 0.10s ==="),
        (
            "true",
            'echo "= 1 failed, 2 passed in 9.1s ="; exit 1',
            1,
            "= 1 failed, 2 passed in 9.1s =",
        ),
        ("true", "echo Segmentation fault; exit 139", 1, "pytest did not finish"),
    ],
    ids=["good", "lint", "tests", "crash"],
)
def test_ci_runs_both_and_ends_with_the_summary(tree, lint, tests, code, last):
    fake_environment(tree, lint, tests)
    done = run(tree, str(tree / ".ci" / "run"))
    assert (done.returncode != 0) == bool(code)
    assert done.stdout.splitlines()[-1] == last
    assert "==> tests" in done.stdout
