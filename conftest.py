"""What holds before any module is imported, of tests and of doctests."""

import os

os.environ.setdefault(
    "OPENBLAS_NUM_THREADS", "1"
)  # threads of numpy's own would only fight for the cores that tests use
