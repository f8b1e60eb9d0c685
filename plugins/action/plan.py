"""Action inference.platform.plan: checks the inventory, resolves the plan. Documented in plugins/modules/plan.py."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import replace
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.utils.vars import load_extra_vars
from ansible_collections.inference.platform.plugins.plugin_utils import handover, templates
from ansible_collections.inference.platform.plugins.plugin_utils.findings import as_table
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    PlatformAction,
    quantity,
)
from ansible_collections.inference.platform.plugins.plugin_utils.role_inputs import (
    check_chart_values,
    check_role_inputs,
)

#: What playbooks take with -e and no inventory has.
OF_PLAYBOOKS = frozenset(
    {"only", "model", "export_dir", "capacity_live", "mirror_registry", "mirror_copy", "mirror_auth_file"}
)
#: Settings that are used up when the models are rendered; later tasks get those.
OF_MODELS = frozenset({"models", "model_defaults", "model_profiles", "model_routes", "traffic_groups"})


#: Options of ansible-playbook that name tags, and the variables that hold what was given.
TAG_OPTIONS = {"--tags": "ansible_run_tags", "--skip-tags": "ansible_skip_tags"}
#: Tags that Ansible itself gives a meaning.
TAGS_OF_ANSIBLE = ("all", "tagged", "untagged", "always", "never")


class ActionModule(PlatformAction):
    """Fails with every mistake of the inventory in one message. Needs a cluster only where the provider is auto."""

    ARGUMENTS: ClassVar = {
        "inventories": {"type": "list", "elements": "path"},
        "only": {"type": "list", "elements": "str", "default": []},
        "tags_known": {"type": "list", "elements": "str", "default": []},
        "writes": {"type": "bool", "default": True},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform import catalog, inventory, paths, platform
        from inference_platform.findings import errors
        from inference_platform.platform import unused_values
        from inference_platform.problems import Reporter

        about_tags = list(self._strange_tags(arguments["tags_known"]))
        sources = inventory.Sources.load(arguments["inventories"] or self.task_vars["ansible_inventory_sources"])
        extra = load_extra_vars(self._loader)
        if stray := extra.get("_raw_params"):
            raise AnsibleActionFail(about_stray(stray))
        variables, unresolved = self._given({**sources.variables, **extra}, without=OF_PLAYBOOKS & set(extra))
        for name in extra:
            sources.variables.pop(name, None)  # it comes from -e, not from the file
        evidence = self._detect_provider(variables)
        found = inventory.examine(variables, sources)
        about_inputs = [
            *check_role_inputs(paths.ROLES, variables, sources.where),
            *check_chart_values(catalog.load(), variables, sources.where),
        ]
        findings = templates.told_first(unresolved, [*found.findings, *about_inputs], sources.where)
        if not arguments["writes"]:
            findings = without_need_of_credentials(findings)
        mistakes = errors(findings)
        if mistakes:
            others = [finding for finding in findings if finding not in mistakes]
            count = quantity(len(mistakes), "mistake") + (f" and {quantity(len(others), 'warning')}" if others else "")
            table = as_table([*mistakes, *others])
            raise AnsibleActionFail(f"{count} in the inventory; nothing was written.\n{table}")
        need_models(arguments["only"], found.models)
        settings = inventory.settings_of(variables)
        resolved = platform.resolve(settings, sources=sources)
        findings += unused_values.check(settings, variables, resolved, catalog.load(), Reporter(sources))
        plan = resolved.to_dict()
        return {
            "changed": False,
            "platform": plan,
            "settings": {name: value for name, value in complete(settings).items() if name not in OF_MODELS},
            "rendered": handover.put(found.models),
            "warnings": [*about_tags, *(str(finding) for finding in findings)],
            "msg": in_one_line(plan, evidence, found.models, len(findings)),
        }

    def _strange_tags(self, known: list[str]) -> Iterator[str]:
        from inference_platform import catalog

        layers = [layer["name"] for layer in catalog.load().layers]
        for option, name in TAG_OPTIONS.items() if known else ():
            yield from strange_tags(option, self.task_vars[name], known, layers)

    def _detect_provider(self, variables: dict[str, Any]) -> str:
        """Put what the nodes say in place of the provider auto; the evidence as it is told, empty without auto."""
        from inference_platform import catalog
        from inference_platform.platform import AUTO, MixedNodesError, detect

        if variables.get("provider") != AUTO:
            return ""
        cluster = self.connect({"kubeconfig": variables.get("kubeconfig"), "context": variables.get("kube_context")})
        name = f"{cluster.access.server} (context {cluster.access.context})"
        try:
            found = detect(cluster.list("v1", "Node"), catalog.load().providers)
        except MixedNodesError as error:
            raise AnsibleActionFail(
                f"{name}: expected nodes of one provider, found several: {error}. Set provider in the inventory."
            ) from None
        variables["provider"] = found.provider
        return f" (on {name} {found.evidence})"

    def _given(
        self, written: Mapping[str, Any], without: Set[str]
    ) -> tuple[dict[str, Any], list[templates.Unresolved]]:
        """What the user set, in inventories or with -e, with templates resolved; and those that cannot be resolved."""
        from inference_platform.inventory import settings_of

        known = self.task_vars
        names = {**written, **settings_of(known)}.keys() - without
        taken = [name for name in names if name in known and not name.startswith("ansible_")]
        given: dict[str, Any] = {}
        unresolved: list[templates.Unresolved] = []
        for name in taken:
            given[name], wrong = templates.resolved(self._templar.template, name, known[name])
            unresolved += wrong
        return given, unresolved


def in_one_line(plan: Mapping[str, Any], evidence: str, rendered: Any, warnings: int) -> str:
    """The plan and the models: "release 3.4 for aws: 12 layers; 3 models (1 stopped), 5 GPUs; no warnings"."""
    stopped = sum(1 for model in rendered.models if model.state == "stopped")
    counts = {"stopped": stopped, "to remove": len(rendered.absent)}
    aside = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    parts = [
        quantity(len(rendered.models), "model") + (f" ({aside})" if aside else ""),
        quantity(sum(model.gpus for model in rendered.models), "GPU"),
    ]
    models = ", ".join(parts) if rendered.models or aside else "no models"
    layers = f"release {plan['release']} for {plan['provider']}{evidence}: {len(plan['layers'])} layers"
    return f"{layers}; {models}; {quantity(warnings, 'warning') if warnings else 'no warnings'}"


def about_stray(text: str) -> str:
    """What is said of a word of -e that is no NAME=VALUE; what may be a piece of a pull secret is not shown."""
    from inference_platform.credentials import is_content
    from inference_platform.findings import show

    found = "a text that is not shown" if is_content(text) else show(text)
    return f"-e: expected NAME=VALUE, found {found}. Write a list without spaces, as in -e only=one,other."


def strange_tags(option: str, given: Iterable[str], known: list[str], layers: list[str]) -> Iterator[str]:
    """A warning for each tag that is none of the playbook; one that is nearly a tag of it fails the run.

    Ansible would run nothing for it, or skip nothing, and call that done. A playbook that imports this one may have
    tags of its own.

    option  --tags or --skip-tags
    known   tags of the playbook; with "layers" among them, the names of the layers are tags too
    """
    from inference_platform.schema import close_names, or_list

    known = [*known, *(layers if "layers" in known else [])]
    for tag in sorted(set(given) - {*known, *TAGS_OF_ANSIBLE}):
        found = f"{option}: expected {or_list(known)}, found {tag}."
        close = close_names(tag.replace("-", "_"), known)
        if close:
            raise AnsibleActionFail(f"{found} Did you mean {close[0]}?")
        yield f"{found} No task of this playbook has it."


def need_models(names: list[str], rendered: Any) -> None:
    """Fails when a name means no model of the inventory."""
    from inference_platform.models import choice

    wrong = choice.unknown(names, rendered.ids)
    if wrong:
        raise AnsibleActionFail(f"only: expected models of the inventory, {wrong}")


def without_need_of_credentials(findings: Iterable[Any]) -> list[Any]:
    """The findings of a run that writes to no cluster: a pull secret or CRD files that are not there are only told."""
    from inference_platform.findings import WARNING
    from inference_platform.inventory.downloads import NO_FOLDER
    from inference_platform.inventory.pull_secret import ONLY_FOR_WRITING

    told = {*ONLY_FOR_WRITING, NO_FOLDER}
    return [replace(item, severity=WARNING) if item.code in told else item for item in findings]


def complete(settings: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of the inventory schema: what the user set, else the default, else None.

    The file of the pull secret may be that of the environment, where one is made anyway. One that is named stays where
    none is made: playbooks/mirror.yml copies images with it.
    """
    from inference_platform.catalog import load
    from inference_platform.inventory.pull_secret import VARIABLE, pull_secret_path
    from inference_platform.platform.resolve import needs_pull_secret, setting
    from inference_platform.schema import load_schema

    every = {name: setting(settings, name) for name in load_schema("inventory")["properties"]}
    path = pull_secret_path(settings, os.environ if needs_pull_secret(settings, load()) else {})
    return {**every, VARIABLE: str(path) if path else None}
