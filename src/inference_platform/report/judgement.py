"""What follows from the state: problems in words, what is not proven, what to try next. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence

from inference_platform.report.context import Context
from inference_platform.report.model_state import NAME_LABEL
from inference_platform.report.observation import (
    Command,
    CrdSet,
    Deployment,
    Gateway,
    Layer,
    Model,
    Namespace,
)

TOLD_PER_LAYER = 3
"""Problems of a layer in the summary; the first cause the rest, and the layer itself has them all."""


def problems(
    layers: Sequence[Layer],
    namespaces: Sequence[Namespace],
    deployments: Sequence[Deployment],
    crds: Sequence[CrdSet],
    gateway: Gateway | None,
    models: Sequence[Model],
    *,
    address_required: bool = True,
) -> Iterable[str]:
    """One sentence for each thing that is not as the plan and the models want it.

    What the gate of a layer already complains about is not said twice. Where the
    provider does without a load balancer (not ``address_required``), a model needs no URL.
    """
    told = {layer.name for layer in layers if layer.problems}
    for namespace in namespaces:
        if namespace.phase != "Active":
            yield f"Namespace {namespace.name} {_missing_or(namespace.phase)}."
    for layer in layers:
        yield from _layer_problems(layer)
    for crd_set in crds:
        if crd_set.missing and crd_set.layer not in told:
            yield _crd_problem(crd_set)
    for deployment in deployments:
        if not deployment.replicas.complete and deployment.layer not in told:
            yield (f"Deployment {deployment.namespace}/{deployment.name} has {deployment.replicas} replicas ready.")
    if "inference_gateway" not in told:
        yield from _gateway_problems(layers, gateway)
    for model in models:
        yield from _model_problems(model, address_required)


def _layer_problems(layer: Layer) -> Iterable[str]:
    for problem in layer.problems[:TOLD_PER_LAYER]:
        yield f"{layer.title}: {problem}"
    more = len(layer.problems) - TOLD_PER_LAYER
    if more > 0:
        yield f"{layer.title}: {more} more {'check' if more == 1 else 'checks'} of its gate."


def _crd_problem(crd_set: CrdSet) -> str:
    if crd_set.established.ready == 0:
        return f"None of the {crd_set.established.wanted} CRDs of {crd_set.name} is Established."
    return f"CRDs of {crd_set.name} not Established: {', '.join(crd_set.missing)}."


def _missing_or(phase: str) -> str:
    return f"is {phase}" if phase else "does not exist"


def _gateway_problems(layers: Sequence[Layer], gateway: Gateway | None) -> Iterable[str]:
    if gateway is None:
        if any(layer.name == "inference_gateway" for layer in layers):
            yield "The gateway of the models does not exist."
        return
    # Whether Accepted is enough is the gate's decision (data); here only what cannot serve.
    if not gateway.accepted:
        detail = gateway.message or "the controller has not accepted it"
        yield f"Gateway {gateway.namespace}/{gateway.name} is not accepted: {detail}."


def _model_problems(model: Model, address_required: bool) -> Iterable[str]:
    where = f"Model {model.namespace}/{model.name}"
    if not model.ready:
        yield f"{where} is not Ready{_reason(model)}."
    elif address_required and not model.url and not model.stopped:
        # observed-gateway.md 5.4: Ready without an address does not mean reachable.
        yield f"{where} is Ready but has no URL: the gateway has no address yet."


def _reason(model: Model) -> str:
    blocking = next((c for c in model.conditions if c.type == "Ready"), None)
    if blocking is None:
        return ": its controller has not reported yet"
    if blocking.status == "True":
        return ": its controller has not seen the newest version yet"
    return f": {blocking.reason} {blocking.message}".rstrip(" .:")


def unverified(models: Sequence[Model], context: Context) -> Iterable[str]:
    """What this report does not prove, one sentence each."""
    yield from context.unverified
    unchecked = not context.layer_problems
    if unchecked:
        yield "The gates of the layers were not evaluated for this report."
    running = [model for model in models if model.serving.wanted]
    silent = [model for model in running if f"{model.namespace}/{model.name}" not in context.answered]
    if silent:
        whom = "a model" if len(silent) == len(running) else f"{len(silent)} of {len(running)} models"
        yield (
            f"This run sent no request to {whom}: Ready and Programmed are what the controllers report. "
            "The curl below is the proof."
        )


def commands(models: Sequence[Model]) -> tuple[Command, ...]:
    """The next three commands: look at the models, look at their pods, send a request."""
    overview = Command("See every model, its state and its URL", "kubectl get llminferenceservices --all-namespaces")
    waiting = next((model for model in models if not model.ready), None)
    serving = next((model for model in models if model.ready and model.url and model.serving.wanted), None)
    if waiting:
        return (overview, _explain(waiting), _pods_of(waiting))
    if serving:
        return (overview, _pods_of(serving), _ask(serving))
    return (
        overview,
        Command("See the gateway and its address", "kubectl get gateways --all-namespaces"),
        Command(
            "See the pods that are not running",
            "kubectl get pods --all-namespaces --field-selector status.phase!=Running,status.phase!=Succeeded",
        ),
    )


def _explain(model: Model) -> Command:
    return Command(
        f"Read what {model.name} is waiting for",
        f"kubectl describe llminferenceservice {shlex.quote(model.name)} --namespace {shlex.quote(model.namespace)}",
    )


def _pods_of(model: Model) -> Command:
    return Command(
        f"See the pods of {model.name} and their nodes",
        f"kubectl get pods --namespace {shlex.quote(model.namespace)} "
        f"--selector {NAME_LABEL}={shlex.quote(model.name)} --output wide",
    )


def _ask(model: Model) -> Command:
    body = json.dumps({"model": model.served_name, "prompt": "Kubernetes is", "max_tokens": 32}, ensure_ascii=False)
    private = " (add --insecure where its certificate is of an authority unknown to curl)"
    return Command(
        f"Ask {model.name} through the gateway{private if model.url.startswith('https:') else ''}",
        f"curl {shlex.quote(model.url + '/v1/completions')} "
        f"--header 'Content-Type: application/json' --data {shlex.quote(body)}",
    )
