#!/usr/bin/python
"""Documentation of the action inference.platform.models_benchmark; plugins/action/models_benchmark.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: models_benchmark
short_description: Put a load on a model and measure
version_added: 0.1.0
description:
  - Runs GuideLLM against the URL of a model or traffic group, and reads every second what its pods counted, through the
    API server.
  - Writes the report of GuideLLM (F(guidellm.json)), its own (F(benchmark.json)) and a page with plots
    (F(benchmark.html)).
  - In check mode it does nothing.
options:
  model:
    description: Name of a model or traffic group, as C(name) or C(namespace/name).
    type: str
    required: true
  program:
    description: Path of GuideLLM. Its version decides how it is called.
    type: path
    required: true
  directory:
    description: Folder for the reports.
    type: path
    required: true
  kind:
    description: Load, as GuideLLM names it, such as C(constant), C(poisson), C(concurrent), C(synchronous) or C(sweep).
    type: str
    default: constant
  rate:
    description: Requests a second; with C(concurrent) requests at once.
    type: float
    default: 5.0
  seconds:
    description: Length of the load.
    type: int
    default: 30
  prompt_tokens:
    description: Tokens of each prompt, about.
    type: int
    default: 256
  output_tokens:
    description: Tokens of each answer.
    type: int
    default: 64
  processor:
    description: Tokenizer for GuideLLM, a folder or a name at the model hub. Newer versions need one.
    type: str
    default: ""
notes:
  - Needs the right to C(get pods/proxy) in the namespaces of the models.
  - Supports check mode.
extends_documentation_fragment:
  - inference.platform.cluster
  - inference.platform.plan
  - inference.platform.plan.rendered
  - inference.platform.controller
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Put a load on a model
  inference.platform.models_benchmark:
    rendered: "{{ platform_rendered }}"
    platform: "{{ platform }}"
    model: qwen-basic
    program: /usr/local/bin/guidellm
    directory: build/benchmark
"""

RETURN = r"""
servers:
  description: What the servers counted; throughput, latencies, queue, cache hits, shares, and series.
  returned: success
  type: dict
"""
