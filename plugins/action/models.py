"""Action inference.platform.models: applies the models of the inventory. Documented in plugins/modules/models.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
    quantity,
    result_of,
)

MODEL_LABEL = "inference-platform.io/model"


class ActionModule(PlatformAction):
    """Renders all models, then applies in three batches: namespaces, pull secret, models."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "models": {"type": "list", "elements": "dict", "required": True},
        "model_defaults": {"type": "dict", "default": {}},
        "platform": {"type": "dict", "required": True},
        "pull_secret_file": {"type": "path", "required": True},
        "prune": {"type": "bool", "default": True},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import apply, secrets
        from inference_platform.cluster.objects import Ref
        from inference_platform.findings import InventoryError
        from inference_platform.models import render

        platform = arguments["platform"]
        rendered = render(arguments["models"], arguments["model_defaults"], platform)
        if not rendered.ok:
            raise InventoryError(rendered.findings)
        cluster = self.connect(arguments)
        namespaces = [item for item in rendered.objects if item["kind"] == "Namespace"]
        services = [item for item in rendered.objects if item["kind"] != "Namespace"]
        outcomes = [
            apply.apply(cluster, namespaces, check=self.check),
            secrets.apply_pull_secret(
                cluster,
                platform["pull_secret"]["name"],
                [item["metadata"]["name"] for item in namespaces],
                arguments["pull_secret_file"],
                check=self.check,
            ),
            apply.apply(cluster, services, check=self.check),
        ]
        if arguments["prune"]:
            kinds = [(platform["serving"]["api_version"], "LLMInferenceService")]
            keep = [Ref.of(item) for item in services]
            outcomes.append(apply.prune(cluster, kinds, MODEL_LABEL, keep, check=self.check))
        result = result_of(outcomes, unchanged=f"{quantity(len(services), 'model')} as wanted")
        result["models"] = [f"{model.namespace}/{model.name}" for model in rendered.models]
        api_version = platform["serving"]["api_version"]
        result["checks"] = [check for model in rendered.models for check in ready_checks(model, api_version)]
        return result


def ready_checks(model: Any, api_version: str) -> list[dict[str, Any]]:
    """The gate checks of one model: Ready at its current generation, and rolled out.

    Ready alone does not tell: it stays True while the pods of the last generation serve
    and those of this one wait for a GPU.
    """
    checks = [
        {
            "check": "condition",
            "api_version": api_version,
            "kind": "LLMInferenceService",
            "name": model.name,
            "namespace": model.namespace,
            "type": "Ready",
            "status": "True",
            "generation": "current",
            "explain": "A model is Ready when its pods serve, its scheduler runs and the gateway has its route.",
            "next": f"kubectl -n {model.namespace} describe llminferenceservice {model.name}",
        }
    ]
    if model.replicas:
        checks.append(
            {
                "check": "deployment",
                "namespace": model.namespace,
                "name": f"{model.name}-kserve",
                "explain": "Until all pods are replaced, the old ones serve; a new one needs a GPU beside them.",
                "next": f"kubectl -n {model.namespace} get pods --selector app.kubernetes.io/name={model.name}",
            }
        )
    return checks
