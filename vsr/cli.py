"""The command line: arguments in, lines or JSON out, an exit status. All work is done elsewhere."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import vsr
from vsr.display import Silent, display, mute, printable, tell, tell_error, tell_warning
from vsr.errors import EngineError, InputError, OutputError, UsageError, VsrError
from vsr.models import DEFAULT_MODEL

if TYPE_CHECKING:
    from vsr.bench import EngineSpeed, FileSpeed
    from vsr.job import Job
    from vsr.live import Live
    from vsr.media.camera import Asked
    from vsr.quality.evaluate import Score
    from vsr.quality.metrics import Metrics
    from vsr.sides import Box, Choice

    Work = list[tuple[Path, list[Job] | InputError]]  # every input with its jobs, or what is wrong with it

SCORE_FORMATS = {"psnr": ".2f", "ssim": ".4f", "ms_ssim": ".4f", "vmaf": ".2f", "cb": ".2f", "cr": ".2f", "rgb": ".2f"}
SCALE_HELP = "2, 3 or 4; default 2, or that of the weight file"
LOOK_S, TELL_S = 0.1, 1.0  # after which it is looked at what a live picture does, and told how it goes


class Parser(argparse.ArgumentParser):
    """argparse with one line instead of a usage dump."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see '{self.prog} --help')")


