"""What end-to-end tests start."""

import pytest
from deployment import Deployment


@pytest.fixture
def deployment(tmp_path):
    (tmp_path / "server").mkdir()
    deployment = Deployment(tmp_path / "server")
    deployment.start()
    yield deployment
    deployment.stop()
