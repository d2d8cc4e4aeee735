"""The client's tests once more on Python 3.9, the oldest that it is said to run on."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests/unit/client"


def python39():
    """The path of an interpreter that runs; None where there is none."""
    installed = sorted(Path.home().glob(".pyenv/versions/3.9.*/bin/python3.9"))
    for found in filter(None, [shutil.which("python3.9"), *installed]):
        said = subprocess.run([found, "-V"], capture_output=True, text=True, check=False)
        if said.stdout.startswith("Python 3.9"):
            return found
    return None


def done(*command, **options):
    found = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.mark.slow
def test_the_client_passes_its_tests_on_python_3_9(tmp_path):
    interpreter = python39()
    if interpreter is None:
        pytest.skip("there is no Python 3.9")
    done(interpreter, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv/bin/python"
    done(python, "-m", "pip", "install", "-q", "-r", TESTS / "python39.txt")
    path = os.pathsep.join([str(ROOT / "sdk/src"), str(TESTS)])
    options = ["-q", "--noconftest", "-c", os.devnull, "--rootdir", ROOT, "-p", "no:cacheprovider"]
    options += ["--timeout", "60"]
    out = done(
        python,
        "-W",
        "error",
        "-m",
        "pytest",
        *options,
        TESTS,
        env={**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": ""},
    )
    assert int(out.splitlines()[-1].split()[0]) >= 80, out
