"""megatron-core reads what bash hands it, and the per-split file as its argument parser does."""

import json
import subprocess

import pytest

from mixwright.exports import export
from mixwright.exports.canonical import canonical_shares


@pytest.fixture
def get_blend_from_list(trainer):
    return trainer("megatron.core.datasets.utils").get_blend_from_list


@pytest.fixture
def expected(mixture):
    shares, dropped = canonical_shares(mixture)
    assert dropped  # the mixture is hard enough to lose a domain
    return [mixture.paths[d] for d in shares], [float(share) for share in shares.values()]


def test_the_arguments_that_bash_passes_are_the_mixture(
    mixture, expected, get_blend_from_list, tmp_path
):
    script = tmp_path / "data_args.sh"
    script.write_text(export(mixture, "megatron").text)

    passed = subprocess.run(
        ["bash", "-euc", f'source {script}; printf "%s\\0" "${{DATA_ARGS[@]}}"'],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")[:-1]
    paths, weights = get_blend_from_list(passed[1:])

    assert passed[0] == "--data-path"
    assert (paths, weights) == expected
    assert all(weight > 0 for weight in weights)


def test_the_per_split_file_is_the_mixture(mixture, expected, get_blend_from_list):
    splits = json.loads(export(mixture, "megatron_per_split").text)

    assert get_blend_from_list(splits["train"]) == expected
    assert get_blend_from_list(splits["valid"]) is None
