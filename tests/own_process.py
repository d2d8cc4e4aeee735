"""Code that measures the process that it runs in, in one that is used for nothing else."""

import json
import os
import subprocess
import sys
import textwrap


def told_by(code, *arguments):
    """Run `code` with `arguments` in a process of its own; what it prints at its end, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
