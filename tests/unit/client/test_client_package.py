import os
import subprocess
import sys

import mixwright_client


def test_importing_the_package_imports_no_torch():
    code = "import mixwright_client, sys; print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert found.stdout == "False\n"


def test_every_public_name_is_there():
    assert [name for name in mixwright_client.__all__ if not hasattr(mixwright_client, name)] == []
