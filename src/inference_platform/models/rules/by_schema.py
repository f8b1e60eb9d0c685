"""Rules that are checked before an entry is complete: by the schema (``x-code``), or while layers are merged."""

from __future__ import annotations

from inference_platform.findings import ERROR
from inference_platform.models.rules.engine import SCHEMA, Rule
from inference_platform.models.rules.registry import RULES

RULES.all += [
    Rule("IP-MOD-007", "model_defaults name no model.", SCHEMA, ERROR, (), None),
    Rule("IP-MOD-012", "Profiles that a model names exist.", SCHEMA, ERROR, (), None),
    Rule("IP-MOD-013", "Profiles say nothing that only a model can say.", SCHEMA, ERROR, (), None),
    Rule("IP-MOD-124", "Values of environment variables are texts.", SCHEMA, ERROR, ("mistake 24",), None),
    Rule("IP-MOD-125", "Autoscaling keeps at least one replica.", SCHEMA, ERROR, ("mistake 25",), None),
    Rule("IP-MOD-127", "The uri has a scheme that KServe reads.", SCHEMA, ERROR, ("mistake 27",), None),
    Rule("IP-MOD-131", "Names are short DNS labels that begin with a letter.", SCHEMA, ERROR, ("mistake 31",), None),
]
