"""Rules that the schema itself checks: their codes stand there as ``x-code``."""

from __future__ import annotations

from inference_platform.findings import ERROR
from inference_platform.models.rules.engine import SCHEMA, Rule
from inference_platform.models.rules.registry import RULES

RULES.all += [
    Rule("IP-MOD-124", "Values of environment variables are texts.", SCHEMA, ERROR, ("mistake 24",), None),
    Rule("IP-MOD-125", "Autoscaling keeps at least one replica.", SCHEMA, ERROR, ("mistake 25",), None),
    Rule("IP-MOD-127", "The uri has a scheme that KServe reads.", SCHEMA, ERROR, ("mistake 27",), None),
    Rule("IP-MOD-131", "Names are short DNS labels that begin with a letter.", SCHEMA, ERROR, ("mistake 31",), None),
]
