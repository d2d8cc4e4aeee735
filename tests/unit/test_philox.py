import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixwright.philox import permute, philox, unit


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # philox4x32, 10 rounds, of Random123's kat_vectors
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_the_published_vectors(counter, key, expected):
    assert " ".join(f"{word:08x}" for word in philox(counter, key)) == expected


def test_counters_broadcast_and_are_independent_of_their_company():
    rows, steps = np.arange(5), np.arange(3)[:, None]
    together = philox((rows, steps, 7, 0), (1, 2))
    assert together.shape == (3, 5, 4)
    assert together[2, 4].tolist() == philox((4, 2, 7, 0), (1, 2)).tolist()


def test_units_are_below_one_and_spread():
    words = philox((np.arange(20_000), 0, 0, 0), (3, 4))
    numbers = unit(words[:, 0], words[:, 1])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert np.histogram(numbers, 10, (0, 1))[0] == pytest.approx(2000, abs=200)
    assert unit(np.array([2**32 - 1], np.uint32), np.array([2**32 - 1], np.uint32))[0] < 1


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_a_permutation_takes_every_place_once(size, key):
    found = permute(np.arange(size), size, np.uint64(key))
    assert sorted(found.tolist()) == list(range(size))


def test_each_place_may_have_a_key_of_its_own():
    keys = np.array([1, 2, 1, 2], dtype=np.uint64)
    mixed = permute(np.array([0, 0, 5, 5]), 100, keys)
    assert mixed[0] == permute(np.array([0]), 100, keys[:1])[0]
    assert mixed[3] == permute(np.array([5]), 100, keys[1:2])[0]
    assert mixed[0] != mixed[1]
