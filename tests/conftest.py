"""What the tests of all folders share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from embedded_cluster import tools
from hypothesis import settings

# Random examples are the same in every run, however slow the machine is. HYPOTHESIS_PROFILE=default looks for new ones.
settings.register_profile("steady", derandomize=True, database=None, deadline=None, print_blob=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture(scope="session")
def tools_folder() -> Path:
    """Folder with the programs of the embedded cluster: those of this checkout, built on demand.

    EMBEDDED_CLUSTER_TOOLS names another folder.
    """
    given = os.environ.get("EMBEDDED_CLUSTER_TOOLS")
    return Path(given) if given else tools.ensure()
