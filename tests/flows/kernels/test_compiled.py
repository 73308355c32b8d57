"""How loops are compiled: what they take, what they refuse, and where nothing can be kept."""

import numpy as np
import pytest

from flows.kernels import compiled as compiled_module
from flows.kernels.compiled import compiled


def total(values):
    added = 0
    for value in values:
        added += value
    return added


def test_const_takes_what_may_not_be_written_to_and_anything_with_gaps():
    add_up = compiled("int64(const int64[:])")(total)
    values = np.arange(10)
    assert add_up(values[::3]) == 18
    values.flags.writeable = False
    assert add_up(values) == 45


@pytest.mark.parametrize("values", [np.arange(3.0), np.arange(3, dtype=np.int32), np.zeros((2, 2), np.int64)])
def test_another_type_is_refused(values):
    with pytest.raises(TypeError, match="No matching definition"):
        compiled("int64(const int64[:])")(total)(values)


def test_what_is_not_const_must_be_writable():
    values = np.arange(3)
    values.flags.writeable = False
    with pytest.raises(TypeError, match="No matching definition"):
        compiled("int64(int64[:])")(total)(values)


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same(monkeypatch):
    asked = []
    njit = compiled_module.njit

    def nowhere(signatures, *, cache=False, **how):
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function 'total': no locator available")
        return njit(signatures, **how)

    monkeypatch.setattr(compiled_module, "njit", nowhere)
    assert compiled("int64(const int64[:])")(total)(np.arange(4)) == 6
    assert asked == [True, False]
