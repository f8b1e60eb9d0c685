"""What the tests of all folders share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from embedded_cluster import tools


@pytest.fixture(scope="session")
def tools_folder() -> Path:
    """Folder with the programs of the embedded cluster: those of this checkout, built on demand.

    EMBEDDED_CLUSTER_TOOLS names another folder.
    """
    given = os.environ.get("EMBEDDED_CLUSTER_TOOLS")
    return Path(given) if given else tools.ensure()
