from hashlib import blake2b

import numpy as np
import pytest
from scipy.stats import kstest

from mixwright.errors import InvalidInputError
from mixwright.quality.uniforms import uniforms_of

KNOWN_7, KNOWN_B = 0.903565871251404, 0.5173761181772721  # with seed 0


def test_they_are_what_they_were_on_every_machine():
    digest = blake2b(b"doc-1", digest_size=8, salt=(3).to_bytes(8, "little")).digest()
    expected = (int.from_bytes(digest, "big") >> 11) / 2**53
    assert uniforms_of(["doc-1"], 3)[0] == expected
    np.testing.assert_allclose(uniforms_of([7, "b"], 0), [KNOWN_7, KNOWN_B], rtol=1e-15)


def test_what_is_written_alike_is_the_same_document():
    given = [[7], ["7"], [b"7"], np.array([7]), np.array(["7"]), np.array([7], dtype=np.uint64)]
    assert len({float(uniforms_of(ids, 5)[0]) for ids in given}) == 1


def test_they_are_uniform_and_independent_of_seed_and_order():
    names = [f"shard/{i}" for i in range(50_000)]
    first, second = uniforms_of(names, 0), uniforms_of(names, 1)
    assert kstest(first, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(len(names))
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 4 / np.sqrt(len(names))
    np.testing.assert_array_equal(uniforms_of(names[::-1], 0), first[::-1])


def test_no_documents_have_no_numbers():
    assert uniforms_of([], 0).shape == (0,)


@pytest.mark.parametrize("name", [None, 1.5, True])
def test_other_names_are_refused(name):
    with pytest.raises(InvalidInputError, match="named"):
        uniforms_of([name], 0)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(InvalidInputError, match="seed"):
        uniforms_of(["a"], seed)
