"""Loops that are compiled: plain Python over arrays, at the speed of C.

Row by row is how the rules read, and for fifty readings it costs a tenth of as many calls of numpy. What is compiled
is kept on disk, beside the source or where ``NUMBA_CACHE_DIR`` says, so that only the first start after an
installation waits for the compiler.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit
from numba.extending import register_jitable

_CONST = re.compile(r"const (\w+)\[([^]]*)\]")
F = TypeVar("F", bound=Callable[..., Any])


def compiled(*signatures: str) -> Callable[[F], F]:
    """Compile a function for signatures such as ``"int64(const uint8[:], int64)"``.

    An array argument takes what has its type: ``[:]`` whatever its strides, ``[::1]`` without gaps, and ``const`` what
    may not be written to as well; anything else is a TypeError when it is called. The lock of the interpreter is let
    go meanwhile. Indices are not checked: a loop has to keep within its arrays.

    >>> @compiled("int64(const int64[:])")
    ... def total(values):
    ...     added = 0
    ...     for value in values:
    ...         added += value
    ...     return added
    >>> import numpy as np
    >>> total(np.arange(4))
    6
    """
    wanted = [_CONST.sub(_read_only, signature) for signature in signatures]

    def compile_it(function: F) -> F:
        try:
            made: F = njit(wanted, cache=True, nogil=True, error_model="numpy")(function)
        except RuntimeError:  # nowhere to keep it: then every start compiles
            made = njit(wanted, nogil=True, error_model="numpy")(function)
        return made

    return compile_it


def _read_only(found: re.Match[str]) -> str:
    kind, shape = found.groups()
    layout = "C" if shape.endswith("1") else "A"
    return f"Array({kind}, {shape.count(',') + 1}, '{layout}', True)"


def jitable(function: F) -> F:
    """Make a helper callable from compiled functions; from Python it runs uncompiled."""
    made: F = register_jitable(function)
    return made
