"""The command line: arguments in, lines or JSON out, an exit status. All work is done elsewhere."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import vsr
from vsr.display import display, mute, tell_error
from vsr.errors import InputError, OutputError, UsageError, VsrError

if TYPE_CHECKING:
    from vsr.pipeline import Job

SUFFIXES = {  # what counts in a folder; a file that is named is always tried
    ".3gp", ".avi", ".avif", ".bmp", ".flv", ".gif", ".jpeg", ".jpg", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg",
    ".mpg", ".mts", ".mxf", ".ogv", ".png", ".tif", ".tiff", ".ts", ".vob", ".webm", ".webp", ".wmv", ".y4m",
}


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
    sub.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="videos, pictures, or folders of them")
    sub.add_argument("-o", "--output", metavar="OUT|DIR", help="output file, or a folder (default: beside the input)")
    sub.add_argument("-s", "--scale", type=int, default=2, metavar="N", help="2 (default), 3 or 4")
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--model", default="fsrcnn-s", metavar="M", help="see 'vsr models'; default fsrcnn-s")
    which.add_argument("--weights", type=Path, metavar="FILE", help="a weight file of 'vsr train' instead of a model")
    sub.add_argument("--engine", default="auto", help="auto (default), cpu, reference")
    sub.add_argument("--precision", default="auto", help="auto (default), fp32")
    sub.add_argument("--threads", type=positive, metavar="N", help="threads of the engine (default: all cores)")
    sub.add_argument("--codec", help="h264 (default), hevc, av1, vp9, ffv1, …")
    sub.add_argument("--crf", type=float, metavar="N", help="quality: lower is better and larger")
    sub.add_argument("--preset", help="the encoder's speed, in x264's names: ultrafast … veryslow")
    sub.add_argument("--encoder-option", action="append", default=[], metavar="K=V", help="passed to the encoder")
    sub.add_argument("--overwrite", action="store_true", help="replace an existing output")
    sub.add_argument("--progress", choices=("auto", "bar", "json", "none"), default="auto")

    sub = command("probe", run_probe, "say what a file contains")
    sub.add_argument("file", type=Path, metavar="FILE")
    sub.add_argument("--json", action="store_true")

    sub = command("models", run_models, "list the models and their scores")
    sub.add_argument("--json", action="store_true")

    sub = command("doctor", run_doctor, "say what runs on this machine, and why")
    sub.add_argument("--json", action="store_true")

    sub = command("evaluate", run_evaluate, "PSNR and SSIM on a folder of pictures, beside bicubic")
    sub.add_argument("--data", type=Path, required=True, metavar="DIR", help="a folder of pictures")
    which = sub.add_mutually_exclusive_group()
    which.add_argument("--model", action="append", metavar="M", help="may be given several times")
    which.add_argument("--weights", type=Path, metavar="FILE", help="a weight file of 'vsr train'")
    sub.add_argument("-s", "--scale", type=int, default=2, metavar="N")
    sub.add_argument("--engine", help="measure this engine (on 16-bit luma) instead of the float network")
    sub.add_argument("--precision", default="auto")
    sub.add_argument("--time", action="store_true", help="add seconds per picture")
    form = sub.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--csv", action="store_true")

    sub = command("train", run_train, "train weights; continues where it was stopped")
    sub.add_argument("recipe", metavar="RECIPE", help="see 'vsr train list'")
    sub.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="holds train/ and test/")
    sub.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="for checkpoint, weights and card")
    sub.add_argument("--iterations", type=positive, metavar="N", help="another length than the recipe's")
    sub.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    sub.add_argument("--threads", type=positive, metavar="N")
    sub.add_argument("--compile", action="store_true", help="faster; needs a C++ compiler")
    return top


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


# ---- upscale -----------------------------------------------------------------------------------------------------


def run_upscale(args: argparse.Namespace) -> int:
    """Every input is tried; the status is that of the first that failed."""
    from vsr.pipeline import run

    show = display(args.progress)
    status = 0
    with signals_cancel() as cancel:
        for path, job in jobs_of(args):
            try:
                if isinstance(job, VsrError):
                    raise job
                with made_folder(job.output):
                    run(job, on_event=show.event, cancel=cancel)
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
    return status


def jobs_of(args: argparse.Namespace) -> list[tuple[Path, Job | InputError]]:
    """(input, job) for every input file; for a folder without one, its error.

    Raises UsageError for anything wrong with the arguments; no input is opened.
    """
    from vsr.pipeline import Job, check_job, output_path

    options = []
    for option in args.encoder_option:
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise UsageError(f"encoder option '{option}' is not K=V")
        options.append((key, value))
    files: list[tuple[Path, InputError | None]] = []
    listed: set[Path] = set()
    for path in args.inputs:
        inside = [path]
        if os.path.isdir(path):  # not path.is_dir(), which raises for a name that is too long
            inside = sorted(p for p in path.iterdir() if is_video(p))
            listed |= set(inside)
        files += [(p, None) for p in inside] or [(path, InputError(f"no video file in folder {path}"))]

    output = Path(args.output) if args.output is not None else None
    into_folder = output is not None and (os.path.isdir(output) or args.output.endswith(("/", os.sep)))
    if output and len(files) > 1 and not into_folder:
        raise UsageError(f"-o {output} is one file for {len(files)} inputs; give a folder, as {output}{os.sep}")
    work: list[tuple[Path, Job | InputError]] = []
    taken: dict[Path, Path] = {}
    for path, error in files:
        if error:
            work.append((path, error))
            continue
        job = Job(path, None if into_folder else output, args.scale, args.model, args.weights, args.engine,
                  args.precision, args.threads, args.codec, args.crf, args.preset, tuple(options), args.overwrite)
        check_job(job)
        target = output_path(job)
        if output and into_folder:
            target = output / target.name
        place = Path(os.path.realpath(target))
        if place in taken:
            raise UsageError(f"{taken[place]} and {path} would both become {target}")
        taken[place] = path
        work.append((path, replace(job, output=target)))

    # What an input of this run becomes is no input: left out of a folder's list, refused where it was named.
    inputs: list[tuple[Path, Job | InputError]] = []
    for path, outcome in work:
        source = taken.get(Path(os.path.realpath(path)))
        if source is None or source == path:
            inputs.append((path, outcome))
        elif path not in listed:
            raise UsageError(f"{path} is an input, and {source} would become it; give one of them another output")
    return inputs


def is_video(path: Path) -> bool:
    """Whether a file counts in a folder: by its suffix; what is hidden or failed its self-check does not."""
    hidden = path.name.startswith(".") or path.stem.endswith(".failed-check")
    return not hidden and path.suffix.lower() in SUFFIXES and path.is_file()


@contextlib.contextmanager
def made_folder(output: Path | None) -> Iterator[None]:
    """The folder that an output goes to, made where it is missing, and removed again where nothing came into it."""
    folder = output.parent if output else Path()
    missing = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for place in missing:
                place.rmdir()


@contextlib.contextmanager
def signals_cancel() -> Iterator[threading.Event]:
    """Ctrl-C (or a termination) once sets the event; a second one interrupts at once."""
    cancel = threading.Event()
    kinds = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP"):  # the terminal was closed
        kinds.append(signal.SIGHUP)

    def first(number: int, frame: Any) -> None:
        cancel.set()
        for kind in kinds:
            signal.signal(kind, signal.default_int_handler)

    before = [signal.signal(kind, first) for kind in kinds]
    try:
        yield cancel
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


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
                   "parameters": entry.parameters, "card": {str(n): entry.card(n) for n in entry.files} or None}
                  for entry in entries]
        print(json.dumps({"v": 1, "models": models}))
        return 0
    for entry in entries:
        print(f"{entry.name}: {entry.summary}")
        for scale in entry.files:
            card = entry.card(scale)
            scores = card["scores"] if card else {}
            print(f"  x{scale}  " + "   ".join(f"{name} {score['psnr']:.2f} dB (bicubic {score['bicubic_psnr']:.2f})"
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


# ---- measure and train -------------------------------------------------------------------------------------------


def run_evaluate(args: argparse.Namespace) -> int:
    """The models one after the other: a table, CSV, or one JSON object a line for each."""
    from vsr.quality.evaluate import evaluate, model_upscale

    if args.precision != "auto" and not args.engine:
        raise UsageError("--precision is an engine's; name one with --engine")
    models = [args.weights] if args.weights else args.model or ["fsrcnn-s"]
    tested = [model_upscale(model, args.scale, args.engine, args.precision) for model in models]
    for number, (name, upscale) in enumerate(tested):
        result = evaluate(args.data, name, args.scale, upscale)
        rows = [*result.images, result.average]
        if args.json:
            print(json.dumps(result.to_json(args.time)), flush=True)
        elif args.csv:
            table = csv.DictWriter(sys.stdout, ["model", "scale", "name", *rows[0].to_json(args.time)])
            if not number:
                table.writeheader()
            for row in rows:
                table.writerow({"model": name, "scale": args.scale, "name": row.name, **row.to_json(args.time)})
        else:
            print(f"{name} x{args.scale}: PSNR / SSIM on Y, and bicubic's" + ("; seconds" if args.time else ""))
            for row in rows:
                print(f"  {row.name:24} {row.psnr:6.2f} / {row.ssim:.4f}   "
                      f"{row.bicubic_psnr:6.2f} / {row.bicubic_ssim:.4f}"
                      + (f"   {row.seconds:.4f}" if args.time else ""), flush=True)
    return 0


def run_train(args: argparse.Namespace) -> int:
    from vsr.training.recipes import RECIPES, find

    if args.recipe == "list":
        for recipe in RECIPES.values():
            after = f", after {recipe.start}" if recipe.start else ""
            print(f"{recipe.name}: FSRCNN({recipe.d},{recipe.s},{recipe.m}) x{recipe.scale}, "
                  f"{recipe.iterations} iterations{after}")
        return 0
    recipe = find(args.recipe)
    if args.iterations:
        recipe = replace(recipe, iterations=args.iterations)
    from vsr.training.train import train

    train(recipe, args.data, args.out, args.device, args.threads, args.compile)
    return 0


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
    try:
        args = parser().parse_args(arguments)
        return args.run(args)
    except VsrError as error:
        if debug:
            raise
        tell_error(error)
        return error.exit_status
    except KeyboardInterrupt:
        print("vsr: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        mute()
        return 0
    except Exception as raised:
        if debug:
            raise
        tell_error(unexpected(raised))
        return VsrError.exit_status
