"""Sends what tests of HTTP ask for."""

import pytest


@pytest.fixture
def send(client):
    """Posts a body, and returns the answer of the status that is expected."""

    def to(path, body, status=202):
        response = client.post(path, json=body)
        assert response.status_code == status, response.text
        return response.json()

    return to
