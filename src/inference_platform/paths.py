"""Where the data of the project lies, seen from the package.

The package is used from a checkout (or from the installed collection, which is
the same tree): data folders lie beside ``src/``.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CATALOG = ROOT / "catalog"
CHARTS = ROOT / "charts"
ROLES = ROOT / "roles"
SCHEMAS = ROOT / "schemas"
