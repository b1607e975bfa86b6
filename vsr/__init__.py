"""VSR: real-time video super-resolution. What is named here is the public API; each name is imported when it is used.

>>> done = vsr.run(vsr.Job(Path("clip.mp4"), scale=2))
>>> big = vsr.open_engine("fsrcnn-s", scale=2).upscale(luma)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vsr.errors import Cancelled, CheckError, EngineError, InputError, OutputError, UsageError, VsrError

if TYPE_CHECKING:
    from vsr.compare import Composer
    from vsr.engines import Engine, open_engine
    from vsr.events import Done, Estimate, Event, Failed, Progress, Started, Warned
    from vsr.frame import Frame, VideoInfo
    from vsr.job import Job
    from vsr.media.cut import Cut
    from vsr.media.probe import MediaInfo, probe
    from vsr.media.verify import Check
    from vsr.models.catalogue import FsrcnnWeights, assets_dir, catalogue
    from vsr.pipeline import run, run_together
    from vsr.player import Meter, Player, Playing, Shown, measure_playing
    from vsr.sides import Box, Choice, Scores, Side, View
    from vsr.size import Size
    from vsr.still import difference, on_screen, picture_of, save_picture

__version__ = "0.1.0"
__all__ = [
    "Box", "Cancelled", "Check", "CheckError", "Choice", "Composer", "Cut", "Done", "Engine", "EngineError",
    "Estimate", "Event", "Failed", "Frame", "FsrcnnWeights", "InputError", "Job", "MediaInfo", "Meter",
    "OutputError", "Player", "Playing", "Progress", "Scores", "Shown", "Side", "Size", "Started", "UsageError",
    "VideoInfo", "View", "VsrError", "Warned", "assets_dir", "catalogue", "difference", "measure_playing",
    "on_screen", "open_engine", "picture_of", "probe", "run", "run_together", "save_picture",
]

_HOMES = {
    "vsr.compare": ("Composer",), "vsr.engines": ("Engine", "open_engine"), "vsr.frame": ("Frame", "VideoInfo"),
    "vsr.job": ("Job",),
    "vsr.media.cut": ("Cut",), "vsr.media.probe": ("MediaInfo", "probe"), "vsr.media.verify": ("Check",),
    "vsr.events": ("Done", "Estimate", "Event", "Failed", "Progress", "Started", "Warned"),
    "vsr.models.catalogue": ("FsrcnnWeights", "assets_dir", "catalogue"), "vsr.pipeline": ("run", "run_together"),
    "vsr.player": ("Meter", "Player", "Playing", "Shown", "measure_playing"),
    "vsr.sides": ("Box", "Choice", "Scores", "Side", "View"),
    "vsr.size": ("Size",), "vsr.still": ("difference", "on_screen", "picture_of", "save_picture"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'vsr' has no attribute '{name}'")