def parser() -> Parser:
    """The whole command line."""
    top = Parser(prog="vsr", description="Real-time video super-resolution: makes small video big and sharp.")
    top.add_argument("--version", action="version", version=f"vsr {vsr.__version__}")
    top.add_argument("--debug", action="store_true", help="show a traceback with an error")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        # SUPPRESS: a default here would overwrite a --debug given before the command.
        sub.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        sub.set_defaults(run=run)
        return sub

    sub = command("upscale", run_upscale, "upscale videos and pictures")
    sub.add_argument("inputs", nargs="+", type=file_name, metavar="INPUT",
                     help="videos, pictures, image sequences (frame_%%04d.png), or folders of files")
    sub.add_argument("-o", "--output", metavar="OUT|DIR", help="output file, or a folder (default: beside the input)")
    size = sub.add_mutually_exclusive_group()
    size.add_argument("-s", "--scale", type=scales, metavar="N[,N…]",
                      help=f"{SCALE_HELP}; several make a file each in one pass")
    size.add_argument("--size", metavar="WxH", help="this size exactly")
    size.add_argument("--height", metavar="H", help="this height, the width as it follows")
    size.add_argument("--fit", metavar="SCREEN", help="as large as fits into 720p, 1080p, 1440p or 4k")
    add_job_options(sub)
    sub.add_argument("--stream", type=int, metavar="N", help="the video to upscale, as 'vsr probe' counts streams")
    sub.add_argument("--deinterlace", default="auto", help="auto (default: interlaced frames only), on (all), off")
    sub.add_argument("--fps", dest="rate", type=fraction, metavar="R", help="of an image sequence; default 25")
    sub.add_argument("--encoder-option", action="append", default=[], metavar="K=V", help="passed to the encoder")
    existing = sub.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace an existing output")
    existing.add_argument("--skip-existing", action="store_true", help="leave out what has its output already")

    sub = command("compare", run_compare, "bicubic beside super-resolution, labelled: a video, or a picture of a frame")
    sub.add_argument("input", type=file_name, metavar="INPUT", help="a video, a picture, or an image sequence")
    sub.add_argument("-o", "--output", required=True, type=Path, metavar="OUT",
                     help="a video with its sound; or, as .png, one frame: the first, or that at --from")
    sub.add_argument("-s", "--scale", type=int, metavar="N", help=SCALE_HELP)
    sub.add_argument("--layout", default="side-by-side", metavar="L",
                     help="side-by-side (default: each whole), or split (one picture, halved by a line)")
    add_job_options(sub)
    sub.add_argument("--overwrite", action="store_true", help="replace an existing output")

    sub = command("gui", run_gui, "open the window: see the difference while a video plays")
    sub.add_argument("files", nargs="*", type=file_name, metavar="FILE", help="videos and pictures to open")
    sub = command("live", run_live, "a camera's or a stream's picture, enlarged as it comes")
    sub.add_argument("--source", default="0", metavar="S",
                     help="a camera's number (default 0) or name, an address (rtsp, http, udp, …), a video file, "
                     "screen, screen:WxH+X+Y, or test (a moving pattern)")
    sub.add_argument("--list", action="store_true", help="list the cameras and end")
    sub.add_argument("--size", metavar="WxH", help="the picture that the source is asked for")
    sub.add_argument("--fps", type=fraction, metavar="R", help="likewise, pictures a second")
    sub.add_argument("--pixel-format", type=four_letters, metavar="F", help="likewise, of cameras: MJPG, YUYV, NV12, …")
    sub.add_argument("--mirror", action="store_true", help="as in a mirror")
    sub.add_argument("-s", "--scale", type=int, metavar="N", help=SCALE_HELP)
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--model", default=DEFAULT_MODEL, metavar="M",
                       help=f"see 'vsr models'; default {DEFAULT_MODEL}")
    which.add_argument("--weights", type=Path, metavar="FILE", help="a weight file of 'vsr train' or 'vsr convert'")
    sub.add_argument("--engine", default="auto")
    sub.add_argument("--precision", default="auto")
    sub.add_argument("--threads", type=positive, metavar="N", help="threads of the engine (default: all cores)")
    sub.add_argument("--hold", type=positive, metavar="FPS", help="pictures a second that are held by cheaper ways to "
                     "enlarge (default: the source's, at least 24)")
    sub.add_argument("--pinned", action="store_true", help="enlarge as asked for, whatever is held")
    sub.add_argument("--region", type=region, metavar="WxH+X+Y", help="enlarge only this part of the picture")
    sub.add_argument("--record", type=Path, metavar="FILE", help="record what is shown, as .mkv or .mp4")
    sub.add_argument("--microphone", metavar="NAME", help="record its sound, too: a part of its name, or default")
    sub.add_argument("--show", choices=("sr", "bicubic", "both"), default="sr",
                     help="what is recorded or lent: super-resolution (default), bicubic, or both beside each other")
    sub.add_argument("--overwrite", action="store_true", help="replace an existing recording")
    sub.add_argument("--virtual-camera", action="store_true", help="lend the picture to other programs as a camera")
    sub.add_argument("--headless", action="store_true", help="without a window")
    sub.add_argument("--duration", type=seconds, metavar="S", help="end after so many seconds")
    sub.add_argument("--progress", choices=("auto", "bar", "json", "none"), default="auto")

    sub = command("probe", run_probe, "say what a file contains")
    sub.add_argument("file", type=file_name, metavar="FILE")
    sub.add_argument("--json", action="store_true")

    sub = command("models", run_models, "list the models and their scores")
    sub.add_argument("--json", action="store_true")

    sub = command("doctor", run_doctor, "say what runs on this machine, and why")
    sub.add_argument("--json", action="store_true")

    sub = command("bench", run_bench, "measure the speed here: engine, file, memory, other engines")
    sub.add_argument("--size", default="960x540", metavar="WxH", help="of the engine's input; default 960x540")
    sub.add_argument("-s", "--scale", type=int, metavar="N", help=SCALE_HELP)
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--model", default="fsrcnn-s", metavar="M")
    which.add_argument("--weights", type=Path, metavar="FILE", help="a weight file of 'vsr train' or 'vsr convert'")
    sub.add_argument("--engine", default="auto")
    sub.add_argument("--precision", default="auto")
    sub.add_argument("--threads", type=positive, metavar="N", help="of the engine; default and most: all cores")
    what = sub.add_mutually_exclusive_group()
    what.add_argument("--file", type=file_name, metavar="FILE", help="measure a video from end to end, too")
    what.add_argument("--play", type=file_name, metavar="FILE",
                      help="measure instead how smoothly a video plays, bicubic beside super-resolution")
    what.add_argument("--live", action="store_true",
                      help="measure instead frame rate and latency of a live test picture of --size in the window")
    sub.add_argument("--json", action="store_true")

    sub = command("evaluate", run_evaluate, "PSNR, SSIM and MS-SSIM on pictures or a video, beside bicubic")
    sub.add_argument("--data", type=file_name, required=True, metavar="DIR|FILE",
                     help="a folder of pictures, a picture, or a video, each frame of which is a picture")
    sub.add_argument("--model", action="append", default=[], metavar="M", help="may be given several times")
    sub.add_argument("--weights", action="append", default=[], type=Path, metavar="FILE",
                     help="a weight file, beside the models; may be given several times")
    sub.add_argument("-s", "--scale", type=int, metavar="N", help=SCALE_HELP)
    sub.add_argument("--engine", help="measure this engine (on 16-bit luma) instead of the float network")
    sub.add_argument("--precision", default="auto")
    sub.add_argument("--border", choices=("replicated", "zero", "normalised"), help="what float networks see beyond "
                     "the picture: its outermost pixels, zeros in every layer, or zeros that sums are normalised for; "
                     "default: what the weights are for")
    sub.add_argument("--frames", type=positive, metavar="N", help="only the first N of a video")
    sub.add_argument("--rgb", action="store_true", help="add PSNR of Cb, Cr and RGB, as networks for colours have it "
                     "in any case")
    sub.add_argument("--time", action="store_true", help="add seconds per picture")
    form = sub.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one object a line, for each model")
    form.add_argument("--csv", action="store_true")

    sub = command("papers", run_papers, "the papers' numbers beside what VSR measures, as Markdown")
    sub.add_argument("--data", type=Path, required=True, metavar="DIR", help="holds test/Set5 and test/Set14")
    sub.add_argument("--out", type=Path, metavar="DIR", help="write PAPERS.md and the figures here instead")
    sub.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="what 'vsr train' wrote to")

    sub = command("export", run_export, "write a network for other programs")
    sub.add_argument("--format", choices=("onnx", "mpv"), required=True,
                     help="onnx: a model for ONNX Runtime and its like; mpv: a shader for mpv and libplacebo")
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--model", default="fsrcnn-s", metavar="M")
    which.add_argument("--weights", type=Path, metavar="FILE", help="a weight file of 'vsr train' or 'vsr convert'")
    sub.add_argument("-s", "--scale", type=int, metavar="N", help=SCALE_HELP)
    sub.add_argument("--luma", choices=("limited", "full"), default="limited", help="the range of the luma that it is "
                     "given; default limited, as videos have it")
    sub.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    sub.add_argument("--overwrite", action="store_true", help="replace an existing file")

    sub = command("convert", run_convert, "make weights of PyTorch or TensorFlow (FSRCNN's) into a file for --weights")
    sub.add_argument("input", type=Path, metavar="FILE", help="a state dict (.pth) or a frozen graph (.pb)")
    sub.add_argument("--luma", choices=("limited", "full"), help="the range of the luma that the network was made for; "
                     "default limited (16 to 235) for a state dict, full for a graph, as OpenCV has it")
    sub.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.safetensors",
                     help="a card (OUT.json) is written beside it")
    sub.add_argument("--overwrite", action="store_true", help="replace existing files")

    sub = command("train", run_train, "train weights; continues where it was stopped")
    sub.add_argument("recipe", metavar="RECIPE", help="see 'vsr train list'")
    sub.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="holds train/ and test/")
    sub.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="for checkpoint, weights and card")
    sub.add_argument("--iterations", type=positive, metavar="N", help="another length than the recipe's")
    sub.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    sub.add_argument("--threads", type=positive, metavar="N")
    return top


