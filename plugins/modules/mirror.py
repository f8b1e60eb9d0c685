#!/usr/bin/python
"""Documentation of the action inference.platform.mirror; plugins/action/mirror.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mirror
short_description: List, and copy, what an inventory needs from outside
version_added: 0.1.0
description:
  - Lists every image, CRD file and chart of the plan and its models, and the weights that the site must provide, as
    a table, as JSON, and as plain text for programs that copy images.
  - With a mirror also what tells the nodes of it; files for containerd and CRI-O, or a mirror set for OpenShift.
  - With O(copy=true) images are copied with skopeo or crane, and CRD files are downloaded and verified.
  - Needs no cluster.
options:
  directory:
    description: Folder to write to.
    type: path
    required: true
  registry:
    description: Mirror for the targets, as host[:port][/path]. Empty takes that of the plan, if there is one.
    type: str
    default: ''
  copy:
    description: Copy the images, and download the CRD files and the charts that others publish.
    type: bool
    default: false
  auth_file:
    description: Docker config.json with the credentials of both registries.
    type: path
  crd_directory:
    description: Folder with the CRD files, of the inventory. When given, none are listed and downloaded.
    type: path
  crd_mirror:
    description: Web server that is asked for CRD files first.
    type: str
    default: ''
  crd_cache:
    description: Folder for downloaded CRD files. Empty takes that of the user.
    type: path
  helm:
    description: The helm program, for charts that others publish. Empty takes the one on PATH.
    type: path
  chart_mirror:
    description: As O(inference.platform.release#module:chart_mirror).
    type: str
    default: ''
  chart_cache:
    description: As O(inference.platform.release#module:chart_cache).
    type: path
notes:
  - Supports check mode.
extends_documentation_fragment:
  - inference.platform.plan
  - inference.platform.plan.rendered
  - inference.platform.controller
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: List what has to be in the mirror
  inference.platform.mirror:
    rendered: "{{ platform_rendered }}"
    platform: "{{ platform }}"
    directory: build/mirror
    registry: mirror.example.com/platform
"""

RETURN = r"""
needs:
  description: Images, files, charts and data, as in mirror.json.
  returned: success
  type: dict
directory:
  description: The folder.
  returned: success
  type: str
"""
