"""Other engines on the same network, for comparison. `vsr.bench` runs each in a process of its own:

    python -m vsr.peers MODULE WEIGHTS WIDTH HEIGHT THREADS SECONDS

prints what was measured as JSON, a list of what `PeerSpeed` holds.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator

import numpy as np
import torch

from vsr.bench import frames, timed
from vsr.models.catalogue import load_file
from vsr.models.fsrcnn import Net

Run = Callable[[np.ndarray], object]  # (1, 1, H, W) float32 luma
Offer = tuple[str, Run | str]  # its name, and what runs it or why it is not run


def main() -> None:
    """Measure what MODULE offers, and print it."""
    module, file, width, height, threads, seconds = sys.argv[1:]
    torch.set_num_threads(int(threads))
    net = Net.from_weights(load_file(file)).eval()
    inputs = [frame[None, None].astype(np.float32) / np.float32(255) for frame in frames(int(width), int(height))]
    version = importlib.import_module(module).__version__.partition("-")[0]
    found = []
    with torch.inference_mode():
        for name, run in OFFERS[module](net, inputs[0], int(threads)):
            speed = {"why": run} if isinstance(run, str) else {"median_ms": median_ms(run, inputs, float(seconds))}
            found.append({"name": name, "version": version, "median_ms": None, **speed})
    print(json.dumps(found))


def median_ms(run: Run, inputs: list[np.ndarray], seconds: float) -> float:
    return float(np.median(timed(lambda number: run(inputs[number % 2]), seconds)))


def eager(net: Net, luma: np.ndarray, threads: int) -> Iterator[Offer]:
    """PyTorch as the paper has it: layer by layer, with the deconvolution."""
    yield "PyTorch eager fp32", lambda luma: net(torch.from_numpy(luma), pixel_shuffle=False)


def superres(net: Net, luma: np.ndarray, threads: int) -> Iterator[Offer]:
    """OpenCV's module, which its contrib packages have."""
    import cv2

    if hasattr(cv2, "dnn_superres"):
        yield "OpenCV dnn_superres", "installed, not run: it reads TensorFlow's frozen graphs, which VSR does not write"


def onnx_runtime(net: Net, luma: np.ndarray, threads: int) -> Iterator[Offer]:
    """ONNX Runtime on what `vsr export` writes."""
    import onnxruntime

    from vsr.export import onnx_model

    name = "ONNX Runtime fp32"
    if importlib.util.find_spec("onnx") is None:
        yield name, "installed, not run: the model is written with the package onnx, which is not"
        return
    if not net.network.sizes:
        yield name, "installed, not run: what is written is FSRCNN(d,s,m)"
        return
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = onnx_model(net.to_weights("fsrcnn"))
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    yield name, lambda luma: session.run(None, {"luma": luma})


def open_vino(net: Net, luma: np.ndarray, threads: int) -> Iterator[Offer]:
    """OpenVINO, in fp32 and in what it takes by itself."""
    import openvino

    model = openvino.convert_model(net, example_input=torch.from_numpy(luma))
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    for choice in ({"INFERENCE_PRECISION_HINT": "f32"}, {}):
        compiled = openvino.compile_model(model, "CPU", settings | choice)
        kind = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if choice or kind != "f32":
            yield f"OpenVINO {'fp32' if kind == 'f32' else kind}", compiled


OFFERS = {"torch": eager, "cv2": superres, "onnxruntime": onnx_runtime, "openvino": open_vino}

if __name__ == "__main__":
    main()
