"""Hands the rendered models from the task that made them to the tasks that use them.

As facts they would be copied, tagged and looked through for templates again for every
task, which for a thousand models takes longer than applying them. So they lie in the
folder that Ansible makes for a run and removes at its end, readable by the user alone,
and only the path is a fact.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail


def put(rendered: Any, folder: str | os.PathLike[str] | None = None) -> str:
    """Writes the rendered models (``inference_platform.models.RenderResult``); the path of the file."""
    descriptor, path = tempfile.mkstemp(prefix="models-", dir=folder or constants.DEFAULT_LOCAL_TMP)
    with os.fdopen(descriptor, "wb") as file:
        pickle.dump(rendered, file, protocol=pickle.HIGHEST_PROTOCOL)
    return path


def take(path: str | os.PathLike[str]) -> Any:
    """The rendered models that ``put`` wrote in this run."""
    from inference_platform.models import RenderResult

    try:
        with Path(path).open("rb") as file:
            if os.fstat(file.fileno()).st_uid != os.getuid():
                raise AnsibleActionFail(f"{path}: expected a file of this user, found one of somebody else.")
            rendered = pickle.load(file)
    except (OSError, pickle.UnpicklingError, EOFError) as error:
        raise AnsibleActionFail(
            f"{path}: expected the models as inference.platform.plan left them in this run, found {error}. "
            "Let the role inference.platform.platform run before."
        ) from None
    if not isinstance(rendered, RenderResult):
        raise AnsibleActionFail(f"{path}: expected rendered models, found {type(rendered).__name__}.")
    return rendered
