"""What the tests of commands share."""

import pytest

from tests.support.lakes import LakeWriter


@pytest.fixture
def lake(tmp_path):
    """An empty lake of stations a (by the minute) and b (by the hour), light-1 following b, then a."""
    return LakeWriter(tmp_path / "lake")
