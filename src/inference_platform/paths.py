"""Where the data of the project lies, seen from the package.

The package is used from a checkout (or from the installed collection, which is
the same tree): data folders lie beside ``src/``.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CATALOG = ROOT / "catalog"
CHARTS = ROOT / "charts"
ROLES = ROOT / "roles"
SCHEMAS = ROOT / "schemas"


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path as Ansible takes one: with the home folder for ~ and the values of environment variables.

    Unlike `Path.expanduser` it leaves the ~ of a user who does not exist.
    """
    return Path(os.path.expanduser(os.path.expandvars(path)))
