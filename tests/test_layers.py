"""The house's walls: who may import whom, and what must not be loaded on the way to a first frame."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vsr

ROOT = Path(__file__).parents[1]
ROOMS = sorted([*ROOT.glob("vsr/**/*.py"), *ROOT.glob("ui/**/*.py")])
TORCH_ROOMS = ("vsr/models/fsrcnn.py", "vsr/models/convert.py", "vsr/engines/reference.py", "vsr/engines/cuda.py",
               "vsr/engines/cuda_kernels.py", "vsr/training/", "vsr/quality/evaluate.py", "vsr/papers/plots.py",
               "vsr/doctor.py", "vsr/peers.py")
# What of vsr each room may import beside itself, as ARCHITECTURE.md has it; those that are missing may import anything.
MAY_IMPORT = {
    "errors": set(), "frame": set(), "prefetch": set(),
    "size": {"errors", "frame"},
    "media": {"errors", "frame", "size"},
    "models": {"errors"},
    "export": {"errors", "models"},
    "engines": {"errors", "models"},
    "upscale": {"engines", "frame", "models"},
    "sides": {"engines", "frame", "media", "models", "quality", "upscale"},
    "player": {"compare", "engines", "errors", "frame", "media", "models", "prefetch", "sides", "still"},
    "live": {"compare", "engines", "errors", "events", "frame", "media", "models", "player", "prefetch", "sides",
             "still"},
    "compare": {"engines", "errors", "frame", "models", "upscale"},
    "events": {"errors", "media"},
    "job": {"compare", "engines", "errors", "events", "media", "models", "size"},
    "still": {"compare", "engines", "errors", "events", "frame", "job", "media", "size", "upscale"},
    "pipeline": {"compare", "engines", "errors", "events", "frame", "job", "media", "prefetch", "still", "upscale"},
    "bench": {"engines", "errors", "events", "job", "media", "models", "pipeline"},
    "peers": {"bench", "export", "models"},
    "display": {"errors", "events"},
    "quality": {"engines", "errors", "frame", "media", "models"},
    "papers": {"doctor", "engines", "errors", "models", "quality", "__version__"},
    "training": {"errors", "media", "models", "quality", "__version__"},
}  # fmt: skip


def imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere, by its full name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    used = roots(path)
    if name.startswith("ui/"):
        assert used <= {*sys.stdlib_module_names, "PySide6", "numpy", "ui", "vsr"}
        assert not {module for module in imports(path) if module.startswith("vsr.")} - {
            f"vsr.{name}" for name in vsr.__all__}  # its public API alone
        return
    assert not used & {"PySide6"} and ("ui" not in used or name == "vsr/cli.py")  # 'vsr gui', when it is asked for
    assert "torch" not in used or name.startswith(TORCH_ROOMS)
    room = path.relative_to(ROOT / "vsr").parts[0].removesuffix(".py")
    others = {module.split(".")[1] for module in imports(path) if module.startswith("vsr.")} - {room}
    assert others <= MAY_IMPORT.get(room, others)
    if name in ("vsr/errors.py", "vsr/frame.py", "vsr/prefetch.py"):
        assert used <= {*sys.stdlib_module_names, "numpy"}


def test_threads_are_made_in_prefetch_alone() -> None:
    makers = {"threading.Thread", "threading.Timer", "concurrent", "concurrent.futures", "multiprocessing"}
    named = [path.name for path in ROOMS if makers & imports(path)]
    spelled = [path.name for path in ROOMS if re.search(r"\b(Thread|Timer|Executor|Pool)\(", path.read_text("utf-8"))]
    assert named == [] and spelled == ["prefetch.py"]


def loaded_after(code: str, cwd: Path) -> set[str]:
    """The top-level modules that are loaded once ``code`` has run in a fresh interpreter."""
    script = f"{code}\nimport sys; print('loaded:', *{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", script], cwd=cwd, check=True, capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": str(ROOT)})
    return set(run.stdout.rpartition("loaded:")[2].split())


def test_importing_vsr_and_asking_for_help_loads_no_framework(tmp_path: Path) -> None:
    code = "import vsr, vsr.cli\ntry: vsr.cli.main(['--help'])\nexcept SystemExit: pass"
    assert not loaded_after(code, tmp_path) & {"torch", "av", "cv2", "halide", "PySide6", "numpy"}


def test_a_file_job_on_the_cpu_engine_never_loads_torch(tmp_path: Path) -> None:
    pytest.importorskip("halide", reason="the CPU engine needs halide, which has no wheel for this machine")
    code = (f"import vsr.cli; assert vsr.cli.main(['upscale', {str(ROOT / 'assets' / 'sample.mp4')!r}, "
            f"'-o', {str(tmp_path / 'out.mkv')!r}, '--engine', 'cpu', '--codec', 'ffv1']) == 0")
    loaded = loaded_after(code, tmp_path)
    assert "halide" in loaded and "torch" not in loaded


def test_the_public_api_is_there_and_lazy(tmp_path: Path) -> None:
    loaded = loaded_after("import vsr; assert all(getattr(vsr, name) for name in vsr.__all__)", tmp_path)
    assert {"av", "numpy"} <= loaded and not loaded & {"torch", "PySide6"}