def add_job_options(sub: argparse.ArgumentParser) -> None:
    """What 'upscale' and 'compare' have in common; `job_options` reads it."""
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--model", default=DEFAULT_MODEL, metavar="M",
                       help=f"see 'vsr models'; default {DEFAULT_MODEL}")
    which.add_argument("--weights", type=Path, metavar="FILE", help="a weight file of 'vsr train' or 'vsr convert'")
    sub.add_argument("--engine", default="auto", help="auto (default: cuda where there is a GPU for it, else cpu), "
                     "cuda, cpu, reference")
    sub.add_argument("--precision", default="auto", help="auto (default: the engine's own), fp16, fp32, bf16, int8")
    sub.add_argument("--threads", type=positive, metavar="N", help="threads of the engine (default: all cores)")
    sub.add_argument("--from", dest="start", metavar="T", help="begin here: seconds, or [HH:]MM:SS.mmm")
    sub.add_argument("--to", dest="end", metavar="T", help="end before here")
    sub.add_argument("--codec", help="h264, hevc, av1, vp9, ffv1, prores, …; default: the first of h264, hevc, ffv1 "
                     "that holds all that the source has")
    sub.add_argument("--crf", type=float, metavar="N", help="quality on x264's scale, 0 to 51: lower is better, "
                     "default 18")
    sub.add_argument("--preset", help="the encoder's speed, in x264's names: ultrafast … veryslow")
    sub.add_argument("--progress", choices=("auto", "bar", "json", "none"), default="auto")


def job_options(args: argparse.Namespace) -> dict[str, Any]:
    """Those of `add_job_options` that are fields of a Job. Raises UsageError for a cut that cannot be."""
    from vsr.media.cut import Cut, parse_time

    start, end = (None if text is None else parse_time(text) for text in (args.start, args.end))
    cut = None if start is None and end is None else Cut(start or Fraction(0), end)
    named = ("model", "weights", "engine", "precision", "threads", "codec", "crf", "preset")
    return {"cut": cut, **{name: getattr(args, name) for name in named}}


