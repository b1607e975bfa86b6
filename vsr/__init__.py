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
    from vsr.events import Done, Estimate, Event, Failed, LiveMeter, Progress, Started, Warned
    from vsr.frame import Frame, VideoInfo
    from vsr.job import Job, check_job
    from vsr.live import Live
    from vsr.media.camera import Asked, cameras, check_source, shown_name
    from vsr.media.cut import Cut
    from vsr.media.folder import NAMES, SUFFIXES, made_folder, media_in
    from vsr.media.microphone import microphones
    from vsr.media.partfile import leftovers
    from vsr.media.picture import still_format
    from vsr.media.presets import DEFAULT_CRF, DEFAULT_PRESET, PRESETS
    from vsr.media.probe import MediaInfo, probe
    from vsr.media.record import cut_off
    from vsr.media.verify import Check
    from vsr.models import DEFAULT_MODEL
    from vsr.models.catalogue import Entry, Weights, assets_dir, catalogue
    from vsr.pipeline import run, run_together
    from vsr.player import Meter, Player, Playing, Shown, measure_playing
    from vsr.prefetch import newest
    from vsr.sides import Box, Choice, Scores, Side, View
    from vsr.size import Resolution, Shape, Size, resolve
    from vsr.still import Look, difference, look, on_screen, picture_of, save_picture

__version__ = "0.1.0"
__all__ = [
    "DEFAULT_CRF", "DEFAULT_MODEL", "DEFAULT_PRESET", "NAMES", "PRESETS", "SUFFIXES", "Asked", "Box", "Cancelled",
    "Check", "CheckError", "Choice", "Composer", "Cut", "Done", "Engine", "EngineError", "Entry", "Estimate",
    "Event", "Failed", "Frame", "InputError", "Job", "Live", "LiveMeter", "Look", "MediaInfo", "Meter",
    "OutputError", "Player", "Playing", "Progress", "Resolution", "Scores", "Shape", "Shown", "Side", "Size",
    "Started", "UsageError", "VideoInfo", "View", "VsrError", "Warned", "Weights", "assets_dir", "cameras",
    "catalogue", "check_job", "check_source", "cut_off", "difference", "leftovers", "look", "made_folder",
    "measure_playing", "media_in", "microphones", "newest", "on_screen", "open_engine", "picture_of", "probe",
    "resolve", "run", "run_together", "save_picture", "shown_name", "still_format",
]

_HOMES = {
    "vsr.compare": ("Composer",), "vsr.engines": ("Engine", "open_engine"), "vsr.frame": ("Frame", "VideoInfo"),
    "vsr.job": ("Job", "check_job"),
    "vsr.live": ("Live",), "vsr.media.camera": ("Asked", "cameras", "check_source", "shown_name"),
    "vsr.media.presets": ("DEFAULT_CRF", "DEFAULT_PRESET", "PRESETS"), "vsr.media.cut": ("Cut",),
    "vsr.media.microphone": ("microphones",), "vsr.prefetch": ("newest",),
    "vsr.media.folder": ("NAMES", "SUFFIXES", "made_folder", "media_in"), "vsr.media.partfile": ("leftovers",),
    "vsr.media.picture": ("still_format",), "vsr.media.probe": ("MediaInfo", "probe"),
    "vsr.media.record": ("cut_off",), "vsr.media.verify": ("Check",),
    "vsr.events": ("Done", "Estimate", "Event", "Failed", "LiveMeter", "Progress", "Started", "Warned"),
    "vsr.models": ("DEFAULT_MODEL",), "vsr.models.catalogue": ("Entry", "Weights", "assets_dir", "catalogue"),
    "vsr.pipeline": ("run", "run_together"),
    "vsr.player": ("Meter", "Player", "Playing", "Shown", "measure_playing"),
    "vsr.sides": ("Box", "Choice", "Scores", "Side", "View"), "vsr.size": ("Resolution", "Shape", "Size", "resolve"),
    "vsr.still": ("Look", "difference", "look", "on_screen", "picture_of", "save_picture"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'vsr' has no attribute '{name}'")
