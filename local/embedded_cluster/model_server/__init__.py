"""A simulated vLLM: the OpenAI-compatible server that the pods of models run in the embedded cluster.

`command_line` reads a pod's command as vLLM would, `engine` decides when tokens come and what the caches hold, `api`
answers requests, `metrics` shows the state under vLLM's names, `host` is the one process that serves all pods.
"""
