import pytest

from workers.sizing import Fit, ModelTooLargeError, fit

MEGABYTE = 10**6


def memory(fixed, each_parameter, each_sequence):
    """A fake device: what a step of so many proxies and sequences takes."""
    return lambda proxies, sequences: int(
        MEGABYTE * (fixed + proxies * (each_parameter + sequences * each_sequence))
    )


def test_what_was_asked_for_is_kept_where_it_fits():
    assert fit(memory(10, 1, 1), 10_000 * MEGABYTE, 24, 8) == Fit(24, 8)


def test_else_the_largest_power_of_two_that_fits_is_taken():
    # .85 of 1000 MB less 10 is room for 93 proxies of 9 MB
    assert fit(memory(10, 1, 1), 1000 * MEGABYTE, 128, 8) == Fit(64, 8)


def test_a_proxy_too_large_for_whole_batches_gets_parts_of_them():
    assert fit(memory(0, 10, 100), 300 * MEGABYTE, 8, 8) == Fit(1, 2)


def test_a_model_that_does_not_fit_at_all_is_refused():
    with pytest.raises(ModelTooLargeError):
        fit(memory(0, 1000, 1), 300 * MEGABYTE, 8, 8)


def test_out_of_memory_halves_the_batch_first_and_then_the_width():
    tried = [Fit(4, 4)]
    while tried[-1] != Fit(1, 1):
        tried.append(tried[-1].smaller())
    assert tried == [Fit(4, 4), Fit(4, 2), Fit(4, 1), Fit(2, 1), Fit(1, 1)]
    with pytest.raises(ModelTooLargeError):
        tried[-1].smaller()
