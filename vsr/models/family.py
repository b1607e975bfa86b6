"""The family `fsrcnn-s-video`: weights for the same network, from clean video to heavily compressed."""

from __future__ import annotations

CLEAN = "fsrcnn-s"
MEMBERS = (CLEAN, "fsrcnn-s-video-1", "fsrcnn-s-video-2", "fsrcnn-s-video-3", "fsrcnn-s-video-4")
BOUNDS = (17.0, 22.0, 28.0, 34.0)  # QP from which on the next member is the better one
