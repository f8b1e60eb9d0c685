"""Asks models for a completion through the gateway, with the command that does the same by hand."""

from __future__ import annotations

import asyncio
import json
import shlex
from dataclasses import dataclass
from typing import Any

import aiohttp

from embedded_cluster.kube import KubeClient, Object
from embedded_cluster.paths import ClusterPaths

API_VERSION, KIND = "serving.kserve.io/v1alpha2", "LLMInferenceService"
PROMPT = "Kubernetes is"
TOKENS = 16
TIMEOUT_SECONDS = 30


class AskError(Exception):
    """No completion; the text says what came instead and where to look."""


@dataclass(frozen=True)
class Question:
    """One request: where it goes and what it says."""

    model: str  # namespace/name
    url: str
    body: dict[str, Any]

    @classmethod
    def of(cls, model: Object) -> Question:
        """The question for a model; raises AskError for one without a URL."""
        metadata = model["metadata"]
        name = f"{metadata['namespace']}/{metadata['name']}"
        url = (model.get("status") or {}).get("url")
        if not url:
            raise AskError(f"model {name}: expected status.url, found none; it is not ready yet")
        served = model["spec"].get("model", {}).get("name") or metadata["name"]
        return cls(name, f"{url}/v1/completions", {"model": served, "prompt": PROMPT, "max_tokens": TOKENS})

    @property
    def command(self) -> str:
        """The same as a curl command."""
        header = "--header 'Content-Type: application/json'"
        return f"curl {self.url} {header} --data {shlex.quote(json.dumps(self.body))}"


async def ask_models(paths: ClusterPaths) -> list[tuple[Question, str]]:
    """Ask every model of the cluster; (question, generated text) of each. Raises AskError."""
    client = KubeClient.from_kubeconfig(paths.kubeconfig, user_agent="embedded-cluster/ask")
    async with client, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as session:
        questions = [Question.of(model) for model in await client.list(API_VERSION, KIND)]
        if not questions:
            raise AskError("the cluster has no model")
        answers = await asyncio.gather(*(_answer(session, question) for question in questions))
    return list(zip(questions, answers, strict=True))


async def _answer(session: aiohttp.ClientSession, question: Question) -> str:
    try:
        async with session.post(question.url, json=question.body) as response:
            text = await response.text()
            if response.status != 200:
                raise AskError(
                    f"model {question.model}: expected 200, found {response.status} {text}\n{question.command}"
                )
    except (TimeoutError, aiohttp.ClientError) as error:
        raise AskError(f"model {question.model}: no answer: {error!r}\n{question.command}") from None
    return str(json.loads(text)["choices"][0]["text"])
