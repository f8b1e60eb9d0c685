"""The rights that preflight asks for, compared with what a run wrote."""

from __future__ import annotations

from typing import Any

import yaml

from inference_platform.cluster import rights
from inference_platform.models import render
from inference_platform.platform import resolve
from inference_platform.preflight import data
from tests.support.audit import AuditMark
from tests.support.playbook import REPOSITORY

#: The name of what preflight tries; there a missing right is no refusal.
PREFLIGHT = "/inference-platform-preflight?"


def settings_of(inventory: str) -> dict[str, Any]:
    """The variables of a sample inventory."""
    files = sorted((REPOSITORY / "inventories" / inventory / "group_vars" / "all").glob("*.yml"))
    return {name: value for path in files for name, value in yaml.safe_load(path.read_text(encoding="utf-8")).items()}


def asked_for(settings: dict[str, Any]) -> set[rights.Right]:
    """What preflight asks for before the first run of these settings."""
    plan = resolve(settings).to_dict()
    models = render(settings["models"], settings.get("model_defaults") or {}, plan)
    return set(rights.needed(plan, models.objects, data.load()["rights"]))


def written_without_asking(before: AuditMark, settings: dict[str, Any]) -> list[str]:
    """Writes of the installer, and dry runs, for which preflight does not ask; but for its own dry runs."""
    asked = asked_for(settings)
    return [
        str(request)
        for request in before.installer_requests()
        if request.needs_right_to_write
        and PREFLIGHT not in request.uri
        and not request.is_of_the_lock
        and (request.group, request.resource, request.verb) not in asked
    ]
