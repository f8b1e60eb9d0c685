"""The cluster: the only part of the product that uses the network.

Importing this package imports nothing else; take the module you need::

    from inference_platform.cluster import apply, crds, gate, release, secrets, survey
    from inference_platform.cluster.client import Cluster
    from inference_platform.cluster.errors import ClusterError     # base of everything raised here

    cluster = Cluster.connect(kubeconfig=None, context=None)
        # raises KubeconfigError, ClusterUnreachable, CredentialsRejected
    cluster.get("apps/v1", "Deployment", "istiod", "istio-system")  -> dict | None
    cluster.list("v1", "Pod", namespace=None, label_selector="")    -> list[dict]
    cluster.discovery()                                             -> Discovery

    apply.apply(cluster, objects, *, check=False, force=False, workers=8) -> ApplyResult
    apply.prune(cluster, kinds, selector, keep, *, check=False)           -> ApplyResult
        # ApplyResult: .changes [Change(ref, action, before, after, note)], .errors [ObjectError],
        #              .changed (bool), .diff() (unified YAML text, secrets redacted)
    crds.locate(set_name, files, *, directory, mirror, cache)             -> list[CrdFile]
    crds.apply_crds(cluster, crd_files_or_dicts, *, check=False)          -> ApplyResult
    release.install(cluster, release.Release(name, namespace, chart, values), *,
                    helm=None, check=False)                               -> ReleaseResult
        # ReleaseResult: .changed, .action, .changes, .reasons, .notes, .diff (text)
    gate.wait(cluster, checks, *, timeout, on_progress=None)              -> GateResult
        # raises GateTimeout, whose text is the full explanation; .result holds the data
    gate.evaluate(cluster, checks)                                        -> GateResult (once, no waiting)
    secrets.apply_pull_secret(cluster, name, namespaces, content, *, check=False) -> ApplyResult
    survey.look(cluster, *, helm=None)                                    -> preflight.Snapshot (lists only)

Every error derives from `errors.ClusterError`; `str(error)` is complete for a user: what was tried, on what,
what was found and what to do next.  No error, diff or log of this package holds a secret value.
"""
