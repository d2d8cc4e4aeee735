"""The exported texts, to the byte.

After a change that is meant, run `MIXWRIGHT_WRITE_GOLDEN=1 pytest tests/unit/exports` and read the
difference.
"""

import os
from pathlib import Path

import pytest

from mixwright.exports import EXPORTS, ExportedMixture, export

GOLDEN = Path(__file__).parents[2] / "golden" / "exports"

MIXTURE = ExportedMixture(
    mixture_id="rec_01",
    version=3,
    domains=("web", "code", "math", "wiki", "dust"),
    weights={"web": 0.55, "code": 0.25, "math": 0.12, "wiki": 0.0799995, "dust": 5e-7},
    tokens={"web": 900e9, "code": 60e9, "math": 8e9, "wiki": 5e9},
    mean_document_tokens={"web": 1100, "code": 2300, "math": 1600, "wiki": 700},
    token_budget=100_000_595_968,
    sequence_length=4096,
    paths={"web": "s3://bucket/web", "code": "/data/code", "math": "/data/my math"},
    max_epochs=1.55,
    seed=42,
)


@pytest.mark.parametrize("name", EXPORTS)
def test_the_text_is_the_golden_one(name):
    golden = GOLDEN / f"{name}{Path(EXPORTS[name].filename).suffix}"
    text = export(MIXTURE, name).text
    if os.environ.get("MIXWRIGHT_WRITE_GOLDEN"):
        golden.write_text(text)
        pytest.fail(f"wrote {golden}; run again without MIXWRIGHT_WRITE_GOLDEN")

    assert text == golden.read_text()


def test_every_golden_file_has_its_format():
    assert {path.stem for path in GOLDEN.iterdir()} == set(EXPORTS)
