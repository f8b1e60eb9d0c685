"""From the objects of a cluster to an :class:`Observation`. Pure: objects in, data out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from inference_platform.report import judgement, model_state, platform_state
from inference_platform.report.context import MODELS_STEP, Context, Objects
from inference_platform.report.observation import Observation


def observe(objects: Objects, platform: Mapping[str, Any], context: Context) -> Observation:
    """Put together what ``objects`` say about the plan ``platform`` (a plan as a dict)."""
    gpu = model_state.GpuNames.of(platform)
    nodes = model_state.nodes(objects.nodes, objects.pods, gpu)
    layers = platform_state.layers(platform, context)
    namespaces = platform_state.namespaces(platform, objects.namespaces)
    deployments = platform_state.deployments(platform, objects.deployments)
    crds = platform_state.crd_sets(platform, objects.established_crds)
    gateway = platform_state.gateway(platform, objects.gateways, objects.gateway_classes)
    models = model_state.models(objects, nodes, gpu)
    address_required = bool(platform["serving"]["gateway"]["address_required"])
    models_timing = context.timings.get(MODELS_STEP)
    return Observation(
        generated_at=context.generated_at,
        inventory=context.inventory,
        cluster=context.cluster,
        platform=platform_state.identity(platform),
        layers=layers,
        namespaces=namespaces,
        deployments=deployments,
        services=platform_state.services(platform, objects.services),
        crds=crds,
        gateway=gateway,
        models=models,
        nodes=nodes,
        total_seconds=sum(t.seconds for t in context.timings.values()) if context.timings else None,
        models_seconds=models_timing.seconds if models_timing else None,
        models_changed=models_timing.changed if models_timing else None,
        problems=tuple(
            judgement.problems(
                layers, namespaces, deployments, crds, gateway, models, address_required=address_required
            )
        ),
        unverified=tuple(judgement.unverified(models, context)),
        environment=f"export KUBECONFIG={shlex.quote(context.kubeconfig)}" if context.kubeconfig else "",
        commands=judgement.commands(models),
    )
