"""istiod's gateway controller as pure functions: what it wants to exist and what it writes into statuses.

Everything here computes plain data from a `Snapshot` of the cluster; `standins/istiod.py` reads and writes the
cluster. The behaviour is that of the product's line of istiod 1.27.8 as watched on a real API server
(facts/observed-gateway.md, column R); docstrings name its sections.
"""
