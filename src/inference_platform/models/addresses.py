"""Where clients find a model, by the status that KServe writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXTERNAL_ADDRESS = "gateway-external"


def public_url(model: Mapping[str, Any]) -> str:
    """The URL that clients are given: an HTTPS one where there is one, "" without an address from outside.

    KServe puts the first by alphabet into `status.url`, so plain HTTP where the gateway has both.
    """
    status = model.get("status") or {}
    external = [str(a.get("url") or "") for a in status.get("addresses") or [] if a.get("name") == EXTERNAL_ADDRESS]
    return next((url for url in external if url.startswith("https://")), str(status.get("url") or ""))
