"""The LLMInferenceService of a model, and what stands beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference_platform.models import labels
from inference_platform.models.pods import pod_template
from inference_platform.models.routes import model_route_spec
from inference_platform.models.scheduler import Wiring
from inference_platform.models.shapes import Block, render
from inference_platform.models.strategic_merge import strategic_merge
from inference_platform.models.topology import SERVER_PORT, Workload

# Keys of the metadata that KServe acts on or hands on to the pods (models.md 1.7).
STOP_ANNOTATION = "serving.kserve.io/stop"
SECRET_ANNOTATION = "serving.kserve.io/storageSecretName"
NETWORKS_ANNOTATION = "k8s.v1.cni.cncf.io/networks"
EXCLUSIVE_ANNOTATION = "leaderworkerset.sigs.k8s.io/exclusive-topology"
# The autoscaler tells variants apart by it (models.md 1.4).
ACCELERATOR_LABEL = "inference.optimization/acceleratorName"

#: Settings of the language and the fields of the API they become.
PARALLELISM_FIELDS = {
    "tensor": "tensor",
    "pipeline": "pipeline",
    "data": "data",
    "data_local": "dataLocal",
    "data_rpc_port": "dataRPCPort",
    "expert": "expert",
}
KEDA_FIELDS = {
    "polling_interval": "pollingInterval",
    "cooldown_period": "cooldownPeriod",
    "initial_cooldown_period": "initialCooldownPeriod",
    "idle_replica_count": "idleReplicaCount",
    "advanced": "advanced",
}
SCALING_FIELDS = {"min_replicas": "minReplicas", "max_replicas": "maxReplicas"}
FALLBACK_FIELDS = {"failure_threshold": "failureThreshold", "replicas": "replicas", "behavior": "behavior"}
LORA_FIELDS = {"max_rank": "maxRank", "max_adapters": "maxAdapters", "max_cpu_adapters": "maxCpuAdapters"}
TRACING_FIELDS = {
    "exporter_endpoint": "exporterEndpoint",
    "exporter": "exporter",
    "sampler": "sampler",
    "sampler_arg": "samplerArg",
}


def namespace_object(namespace: str, serving: Mapping[str, Any]) -> dict[str, Any]:
    """The Namespace of models: the gateway admits routes from those with the labels of access."""
    access = serving["gateway"]["namespace_labels"]
    return render("namespace", Block(name=namespace, labels=labels.managed(dict(access))))


def service_object(
    model: Mapping[str, Any], pods: tuple[Workload, ...], wiring: Wiring, serving: Mapping[str, Any]
) -> dict[str, Any]:
    """The LLMInferenceService of one completed, valid model."""
    main = pods[0]
    block = Block(
        api_version=serving["api_version"],
        name=model["name"],
        namespace=model["namespace"],
        labels=labels.of_model(model["name"], model.get("labels")),
        model=_source(model, serving),
        main=_workload(main, model, wiring, serving),
    )
    if len(pods) > 1:
        block["prefill"] = _workload(pods[1], model, wiring, serving)
    _put(block, "annotations", _annotations(model, serving))
    _put(block, "storage_initializer", None if model.get("storage_initializer", True) else False)
    _put(block, "base_refs", [{"name": name} for name in model.get("base_refs", [])])
    _put(block, "tracing", _renamed(model.get("tracing", {}), TRACING_FIELDS))
    _put(block, "kv_cache_offloading", model.get("kv_cache_offloading"))
    router = model.get("router", {})
    if router.get("route", "managed") != "none":
        block["router"] = _router(model, router, wiring, serving)
        if wiring.epp_config is not None or "pool" in router:
            block["scheduler"] = _scheduler(model, wiring, serving)
    service = render("llminferenceservice", block, literal_spec=True)
    if "override" in model:
        service["spec"] = strategic_merge(service["spec"], model["override"])
    return service


def pod_monitor_object(model: Mapping[str, Any], serving: Mapping[str, Any]) -> dict[str, Any]:
    """The PodMonitor of a model, for the Prometheus operator."""
    return render(
        "podmonitor",
        Block(
            name=model["name"],
            namespace=model["namespace"],
            labels=labels.of_model(model["name"], model.get("labels")),
            selector=serving_labels(model["name"]),
            port=SERVER_PORT,
            scheme="https" if serving["tls"] else "http",
        ),
    )


def serving_labels(name: str) -> dict[str, str]:
    """Labels of the pods of a model that serve requests (models.md 1.7)."""
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/part-of": "llminferenceservice",
        "kserve.io/component": "workload",
    }


def _annotations(model: Mapping[str, Any], serving: Mapping[str, Any]) -> dict[str, str]:
    derived = {
        STOP_ANNOTATION: "true" if model.get("state") == "stopped" else None,
        SECRET_ANNOTATION: model.get("credentials_secret"),
        NETWORKS_ANNOTATION: model.get("networks"),
        EXCLUSIVE_ANNOTATION: model.get("exclusive_topology"),
    }
    if model.get("monitoring") == "annotations":
        derived |= {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(SERVER_PORT),
            "prometheus.io/path": "/metrics",
            "prometheus.io/scheme": "https" if serving["tls"] else "http",
        }
    own = {**serving.get("annotations", {}), **model.get("annotations", {})}
    return {**own, **{key: value for key, value in derived.items() if value is not None}}


def _source(model: Mapping[str, Any], serving: Mapping[str, Any]) -> Block:
    revision = model.get("revision")
    source = Block(uri=f"{model['uri']}:{revision}" if revision else model["uri"])
    _put(source, "name", model.get("served_name"))
    if serving["lora"] == "api" and "lora" in model:
        lora = model["lora"]
        adapters = [{"name": adapter["name"], "uri": adapter["uri"]} for adapter in lora["adapters"]]
        source["lora"] = {"adapters": adapters, **_renamed(lora, LORA_FIELDS)}
    if "confidential" in model:
        source["confidential"] = _renamed(model["confidential"], {"enabled": "enabled", "resource_id": "resourceId"})
    return source


def _workload(workload: Workload, model: Mapping[str, Any], wiring: Wiring, serving: Mapping[str, Any]) -> Block:
    settings = workload.settings
    block = Block()
    _put(block, "replicas", workload.replicas)
    if "scaling" in settings:
        block["scaling"] = scaling_spec(settings["scaling"])
    _put(block, "parallelism", parallelism_spec(workload))
    pod_labels = dict(settings.get("pod_labels", {}))
    if "scaling" in settings and "product" in settings["gpu"]:
        pod_labels.setdefault(ACCELERATOR_LABEL, settings["gpu"]["product"])
    _put(block, "labels", pod_labels)
    _put(block, "annotations", settings.get("pod_annotations"))
    block["template"] = pod_template(workload, model, wiring, serving)
    if workload.multi_node:
        block["worker"] = pod_template(workload, model, wiring, serving, with_probes=False)
    return block


def parallelism_spec(workload: Workload) -> dict[str, Any]:
    """``parallelism`` of a workload in the terms of the API; empty on one node, where arguments say it."""
    if not workload.multi_node:
        return {}
    tensor = {"tensor": workload.tensor} if workload.tensor > 1 else {}
    return _renamed({**workload.settings.get("parallelism", {}), **tensor}, PARALLELISM_FIELDS)


def scaling_spec(scaling: Mapping[str, Any]) -> dict[str, Any]:
    """``scaling`` in the terms of the API."""
    wva: dict[str, Any] = {}
    if "variant_cost" in scaling:
        wva["variantCost"] = scaling["variant_cost"]
    if "hpa" in scaling:
        wva["hpa"] = dict(scaling["hpa"])
    if "keda" in scaling:
        keda = scaling["keda"]
        wva["keda"] = _renamed(keda, KEDA_FIELDS)
        if "fallback" in keda:
            wva["keda"]["fallback"] = _renamed(keda["fallback"], FALLBACK_FIELDS)
    return {**_renamed(scaling, SCALING_FIELDS), "wva": wva}


def _router(model: Mapping[str, Any], router: Mapping[str, Any], wiring: Wiring, serving: Mapping[str, Any]) -> Block:
    gateway = serving["gateway"]
    own_route = router.get("route", "managed") == "own"
    block = Block()
    if "gateways" in router:
        names = {"name": "name", "namespace": "namespace", "section_name": "sectionName"}
        block["gateways"] = [_renamed(item, names) for item in router["gateways"]]
    elif gateway["address_required"]:
        block["gateways"] = [{"name": gateway["name"], "namespace": gateway["namespace"]}]
    elif not own_route:
        block["default_gateway"] = True
    if own_route:
        block["routes"] = [{"name": name} for name in router.get("routes", [])]
    else:
        with_pool = wiring.epp_config is not None or "pool" in router
        _put(block, "route_spec", model_route_spec(model, with_pool, serving))
    _put(block, "group", router.get("group"))
    _put(block, "weight", router.get("weight"))
    return block


def _scheduler(model: Mapping[str, Any], wiring: Wiring, serving: Mapping[str, Any]) -> Block:
    router = model.get("router", {})
    if "pool" in router:
        return Block(pool=router["pool"])
    block = Block(config=wiring.epp_config)
    settings = model.get("scheduler", {})
    replicas = settings.get("replicas", 1)
    _put(block, "replicas", replicas if replicas > 1 else None)
    _put(block, "labels", settings.get("pod_labels"))
    _put(block, "annotations", settings.get("pod_annotations"))
    if serving["pull_secret"]:
        block["pull_secrets"] = [{"name": serving["pull_secret"]}]
        block["containers"] = [{"name": name} for name in serving["scheduler_containers"]]
    return block


def _put(block: Block, key: str, value: Any) -> None:
    if value is not None and value not in ({}, []):
        block[key] = value


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names[name]: value for name, value in values.items() if name in names}
