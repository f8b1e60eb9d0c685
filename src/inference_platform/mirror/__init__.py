"""What an inventory needs from outside, and how images get another registry.

    needs = list_needs(plan, objects, charts=...)      # images, charts, files, data: plain data
    mirrored("registry.redhat.io/a/b@sha256:...", "mirror.example.com/x")

The rule of ``mirrored`` is that of the charts (``platform.image`` in their templates): the
registry is replaced, path and digest stay.
"""

from inference_platform.mirror.images import Rewriting, images_in, mirrored, with_registry

__all__ = ["Rewriting", "images_in", "mirrored", "with_registry"]
