"""What holds before any module is imported, of tests and of doctests."""

import os

pytest_plugins = ["tests.support.run_rules"]

os.environ.setdefault(
    "OPENBLAS_NUM_THREADS", "1"
)  # threads of numpy's own would only fight for the cores that tests use
