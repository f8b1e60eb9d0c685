#!/usr/bin/python
"""Documentation of the action inference.platform.release; plugins/action/release.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Install Helm releases
version_added: 0.1.0
description:
  - Installs or upgrades each release in the order given when its chart, its values or its live objects
    differ; otherwise helm is not even called.
  - Values of several sources are merged, mappings key by key; lists are replaced.
options:
  releases:
    description:
      - Releases in order, each with C(name), C(chart) (folder below O(charts)) and C(namespace).
      - One with C(published), a chart that others publish as the plan describes it, takes that chart with C(values),
        and not the common values. CRDs in the folder C(crds) of the chart are applied and upgraded like all others.
    type: list
    elements: dict
    required: true
  values:
    description: Values by release name.
    type: dict
    default: {}
  common_values:
    description: Values that every release takes; O(values) goes over them.
    type: dict
    default: {}
  extra_values:
    description: Values by release name that go over all others.
    type: dict
    default: {}
  certificates:
    description:
      - Public certificates that become values, each with C(release), C(value) (name of the value),
        C(namespace), C(secret) and C(key).
      - Where C(config_map) names a ConfigMap in the namespace of the release, the certificates under the same key
        there are kept beside the new one, as long as something that they signed is in use.
      - Anything but a certificate is refused.
    type: list
    elements: dict
    default: []
  adopted:
    description: Names of releases that may take over objects of other releases, or of none.
    type: list
    elements: str
    default: []
  let_go:
    description:
      - Dependencies that the cloud manager may delete. A release that would tell it to delete another one is refused.
    type: list
    elements: str
    default: []
  charts:
    description: Folder of the charts. Default is the one of this project.
    type: path
  chart_mirror:
    description:
      - Repository that has the published charts by their names, as C(oci://host/path) or C(https://host/path). Empty
        takes the repositories of the lock.
    type: str
  chart_cache:
    description: Folder for published charts. Empty takes inference-platform/charts in the user's cache folder.
    type: path
  values_directory:
    description:
      - Folder for the values of each release, as C(<release>.yaml), that C(helm upgrade) takes. Empty writes none.
      - Only the owner of the files can read them. Check mode writes none.
    type: path
  planned:
    description: Names of all releases of the plan. Files of others in O(values_directory) are removed. Empty keeps all.
    type: list
    elements: str
  helm:
    description: The helm program. Empty takes the one on PATH.
    type: path
notes:
  - Supports check mode and diff.
extends_documentation_fragment:
  - inference.platform.cluster
  - inference.platform.controller
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Install the certificates of the platform
  inference.platform.release:
    releases:
      - name: pki
        chart: pki
        namespace: cert-manager
"""

RETURN = r"""
notes:
  description: What is worth knowing besides, such as fields that an operator has taken over.
  returned: success
  type: list
  elements: str
"""
