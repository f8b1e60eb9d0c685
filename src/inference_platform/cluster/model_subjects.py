"""Which models the smoke test asks, at which address, as the cluster says now."""

from __future__ import annotations

from collections.abc import Iterable

from inference_platform.cluster.client import Cluster
from inference_platform.cluster.immutable import KIND
from inference_platform.cluster.models import SELECTOR
from inference_platform.cluster.objects import Object, Ref
from inference_platform.cluster.readiness import STOP_ANNOTATION, Surroundings, judge
from inference_platform.cluster.smoke import Subject
from inference_platform.models.addresses import public_url


def subjects_of(cluster: Cluster, wanted: Iterable[Object], around: Surroundings) -> list[Subject]:
    """A subject for each LLMInferenceService of `wanted`, by one list."""
    models = [obj for obj in wanted if obj["kind"] == KIND]
    if not models:
        return []
    live = {Ref.of(obj): obj for obj in cluster.list(models[0]["apiVersion"], KIND, label_selector=SELECTOR)}
    return [_subject(obj, live.get(Ref.of(obj)), around) for obj in models]


def _subject(wanted: Object, live: Object | None, around: Surroundings) -> Subject:
    metadata, spec = wanted["metadata"], wanted.get("spec") or {}
    served = (spec.get("model") or {}).get("name") or metadata["name"]
    url = public_url(live or {})
    return Subject(f"{metadata['namespace']}/{metadata['name']}", served, url, _skip(wanted, live, around))


def _skip(wanted: Object, live: Object | None, around: Surroundings) -> str:
    """Why a model is not asked at all, or nothing."""
    if (wanted["metadata"].get("annotations") or {}).get(STOP_ANNOTATION) == "true":
        return "it is stopped"
    if live is None:
        return "it is not in the cluster"
    if (wanted.get("spec") or {}).get("replicas") == 0:
        return "it has no pods (replicas: 0)"
    verdict = judge(live, Surroundings(around.system_namespace, address_required=False))
    return "" if verdict.ready else f"it is not ready: {verdict.why}"
