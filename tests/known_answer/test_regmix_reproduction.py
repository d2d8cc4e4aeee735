"""RegMix's published figures, from its published runs."""

import pytest

from benchmarks.regmix_reproduction import PRINTED, PRINTED_OPTIMUM, reproduce
from benchmarks.regmix_tables import FOLDER, load

pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason=f"RegMix's tables are not at {FOLDER}")


@pytest.mark.slow
def test_the_notebook_is_reproduced_to_every_printed_digit():
    found, optimum = reproduce(load())
    assert [round(value, 2) for value in found.values()] == list(PRINTED)
    assert {domain: round(optimum[domain], 4) for domain in PRINTED_OPTIMUM} == PRINTED_OPTIMUM
