"""What this machine can do for VSR, and why things are chosen as they are."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import vsr
from vsr.engines.contract import processors
from vsr.errors import EngineError, UsageError

ENCODERS = ("h264", "hevc", "av1", "vp9", "ffv1", "prores", "h264_nvenc", "hevc_nvenc", "av1_nvenc", "h264_qsv",
            "hevc_qsv", "h264_amf", "hevc_amf", "h264_videotoolbox", "hevc_videotoolbox")
PACKAGES = ("torch", "halide", "av", "numpy", "opencv-python", "pillow", "PySide6-Essentials", "safetensors")


def examine() -> dict[str, Any]:
    """The facts as `vsr doctor --json` prints them; every encoder named has been opened once."""
    from vsr.engines import engine_choice
    from vsr.media.camera import cameras

    choice = engine_choice()
    return {"v": 1, "engine": choice.name, "precision": choice.precision, "why": choice.why, "cpu": cpu(),
            "cuda": cuda(), "encoders": [name for name in ENCODERS if _opens(name)],
            "cameras": [{"index": index, "name": name} for index, name in cameras()],
            "versions": {"vsr": vsr.__version__, "python": platform.python_version(), **_versions()}}


def cpu() -> dict[str, Any]:
    """The processor: its name, how many cores, and the instruction sets for which the CPU engine compiles here."""
    name = platform.processor()
    with_names = Path("/proc/cpuinfo")
    if with_names.exists():
        lines = with_names.read_text("utf-8", "replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return {"name": name or platform.machine(), "cores": processors(), "features": _features()}


def _features() -> list[str]:
    try:
        import halide
    except ImportError:
        return []
    return halide.get_host_target().to_string().split("-")[3:]


def cuda() -> dict[str, Any] | None:
    """The GPU that the cuda engine runs on, if any."""
    from vsr.engines import engine_choice

    try:
        engine_choice("cuda")
    except EngineError:
        return None
    import torch

    properties = torch.cuda.get_device_properties()
    return {"name": properties.name, "memory_gib": round(properties.total_memory / 2**30, 1),
            "version": torch.version.cuda}


def _opens(codec: str) -> bool:
    from vsr.media.codecs import EncoderSettings

    try:
        EncoderSettings(codec).check("matroska")
    except UsageError:
        return False
    return True


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
