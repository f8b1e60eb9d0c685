"""Imports the Python package once, in the process that Ansible forks its workers from.

The progress callback imports this module in the parent; every forked action then
finds the modules loaded. Without that each task would import the cluster client,
YAML and JSON Schema again, half a second a time.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import sys
from pathlib import Path

from ansible.errors import AnsibleActionFail

#: Modules that the actions use and that take long to import, or import much.
MODULES = (
    "ansible.module_utils.common.arg_spec",
    "jinja2",
    "jsonschema",
    "yaml",
    "inference_platform.findings",
    "inference_platform.catalog",
    "inference_platform.inventory",
    "inference_platform.platform",
    "inference_platform.models",
    "inference_platform.models.capacity",
    "inference_platform.cluster.admission",
    "inference_platform.cluster.apply",
    "inference_platform.cluster.client",
    "inference_platform.cluster.crds",
    "inference_platform.cluster.gate",
    "inference_platform.cluster.model_subjects",
    "inference_platform.cluster.model_wait",
    "inference_platform.cluster.models",
    "inference_platform.cluster.release",
    "inference_platform.cluster.run_lock",
    "inference_platform.cluster.secrets",
    "inference_platform.cluster.smoke",
    "inference_platform.cluster.survey",
    "inference_platform.preflight",
    "inference_platform.report",
)


def _import_all() -> ImportError | None:
    if importlib.util.find_spec("inference_platform") is None:
        # An installed collection carries the package, beside its data.
        sys.path.append(str(Path(__file__).resolve().parents[2] / "src"))
    try:
        for module in MODULES:
            importlib.import_module(module)
    except ImportError as error:
        return error
    _read_data()
    # Everything loaded so far stays: without this, garbage collection in each worker would
    # touch, and so copy, all of it.
    gc.freeze()
    return None


def _read_data() -> None:
    """Reads catalogue and schemas; the package keeps them, and workers inherit that."""
    from inference_platform import catalog, schema

    try:
        catalog.load()
        for name in ("inventory", "model"):
            schema.load_schema(name)
    except (catalog.CatalogError, OSError, ValueError):
        return  # the plan action meets the same problem and reports it


#: Why the package cannot be used, or None.
PROBLEM = _import_all()


def require_package() -> None:
    """Fails the task, naming the interpreter, when the package cannot be imported."""
    if PROBLEM is not None:
        raise AnsibleActionFail(
            "Expected the Python package inference_platform with its dependencies in the interpreter that runs "
            f"Ansible ({sys.executable}), found: {PROBLEM}. Run `make setup` and use .venv/bin/ansible-playbook, "
            "or install the dependencies named in pyproject.toml into that interpreter with pip."
        )