def scale_of(asked: int | None, weights: Path | None = None) -> int:
    """The scale that was asked for, else that of the weight file, else 2."""
    if asked is not None or weights is None:
        return 2 if asked is None else asked
    from vsr.models.catalogue import load_file

    return load_file(weights).scale


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def file_name(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("an input has no name; name a file")
    if "://" in text:
        from vsr.media.camera import shown_name

        raise argparse.ArgumentTypeError(f"'{shown_name(text)}' is an address, and inputs are files; download it first")
    return Path(text)


def scales(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a scale: 2, 3, 4 or several as 2,3") from None
    if len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"'{text}' names a scale twice")
    return numbers


def fraction(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise argparse.ArgumentTypeError(f"'{text}' is not a frame rate such as 25, 29.97 or 30000/1001")
    return rate


def seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no length of time")
    return number


def four_letters(text: str) -> str:
    if not re.fullmatch(r"[!-~]{4}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not the four letters of a pixel format, as MJPG or YUYV")
    return text.upper()


def region(text: str) -> tuple[int, int, int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)\+(\d+)\+(\d+)", text)
    if match is None or 0 in (int(match[1]), int(match[2])):
        raise argparse.ArgumentTypeError(f"'{text}' is not a part of a picture as 320x180+100+50")
    return int(match[1]), int(match[2]), int(match[3]), int(match[4])


# ---- upscale and compare -------------------------------------------------------------------------------------------


def run_upscale(args: argparse.Namespace) -> int:
    from vsr.media.folder import made_folder

    output = Path(args.output) if args.output is not None else None
    into_folder = output is not None and (os.path.isdir(output) or args.output.endswith(("/", os.sep)))
    folder = output if output is None or into_folder else output.parent
    args.scale = args.scale or (scale_of(None, args.weights),)
    with signals_cancel() as cancel, made_folder(folder or Path()):
        return run_jobs(inputs_and_jobs(args, output, into_folder), args, cancel)


def run_compare(args: argparse.Namespace) -> int:
    from vsr.job import Job, check_job
    from vsr.media.folder import made_folder

    with signals_cancel() as cancel, made_folder(args.output.parent):
        job = Job(args.input, args.output, scale_of(args.scale, args.weights), overwrite=args.overwrite,
                  compare=args.layout, **job_options(args))
        check_job(job)
        return run_jobs([(job.input, [job])], args, cancel)


def run_jobs(work: Work, args: argparse.Namespace, cancel: threading.Event) -> int:
    """Every input is tried; the status is that of the first that failed."""
    from vsr.pipeline import run_together

    show = display(args.progress)
    status = 0
    taken = {path for path, _ in work}
    for path, jobs in work:
        try:
            if isinstance(jobs, VsrError):
                raise jobs
            done = run_together(jobs, on_event=show.event, cancel=cancel, taken=taken - {path})
            taken.update(each.output for each in done)
        except Exception as raised:
            if args.debug:
                raise
            error = raised if isinstance(raised, VsrError) else unexpected(raised)
            show.failed(path, error)
            if cancel.is_set():
                return error.exit_status
            status = status or error.exit_status
        finally:
            show.close()
    if len(work) > 1:
        show.summary()
    return status


def inputs_and_jobs(args: argparse.Namespace, output: Path | None, into_folder: bool) -> Work:
    """Every input file with its jobs, one for each output; a folder without one with its error.

    Raises UsageError for anything wrong with the arguments; no input is opened.
    """
    from vsr.job import Job, check_job
    from vsr.media.folder import media_in
    from vsr.media.picture import still_format
    from vsr.size import Size

    options = []
    for option in args.encoder_option:
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise UsageError(f"encoder option '{option}' is not K=V")
        options.append((key, value))
    shared = job_options(args)
    parsers = {"size": Size.parse_size, "height": Size.parse_height, "fit": Size.parse_fit}
    size = next((parse(text) for flag, parse in parsers.items() if (text := getattr(args, flag)) is not None), None)
    files: list[tuple[Path, InputError | None]] = []
    listed: set[Path] = set()
    for path in args.inputs:
        inside = [path]
        if os.path.isdir(path):  # not path.is_dir(), which raises for a name that is too long
            try:
                inside = media_in(path)
            except OSError as unreadable:
                files.append((path, InputError(f"folder {path} cannot be read: {unreadable.strerror}")))
                continue
            listed.update(inside)
        files += [(p, None) for p in inside] or [(path, InputError(f"no video or picture in folder {path}"))]

    if output and not into_folder and len(files) * len(args.scale) > 1:
        what = f"{len(files)} inputs" if len(files) > 1 else f"{len(args.scale)} scales"
        raise UsageError(f"-o {output} is one file for {what}; give a folder, as {output}{os.sep}")
    work: Work = []
    named: dict[str, Path] = {}
    for path, error in files:
        if error:
            work.append((path, error))
            continue
        if into_folder:
            if path.name in named:
                raise UsageError(f"{named[path.name]} and {path} would both become the same file in {output}")
            named[path.name] = path
        jobs = [
            Job(
                input=path, output=output, scale=scale, size=size, stream=args.stream, deinterlace=args.deinterlace,
                rate=args.rate, encoder_options=tuple(options), overwrite=args.overwrite,
                skip_existing=args.skip_existing, **shared,
            ) for scale in args.scale
        ]
        if path in listed and still_format(path):  # what is said of a folder's videos is not said of its pictures
            jobs = [replace(job, cut=None, stream=None, rate=None, codec=None, crf=None, preset=None,
                            encoder_options=()) for job in jobs]
        for job in jobs:
            check_job(job)
        work.append((path, jobs))
    return work


def ending_signals() -> list[signal.Signals]:
    """Ctrl-C, terminations, and a closed terminal; but not what is ignored, as nohup does."""
    kinds = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    return [kind for kind in kinds if signal.getsignal(kind) is not signal.SIG_IGN]


@contextlib.contextmanager
def on_signals(handler: Callable[[int, FrameType | None], Any] = signal.default_int_handler) -> Iterator[None]:
    """Any of them calls ``handler``, or interrupts as Ctrl-C does, so that everything is put away."""
    before = {kind: signal.signal(kind, handler) for kind in ending_signals()}
    try:
        yield
    finally:
        for kind, previous in before.items():
            signal.signal(kind, previous)


@contextlib.contextmanager
def signals_cancel() -> Iterator[threading.Event]:
    """Any of them sets the event the first time; a second one interrupts at once."""
    cancel = threading.Event()

    def first(number: int, frame: FrameType | None) -> None:
        cancel.set()
        for kind in ending_signals():
            signal.signal(kind, signal.default_int_handler)

    with on_signals(first):
        yield cancel


# ---- live --------------------------------------------------------------------------------------------------------


def run_live(args: argparse.Namespace) -> int:
    from vsr.media.camera import Asked, cameras, check_source, shown_name

    if args.list:
        found = cameras()
        if args.progress == "json":
            print(json.dumps({"v": 1, "cameras": [{"index": index, "name": name} for index, name in found]}))
        else:
            print("\n".join(f"{index}: {printable(name)}" for index, name in found) or "no camera is found")
        return 0
    from vsr.live import Live
    from vsr.media.microphone import find_microphone
    from vsr.models.catalogue import load_file
    from vsr.sides import WHOLE, Box, Choice, View
    from vsr.size import Size

    check_source(args.source)
    if args.microphone is not None and args.record is None:
        raise UsageError("--microphone is for recordings; add --record FILE")
    size = None
    if args.size:
        asked_size = Size.parse_size(args.size)
        assert asked_size.width is not None and asked_size.height is not None  # --size has both
        size = asked_size.width, asked_size.height
    model = load_file(args.weights, args.scale) if args.weights else args.model
    choice = Choice(model, scale_of(args.scale, args.weights), args.engine, args.precision, args.threads)
    part = None
    if args.region:
        width, height, x, y = args.region
        part = Box(x, y, x + width, y + height)
    asked = Asked(size, args.fps, args.pixel_format, args.mirror)
    if not args.headless:
        return run_live_window(args, choice, asked, part)
    show = display(args.progress)
    try:
        if args.microphone is not None:
            find_microphone(args.microphone)
        with signals_cancel() as cancel, Live(args.source, choice, asked=asked, view=View(None, WHOLE), region=part,
                                              fps=args.hold, pinned=args.pinned) as live:
            return follow_live(live, show, cancel, args)
    except VsrError as error:
        if args.debug:
            raise
        show.failed(shown_name(args.source), error)
        return error.exit_status
    finally:
        show.close()


def run_live_window(args: argparse.Namespace, choice: Choice, asked: Asked, part: Box | None) -> int:
    """The Live page with this source. What a window has no need of is for --headless."""
    for name in ("record", "virtual_camera", "duration"):
        if getattr(args, name):
            raise UsageError(f"the window has buttons and no --{name.replace('_', '-')}; add --headless")
    from vsr.models.catalogue import find

    if isinstance(choice.model, str):
        find(choice.model, choice.scale)
    return open_window([], {"source": args.source, "choice": choice, "asked": asked, "region": part, "fps": args.hold,
                            "pinned": args.pinned})


def follow_live(live: Live, show: Silent, cancel: threading.Event, args: argparse.Namespace) -> int:
    """Take what is there until the source ends, ``cancel`` is set, what was to be recorded or lent cannot be, or as
    long after the first picture by what was asked for as --duration says; show how it goes, once a second. The exit
    status."""
    from vsr.events import LiveDone, LiveProgress, LiveStarted, Warned

    begun = told = None
    status, outputs = 0, []

    def say() -> None:
        nonlocal status
        while live.messages:
            code, message = live.messages.popleft()
            if code == "recorded":
                outputs.append(Path(message))
            elif code == "output":
                status = OutputError.exit_status
            show.event(Warned(live.name, code, message))

    if args.record is not None:
        live.record(args.record, args.show, args.overwrite, args.microphone)
    if args.virtual_camera:
        live.lend(args.show)
    while not cancel.is_set():
        shown = live.take(LOOK_S)
        now = time.monotonic()
        made = None if shown is None else shown.sr or shown.bicubic
        if shown is not None and made is not None and begun is None and live.ready:
            begun = told = now
            show.event(LiveStarted(live.name, args.record, made.frame.width, made.frame.height, shown.choice.scale,
                                   live.choice_name, *live.opened))
        say()
        if begun is not None and told is not None:
            if now - told >= TELL_S:
                told = now
                show.event(LiveProgress(live.name, live.meter()))
            if args.duration is not None and now - begun >= args.duration:
                break
        if (shown is None and live.ended) or (status and not (live.recording or live.lending)):
            break
    summary = live.summary()
    seconds = 0.0 if begun is None else time.monotonic() - begun
    live.close()  # completes what is recorded
    say()
    show.event(LiveDone(live.name, tuple(outputs), seconds, summary))
    return 130 if cancel.is_set() else status


# ---- questions ---------------------------------------------------------------------------------------------------


def run_probe(args: argparse.Namespace) -> int:
    from vsr.media.probe import probe

    info = probe(args.file).to_json()
    if args.json:
        print(json.dumps(info))
        return 0
    duration = "unknown duration" if info["duration_s"] is None else f"{info['duration_s']:.3f} s"
    print(f"{info['path']}: {info['container']}, {duration}")
    for stream in info["streams"]:
        words = [stream["codec"] or "unknown", stream["language"], stream["title"], *stream["disposition"]]
        print(f"  {stream['index']}: {stream['type']} {' '.join(word for word in words if word)}")
    if video := info["video"]:
        print(f"main video: stream {video['index']}")
        for key, value in video.items():
            if key != "index" and value is not None:
                print(f"  {key}: {value}")
    return 0


def run_models(args: argparse.Namespace) -> int:
    from vsr.models.catalogue import catalogue

    entries = catalogue().values()
    if args.json:
        models = [{"name": entry.name, "summary": entry.summary, "scales": list(entry.scales),
                   "network": entry.network and str(entry.network), "parameters": entry.parameters,
                   "card": {str(n): entry.card(n) for n in entry.files} or None,
                   "int8": {str(n): entry.card(n, "int8") for n in entry.int8_files} or None}
                  for entry in entries]
        print(json.dumps({"v": 1, "models": models}))
        return 0
    for entry in entries:
        print(f"{entry.name}: {entry.summary}")
        for precision, scale in [(p, n) for n in entry.files for p in ("fp32", "int8") if n in entry.files_for(p)]:
            card = entry.card(scale, precision)
            scores = card["scores"] if card else {}
            print(f"  x{scale} {precision}  " + "   ".join(
                f"{name} {score['psnr']:.2f} dB (bicubic {score['bicubic_psnr']:.2f})"
                for name, score in scores.items()))
    return 0


def run_doctor(args: argparse.Namespace) -> int:
    from vsr.doctor import examine

    facts = examine()
    if args.json:
        print(json.dumps(facts))
        return 0
    print(f"engine: {facts['engine']} {facts['precision']} ({facts['why']})")
    print(f"cpu: {facts['cpu']['name']}, {facts['cpu']['cores']} cores, {' '.join(facts['cpu']['features'])}")
    print(f"cuda: {facts['cuda']['name'] if facts['cuda'] else 'none'}")
    print(f"encoders: {' '.join(facts['encoders'])}")
    print(f"cameras: {', '.join(camera['name'] for camera in facts['cameras']) or 'none'}")
    for name, version in facts["versions"].items():
        print(f"{name}: {version}")
    return 0


def run_gui(args: argparse.Namespace) -> int:
    return open_window([str(path) for path in args.files])


def open_window(files: list[str], live: dict[str, Any] | None = None) -> int:
    try:
        from ui.app import main as window
    except ImportError as error:
        raise EngineError(f"the window cannot be opened: {error}") from None
    return window(files, live)


# ---- measure and train -------------------------------------------------------------------------------------------


def run_bench(args: argparse.Namespace) -> int:
    """A file first: where it cannot be read, nothing else is measured."""
    from vsr.models.catalogue import load_file

    model = load_file(args.weights, args.scale) if args.weights else args.model
    scale = scale_of(args.scale, args.weights)
    if args.play is not None:
        if args.weights:
            raise UsageError("--play measures the window, too, which shows the models that ship; leave out --weights")
        return run_bench_play(args, scale)
    if args.live and args.weights:
        raise UsageError("--live measures the window, which shows the models that ship; leave out --weights")
    from vsr.bench import measure_engine, measure_file, measure_peers, peak_rss_mb
    from vsr.doctor import cpu, cuda
    from vsr.size import Size

    asked = Size.parse_size(args.size)
    assert asked.width is not None  # --size has both
    size = asked.width, asked.height
    if args.live:
        return run_bench_live(args, scale, size)
    kind = {"engine": args.engine, "precision": args.precision, "threads": args.threads}
    file = None
    if args.file is not None:
        with signals_cancel() as cancel:
            file = measure_file(args.file, args.model, scale, cancel=cancel, warn=tell_warning, weights=args.weights,
                                **kind)
        if not args.json:
            print_file_speed(file)
    with on_signals():
        speed = measure_engine(model, scale, size, warn=tell_warning, **kind)
    memory_mb = peak_rss_mb()
    gpu = cuda() if speed.engine == "cuda" else None
    device, name = ("gpu", gpu["name"]) if gpu else ("cpu", cpu()["name"])
    if not args.json:
        print_engine_speed(speed, name, memory_mb)
    with on_signals():
        others = measure_peers(model, scale, size, args.threads)
    if args.json:
        print(json.dumps({"v": 1, device: name, **speed.to_json(), "peak_rss_mb": memory_mb,
                          "file": file and file.to_json(), "others": [asdict(other) for other in others]}))
        return 0
    for other in others:
        took = (other.why if other.median_ms is None else
                f"{other.median_ms:.2f} ms, {other.median_ms / speed.median_ms:.1f} times as long")
        print(f"  {other.name} ({other.version}): {took}")
    return 0


def run_bench_live(args: argparse.Namespace, scale: int, size: tuple[int, int]) -> int:
    from vsr.bench import measure_live_window
    from vsr.models.catalogue import find

    find(args.model, scale)
    with on_signals():
        told = measure_live_window(size, args.model, scale, args.engine, args.precision)
    if args.json:
        print(json.dumps({"v": 1, "width": size[0], "height": size[1], "scale": scale, "model": args.model, **told}))
        return 0
    latency = told["latency_ms"]
    print(f"{size[0]}x{size[1]} → {scale * size[0]}x{scale * size[1]} live in a window of 1920x1080, {told['mode']}: "
          f"{told['fps']:.2f} of {told['capture_fps']:.2f} frames a second, from coming to being drawn "
          f"{latency['median']:.0f} ms, 95 % within {latency['p95']:.0f} ms; {told['dropped']} dropped")
    return 0


def run_bench_play(args: argparse.Namespace, scale: int) -> int:
    """How a video plays, split in the middle; without a window, then in one."""
    from vsr.bench import measure_window
    from vsr.player import measure_playing
    from vsr.sides import Choice

    with on_signals():
        played = measure_playing(args.play, Choice(args.model, scale, args.engine, args.precision, args.threads))
        window = measure_window(args.play, model=args.model, scale=scale, engine=args.engine, precision=args.precision)
    if args.json:
        print(json.dumps({"v": 1, **played.to_json(), "window": asdict(window)}))
        return 0
    meter = played.meter
    wanted = "a rate that it does not say" if played.video_fps is None else f"{played.video_fps:.2f}"
    print(f"{printable(str(args.play))}, split in the middle, {args.model} x{scale}, {played.engine} "
          f"{played.precision}: {played.shown_fps:.2f} frames a second of {wanted} are shown in {played.seconds:g} s")
    for stage in ("decode", "upscale"):
        print(f"  {stage:10} {meter.stage_ms[stage]:8.2f} ms a frame")
    print(f"  dropped    {played.dropped_fps:8.2f} a second; the longest stall {1000 * played.longest_stall_s:.0f} ms")
    drawing = "" if window.draw_ms is None else f", {window.draw_ms:.2f} ms each"
    print(f"in a window of 1920x1080, painted {window.first_paint_s:.2f} s after its start: {window.drawn_fps:.2f} "
          f"frames a second are drawn{drawing}; it never stood still for longer than {window.longest_stall_ms:.0f} ms")
    return 0


def print_file_speed(file: FileSpeed) -> None:
    print(f"{printable(str(file.path))} → {file.width}x{file.height}: {file.fps:.1f} frames a second from file to "
          f"file; the first is upscaled {file.start_s:.2f} s after the command")
    for stage, ms in file.stage_ms.items():
        which = "   the bottleneck" if stage == file.bottleneck else ""
        print(f"  {stage:10} {ms:8.2f} ms a frame, busy {file.busy(stage):4.0%}{which}")
    print(f"  processors {file.processor_ms:8.2f} ms a frame, busy {file.processors_busy:4.0%}, all together")
    print(f"  memory     {megabytes(file.peak_rss_mb)}")


def print_engine_speed(speed: EngineSpeed, device: str, memory_mb: float | None) -> None:
    large = f"{speed.width * speed.scale}x{speed.height * speed.scale}"
    print(f"{speed.width}x{speed.height} → {large} in memory: {speed.model}, {speed.engine} {speed.precision}, "
          f"threads: {speed.threads}, {device}")
    print(f"  engine     {speed.median_ms:8.2f} ms a frame, 95 % within {speed.p95_ms:.2f}: {speed.fps:.1f} a second")
    print(f"  still      {speed.still_ms:8.2f} ms where 90 % of the rows do not change, {speed.reused:.0%} reused")
    if speed.gmac_per_s is not None:
        of_peak = ("without Halide, and on a GPU, the most that there are is not known" if speed.peak_share is None else
                   f"{speed.peak_share:.0%} of the {speed.peak_gmac_per_s:.0f} that there are in fp32")
        print(f"  work       {speed.gmac_per_s:8.1f} GMAC/s, {of_peak}")
    print(f"  memory     {megabytes(memory_mb)}")


def megabytes(number: float | None) -> str:
    return "unknown" if number is None else f"{number:8.0f} MB at most"


def run_evaluate(args: argparse.Namespace) -> int:
    """The models side by side, picture by picture, and the average; as JSON, one object a line for each model."""
    from vsr.quality.evaluate import Evaluation, colours_of, files, model_upscale, scores
    from vsr.quality.vmaf import has_vmaf

    if args.precision != "auto" and not args.engine:
        raise UsageError("--precision is an engine's; name one with --engine")
    if args.border and args.engine:
        raise UsageError("--border is the float network's; leave out --engine")
    scale = scale_of(args.scale, next(iter(args.weights), None))
    models = dict(model_upscale(model, scale, args.engine, args.precision, border=args.border, warn=tell_warning)
                  for model in [*args.model, *args.weights] or ["fsrcnn-s"])
    results = [Evaluation(name, scale, []) for name in models]
    colours = args.rgb or any(colours_of(upscale) != "Y" for upscale in models.values())
    shown = [metric for metric in SCORE_FORMATS
             if {"vmaf": has_vmaf(), "cb": colours, "cr": colours, "rgb": colours}.get(metric, True)]
    rows = csv.DictWriter(sys.stdout, [
        "model", "scale", "name", *shown, *(f"bicubic_{metric}" for metric in shown), "frames",
        *(["seconds"] if args.time else [])])

    def show(found: Sequence[Score]) -> None:
        if args.csv:
            rows.writerows({"model": result.model, "scale": scale, "name": score.name, **score.to_json(args.time)}
                           for result, score in zip(results, found, strict=True))
            sys.stdout.flush()
        elif not args.json:
            print(score_line(found, width, shown, args.time), flush=True)

    width = max(len(printable(path.name)) for path in [Path("average"), *files(args.data)])
    with on_signals():
        for found in scores(args.data, scale, models, frames=args.frames, vmaf=has_vmaf(), colours=colours,
                            warn=tell_warning):
            if not results[0].images:  # not before: where nothing can be scored nothing is printed
                if not has_vmaf():
                    tell("vsr: VMAF is left out: there is no ffmpeg command with libvmaf here")
                if args.csv:
                    rows.writeheader()
                elif not args.json:
                    print(score_head(list(models), scale, width, shown, args.time))
            for result in results:
                result.images.append(found[result.model])
            show([found[name] for name in models])
    show([result.average for result in results])
    if args.json:
        for result in results:
            print(json.dumps(result.to_json(args.time)))
    return 0


def score_head(models: Sequence[str], scale: int, width: int, shown: Sequence[str], timed: bool) -> str:
    """What the columns of `score_line` are."""
    names = {"psnr": "PSNR", "ssim": "SSIM", "ms_ssim": "MS-SSIM", "vmaf": "VMAF"}
    what = f"x{scale}: {', '.join(names[metric] for metric in shown if metric in names)} of luma"
    what += f"{', PSNR of Cb, Cr and RGB' if 'rgb' in shown else ''}{', seconds a picture' if timed else ''}"
    cells = [f"{'bicubic':{7 * len(shown)}}", *(f"{printable(name):{7 * len(shown) + 9 * timed}}" for name in models)]
    return f"{what}\n  {'':{width}}  {'   '.join(cells)}".rstrip()


def score_line(found: Sequence[Score], width: int, shown: Sequence[str], timed: bool) -> str:
    """One picture's or video's scores: bicubic's and each model's."""
    def cell(metrics: Metrics) -> str:
        values = {metric: getattr(metrics, metric) for metric in shown}
        return "".join("      –" if value is None else f"{value:7{SCORE_FORMATS[metric]}}"
                       for metric, value in values.items())

    cells = [cell(found[0].bicubic), *(cell(each) + (f" {each.seconds:8.4f}" if timed else "") for each in found)]
    frames = f"   {found[0].frames} frames" if found[0].frames else ""
    return f"  {printable(found[0].name):{width}}  {'   '.join(cells)}{frames}"


def run_papers(args: argparse.Namespace) -> int:
    from vsr.papers.report import cards, measure, report

    if args.out:
        from vsr.papers import plots

        plots.check()
        try:
            args.out.mkdir(parents=True, exist_ok=True)  # before what takes minutes
        except OSError as error:
            raise OutputError(f"cannot write to '{args.out}': {error.strerror}") from None
    trained = cards(args.runs)
    measured = measure(args.data, args.runs, tell)
    page = report(measured, trained)
    if args.out is None:
        print(page, end="")
        return 0
    for path in plots.draw(args.out, measured, trained, args.data, args.runs):
        tell(f"wrote {path}")
    try:
        (args.out / "PAPERS.md").write_text(page, "utf-8")
    except OSError as error:
        raise OutputError(f"{args.out / 'PAPERS.md'} cannot be written: {error.strerror}") from None
    return 0


def run_train(args: argparse.Namespace) -> int:
    from vsr.training.recipes import PAPER_RECIPES, RECIPES, PaperRecipe, find

    if args.recipe == "list":
        for name in (*RECIPES, *PAPER_RECIPES):
            recipe = find(name)
            after = f", after {recipe.start}" if recipe.start else ""
            print(f"{name}: {recipe.network}; x{recipe.scale}, {recipe.iterations} iterations{after}")
        return 0
    recipe = find(args.recipe)
    if args.device == "cuda":
        from vsr.doctor import cuda

        if not cuda():
            raise EngineError("--device cuda needs an NVIDIA GPU and a PyTorch for it, and they are not both here")
    if args.iterations:
        recipe = replace(recipe, iterations=args.iterations)
    if isinstance(recipe, PaperRecipe):
        from vsr.training.paper import train_paper

        train_paper(recipe, args.data, args.out, args.device, args.threads)
    else:
        from vsr.training.train import train

        train(recipe, args.data, args.out, args.device, args.threads)
    return 0


# ---- to and from other programs ----------------------------------------------------------------------------------


def run_export(args: argparse.Namespace) -> int:
    from vsr.export import FORMATS
    from vsr.models.catalogue import find, load, load_file

    members = () if args.weights else find(args.model, scale_of(args.scale)).members
    model = members[0] if members else args.model
    weights = load_file(args.weights, args.scale) if args.weights else load(model, scale_of(args.scale))
    content = FORMATS[args.format](weights, args.luma)
    write_files({args.output: lambda path: path.write_bytes(content)}, args.weights, args.overwrite)
    if members:
        tell(f"vsr: of '{args.model}' this is the member for clean video; the others are {', '.join(members[1:])}")
    print(f"{printable(str(args.output))}: {printable(weights.name)} x{weights.scale} for {args.luma} luma, "
          f"{args.format}, {len(content)} bytes")
    return 0


def run_convert(args: argparse.Namespace) -> int:
    from vsr.models.catalogue import save_file
    from vsr.models.convert import convert

    if args.output.suffix != ".safetensors":
        raise UsageError(f"{args.output} does not end in .safetensors, as weight files do")
    weights, card = convert(args.input, args.output.stem, args.luma)
    content = (json.dumps(card, indent=1) + "\n").encode()
    write_files({args.output: lambda path: save_file(path, weights),
                 args.output.with_suffix(".json"): lambda path: path.write_bytes(content)}, args.input, args.overwrite)
    print(f"{printable(str(args.output))}: FSRCNN({weights.d},{weights.s},{weights.m}) x{weights.scale} for "
          f"{card['luma']} luma, from a {card['source']['format']}")
    return 0


def write_files(files: dict[Path, Callable[[Path], object]], source: Path | None, overwrite: bool) -> None:
    """Write each of some small files by its function; none gets its name before all are written. Raises OutputError."""
    from vsr.media.partfile import PartFile

    if not all(path.name for path in files):
        raise UsageError("-o names no file")
    parts = [PartFile(path, overwrite) for path in files]
    if source is not None and any(path.exists() and path.samefile(source) for path in files):
        raise OutputError(f"{source} is the input; give another name with -o")
    with contextlib.ExitStack() as stack:
        for part, write in zip(parts, files.values(), strict=True):
            stack.enter_context(part)
            try:
                write(part.path)
            except OSError as error:
                raise OutputError(f"{part.target} cannot be written: {error.strerror}") from error
        for part in parts:
            part.commit()


# ---- the end of it -----------------------------------------------------------------------------------------------


def unexpected(error: Exception) -> VsrError:
    """A fault of VSR's own, as one line."""
    return VsrError(f"unexpected {type(error).__name__}: {error} (please report it, with what --debug shows)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit status: 0 done, 2 usage, 3 input, 4 output, 5 engine, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no failure
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed: the next file would have its number, and get others' messages
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115
    try:
        args, more = parser().parse_known_args(arguments)
        if more and (args.command != "upscale" or any(text.startswith("-") for text in more)):
            from vsr.media.camera import shown_name

            told = " ".join(map(shown_name, more))
            raise UsageError(f"unrecognized arguments: {told} (see 'vsr {args.command} --help')")
        if more:  # inputs behind options, which argparse does not add to those before
            args.inputs += map(Path, more)
        return args.run(args)
    except VsrError as error:
        if debug:
            raise
        tell_error(error)
        return error.exit_status
    except KeyboardInterrupt:
        tell("vsr: interrupted")
        return 130
    except BrokenPipeError:
        mute(sys.stdout)
        return 0
    except Exception as raised:
        if debug:
            raise
        tell_error(unexpected(raised))
        return VsrError.exit_status
