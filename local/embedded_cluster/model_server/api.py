"""The OpenAI-compatible API of one simulated server, on aiohttp."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from embedded_cluster.model_server import metrics
from embedded_cluster.model_server.command_line import ServerSettings
from embedded_cluster.model_server.engine import CacheListener, Engine, Job, Pace, count_tokens

COMPLETION_TOKENS = 16
"""What vLLM generates when a completion request does not say how many."""
NATURAL_LENGTH = range(24, 65)
VERSION = "0.18.0"
ANSWER = (
    "this is a simulated answer and no model was asked for it the words follow from the prompt alone so that the same "
    "question is answered in the same way by every replica"
)
WORDS = ANSWER.split()


class RequestError(Exception):
    """A request that is refused, in the form vLLM answers it."""

    def __init__(self, status: int, kind: str, message: str, parameter: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.parameter = status, kind, parameter

    def response(self) -> web.Response:
        error = {"message": str(self), "type": self.kind, "param": self.parameter, "code": self.status}
        return web.json_response({"error": error}, status=self.status)


@dataclass(frozen=True)
class Question:
    """A completion or chat request, checked."""

    model: str
    prompts: tuple[str, ...]
    tokens: int
    finish_reason: str
    stream: bool
    include_usage: bool
    chat: bool


class ModelServer:
    """One server: its settings, its engine and its HTTP handlers."""

    def __init__(self, settings: ServerSettings, pace: Pace, pod: str, listener: CacheListener | None = None) -> None:
        self.settings = settings
        self.fingerprint = f"simulated-vllm/{pod}"
        self.engine = Engine(
            block_size=settings.block_size,
            blocks=settings.blocks or int(pace.kv_blocks),
            max_sequences=settings.max_sequences,
            keeps_prefixes=settings.prefix_caching,
            pace=pace,
            max_loras=settings.max_loras if settings.loras else 0,
            hash_seed=settings.hash_seed,
            listener=listener,
        )
        self._started = int(time.time())
        self._handlers = {
            ("GET", "/health"): self._health,
            ("GET", "/ping"): self._health,
            ("GET", "/version"): self._version,
            ("GET", "/metrics"): self._metrics,
            ("GET", "/v1/models"): self._models,
            ("POST", "/v1/completions"): self._completions,
            ("POST", "/v1/chat/completions"): self._chat,
        }

    def http(self) -> web.Server:
        """For a runner. As with vLLM, the request of a client that goes is given up."""
        return web.Server(self._handle, handler_cancellation=True, access_log=None)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        handler = self._handlers.get((request.method, request.path))
        if handler is None:
            known = any(path == request.path for _, path in self._handlers)
            detail = "Method Not Allowed" if known else "Not Found"
            return web.json_response({"detail": detail}, status=405 if known else 404)
        try:
            return await handler(request)
        except RequestError as error:
            return error.response()

    async def _health(self, _: web.BaseRequest) -> web.Response:
        return web.Response()

    async def _version(self, _: web.BaseRequest) -> web.Response:
        return web.json_response({"version": f"{VERSION}+simulated"})

    async def _metrics(self, _: web.BaseRequest) -> web.Response:
        page = metrics.render(self.engine, self.settings.served_names[0])
        return web.Response(body=page.encode(), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def _models(self, _: web.BaseRequest) -> web.Response:
        root = self.settings.model
        names = [(name, root, None) for name in self.settings.served_names]
        names += [(name, path, self.settings.served_names[0]) for name, path in self.settings.loras.items()]
        cards = [
            {
                "id": name,
                "object": "model",
                "created": self._started,
                "owned_by": "vllm",
                "root": path,
                "parent": parent,
                "max_model_len": self.settings.max_context if parent is None else None,
            }
            for name, path, parent in names
        ]
        return web.json_response({"object": "list", "data": cards})

    async def _completions(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await _body(request)
        return await self._answer(request, self._question(body, _prompts(body), chat=False))

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await _body(request)
        return await self._answer(request, self._question(body, (_conversation(body),), chat=True))

    def _question(self, body: Mapping[str, Any], prompts: tuple[str, ...], *, chat: bool) -> Question:
        model = body.get("model") or self.settings.served_names[0]
        if model not in self.settings.served_names and model not in self.settings.loras:
            raise RequestError(404, "NotFoundError", f"The model `{model}` does not exist.", "model")
        longest = max(map(count_tokens, prompts))
        room = self.settings.max_context - longest
        if room < 1:
            text = f"This model's maximum context length is {self.settings.max_context} tokens. However, your request "
            raise RequestError(400, "BadRequestError", f"{text}has {longest} input tokens.", "input_tokens")
        given = [body[name] for name in ("max_completion_tokens", "max_tokens") if body.get(name) is not None]
        asked = given[0] if given else None if chat else COMPLETION_TOKENS
        limit = min(room, _whole_number(asked, "max_tokens")) if asked is not None else room
        natural = limit if body.get("ignore_eos") else _natural_length(prompts[0])
        tokens = min(limit, max(natural, int(body.get("min_tokens") or 0)))
        options = body.get("stream_options") or {}
        reason = "length" if tokens == limit else "stop"
        stream = bool(body.get("stream"))
        return Question(model, prompts, tokens, reason, stream, bool(options.get("include_usage")), chat)

    async def _answer(self, request: web.BaseRequest, question: Question) -> web.StreamResponse:
        lora = question.model if question.model in self.settings.loras else ""
        jobs = [Job(prompt, question.tokens, lora) for prompt in question.prompts]
        head = {
            "id": f"{'chatcmpl' if question.chat else 'cmpl'}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": question.model,
            "system_fingerprint": self.fingerprint,
        }
        if question.stream:
            return await self._stream(request, question, jobs, head)
        for job in jobs:
            async for _ in self.engine.run(job, stream=False):
                pass
        choices = [_choice(question, index, _text(job.prompt, 0, job.tokens)) for index, job in enumerate(jobs)]
        kind = "chat.completion" if question.chat else "text_completion"
        return web.json_response({**head, "object": kind, "choices": choices, "usage": _usage(jobs)})

    async def _stream(
        self, request: web.BaseRequest, question: Question, jobs: list[Job], head: dict[str, Any]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        head = {**head, "object": "chat.completion.chunk" if question.chat else "text_completion"}
        await response.prepare(request)
        async for choice in self._chunks(question, jobs):
            await response.write(_event({**head, "choices": [choice]}))
        if question.include_usage:
            await response.write(_event({**head, "choices": [], "usage": _usage(jobs)}))
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    async def _chunks(self, question: Question, jobs: list[Job]) -> AsyncIterator[dict[str, Any]]:
        for index, job in enumerate(jobs):
            if question.chat:
                delta = {"role": "assistant", "content": ""}
                yield {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
            done = 0
            async for count in self.engine.run(job, stream=True):
                text, done = _text(job.prompt, done, done + count), done + count
                reason = question.finish_reason if done == job.tokens else None
                content = {"delta": {"content": text}} if question.chat else {"text": text}
                yield {"index": index, **content, "logprobs": None, "finish_reason": reason}


async def _body(request: web.BaseRequest) -> Mapping[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError as error:
        raise RequestError(400, "BadRequestError", f"There was an error parsing the body: {error}") from None
    if not isinstance(body, dict):
        raise RequestError(400, "BadRequestError", "Input should be a valid dictionary")
    return body


def _prompts(body: Mapping[str, Any]) -> tuple[str, ...]:
    """One text, several, token numbers, or several lists of those."""
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        return (prompt,)
    if isinstance(prompt, list) and prompt:
        if all(isinstance(item, int) for item in prompt):
            return (_of_numbers(prompt),)
        return tuple(item if isinstance(item, str) else _of_numbers(item) for item in prompt)
    raise RequestError(400, "BadRequestError", "Either prompt or prompt_embeds must be provided and non-empty.")


def _of_numbers(tokens: list[int]) -> str:
    """Text that stands for token numbers: as many tokens, and the same for the same numbers."""
    return "".join(f"{number % 10000:04d}" for number in tokens)


def _conversation(body: Mapping[str, Any]) -> str:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestError(400, "BadRequestError", "messages: expected a list with at least one message", "messages")
    parts = []
    for message in messages:
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "".join(part.get("text", "") for part in content)
        parts.append(f"<|im_start|>{message.get('role', 'user')}\n{content}<|im_end|>\n")
    return "".join(parts) + "<|im_start|>assistant\n"


def _whole_number(value: Any, name: str) -> int:
    if not isinstance(value, int) or value < 1:
        raise RequestError(400, "BadRequestError", f"{name} must be at least 1, got {value}.", name)
    return value


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _natural_length(prompt: str) -> int:
    return NATURAL_LENGTH[_digest(prompt) % len(NATURAL_LENGTH)]


def _text(prompt: str, start: int, end: int) -> str:
    """Tokens `start` to `end` of the answer to a prompt: words from a place that the prompt decides."""
    first = _digest(prompt) % len(WORDS)
    return "".join(f" {WORDS[(first + number) % len(WORDS)]}" for number in range(start, end))


def _choice(question: Question, index: int, text: str) -> dict[str, Any]:
    content: dict[str, Any] = {"text": text}
    if question.chat:
        content = {"message": {"role": "assistant", "content": text.strip()}}
    return {"index": index, **content, "logprobs": None, "finish_reason": question.finish_reason}


def _usage(jobs: list[Job]) -> dict[str, Any]:
    prompt, completion = sum(job.prompt_tokens for job in jobs), sum(job.tokens for job in jobs)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sum(job.cached_tokens for job in jobs)},
    }


def _event(chunk: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(chunk, separators=(',', ':'))}\n\n".encode()
