"""The networks, their exact inference form, the weight files, and the weights that ship."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from safetensors.numpy import save_file as save_tensors
from test_networks import random_net

from vsr.engines import has_int8, open_engine
from vsr.errors import UsageError
from vsr.models.catalogue import SCALES, assets_dir, catalogue, load, load_file, random_weights, save_file
from vsr.models.fsrcnn import Net
from vsr.models.networks import NETWORKS, Network, fsrcnn
from vsr.papers.published import BEST
from vsr.quality.evaluate import evaluate, network
from vsr.quality.metrics import psnr, to_bytes
from vsr.quality.protocol import crop_to_multiple, imresize, list_images, load_luma
from vsr.training.data import twin
from vsr.training.drawn import dithered, page

PAPER = {"fsrcnn-s": BEST["FSRCNN-s"], "fsrcnn": BEST["FSRCNN"]}
CELLS = [(model, *row) for model, cells in PAPER.items() for row in cells if row[0] != "BSD200"]
SIZES = {"fsrcnn-s": (32, 5, 1), "fsrcnn": (56, 12, 4)}
SHIPPED = [(model, scale) for model in SIZES for scale in SCALES]


@pytest.mark.parametrize(("d", "s", "m", "count"), [(32, 5, 1, 3937), (56, 12, 4, 12464), (48, 12, 2, 8832),
                                                   (56, 16, 4, 16944)])
def test_parameters_are_counted_as_in_the_paper(d: int, s: int, m: int, count: int) -> None:
    assert random_weights(d, s, m, 3).parameters == count
    net = Net(fsrcnn(d, s, m), 3)
    assert sum(p.numel() for name, p in net.named_parameters() if name.endswith("weight") and p.ndim == 4) == count


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (13, 7)])
def test_pixel_shuffle_equals_the_deconvolution(scale: int, shape: tuple[int, int]) -> None:
    net = Net.from_weights(random_weights(8, 4, 2, scale))
    luma = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        shuffled, deconvolved = net(luma), net(luma, pixel_shuffle=False)
    assert shuffled.shape == deconvolved.shape == (2, 1, shape[0] * scale, shape[1] * scale)
    assert (shuffled - deconvolved).abs().max() < 1e-5
    assert shuffled.std() > 0.01  # the comparison means something


@pytest.mark.parametrize("scale", SCALES)
def test_shuffle_taps_come_from_the_geometry(scale: int) -> None:
    weights = random_weights(4, 3, 1, scale)
    taps, first = weights.pixel_shuffle()
    net = Net.from_weights(weights)
    assert first == -net.reach
    assert np.array_equal(taps, net.shuffle_weight().detach().numpy())
    assert np.count_nonzero(taps) == weights.deconvolution.size


def test_the_kernel_is_centred_on_the_pixel_that_it_makes() -> None:
    """A network that passes its input through makes each pixel of a symmetric kernel symmetric about its place."""
    for scale in SCALES:
        weights = random_weights(1, 1, 0, scale)
        kernel = np.zeros((1, 9, 9), np.float32)
        kernel[0, 4, 4] = 1
        for layer in (weights.feature, weights.shrink, weights.expand):
            layer.weight[:] = 0
            layer.weight[0, 0, layer.weight.shape[2] // 2, layer.weight.shape[3] // 2] = 1
            layer.bias[:] = 0
        weights.deconvolution[:] = kernel
        luma = torch.zeros(1, 1, 5, 5)
        luma[0, 0, 2, 2] = 1
        made = Net.from_weights(weights)(luma)[0, 0].detach().numpy() - weights.bias
        (row,), (column,) = np.nonzero(np.abs(made) > 0.5)
        assert row == column == 2 * scale + 4 - weights.padding


@pytest.mark.parametrize("scale", SCALES)
def test_pieces_with_context_give_the_pixels_of_the_whole(scale: int) -> None:
    net = Net.from_weights(random_weights(8, 4, 1, scale))
    luma = torch.rand(1, 1, 40, 30)
    with torch.inference_mode():
        whole = net(luma)
        piece = net.valid(luma[..., 10:30, 5:25])
    m, n = net.margin, scale
    assert torch.allclose(piece, whole[..., n * (10 + m):n * (30 - m), n * (5 + m):n * (25 - m)], atol=1e-5)


def test_weight_files_round_trip(tmp_path: Path) -> None:
    weights = random_weights(8, 4, 2, 3)
    save_file(tmp_path / "w.safetensors", weights)
    for read in (load_file(tmp_path / "w.safetensors"), Net.from_weights(weights).to_weights(weights.name)):
        assert (read.name, read.scale, read.padding, read.m) == (weights.name, 3, 3, 2)
        assert read.bias == pytest.approx(weights.bias)
        assert np.array_equal(read.deconvolution, weights.deconvolution)
        for ours, theirs in zip((read.feature, read.shrink, *read.mapping, read.expand),
                                (weights.feature, weights.shrink, *weights.mapping, weights.expand), strict=True):
            assert all(np.array_equal(getattr(ours, key), getattr(theirs, key)) for key in ("weight", "bias", "slope"))


@pytest.mark.parametrize("name", ["srcnn-9-1-5", "srcnn-colour", "transition-1", "fsrcnn-bicubic", "fsrcnn-relu"])
@pytest.mark.parametrize("border", ["replicated", "zero"])
def test_weight_files_of_any_network_describe_themselves(name: str, border: str, tmp_path: Path) -> None:
    net = random_net(replace(NETWORKS[name], border=border), 3)
    weights = net.to_weights(name, colours := "YCbCr" if name == "srcnn-colour" else "Y")
    save_file(tmp_path / "w.safetensors", weights)
    read = load_file(tmp_path / "w.safetensors", 3)
    assert (read.name, read.network, read.parameters) == (name, net.network, NETWORKS[name].parameters)
    assert read.colours == colours
    luma = torch.rand(1, net.network.channels, 9, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        made = net(luma)
        assert torch.equal(Net.from_weights(read)(luma), made) and made.std() > 1e-4
    with safe_open(tmp_path / "w.safetensors", "np") as file:
        assert Network.parse(file.metadata()["architecture"]) == net.network
        slopes = [key for key in file.keys() if key.endswith("slope")]  # noqa: SIM118
        assert len(slopes) == str(net.network).count("PReLU")


def test_files_from_before_there_were_other_networks_are_read(tmp_path: Path) -> None:
    weights = random_weights(8, 4, 2, 3)
    save_file(tmp_path / "new.safetensors", weights)
    with safe_open(tmp_path / "new.safetensors", "np") as file:
        meta, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_tensors(tensors, tmp_path / "old.safetensors", meta | {"architecture": "fsrcnn", "d": "8", "s": "4", "m": "2"})
    read = load_file(tmp_path / "old.safetensors")
    assert read.network == weights.network and np.array_equal(read.expand.weight, weights.expand.weight)


def test_weights_become_a_model_when_their_file_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights").mkdir()
    save_file(tmp_path / "weights" / "fsrcnn_x3.safetensors", random_weights(8, 4, 1, 3))
    monkeypatch.setattr("vsr.models.catalogue.assets_dir", lambda: tmp_path)
    assert catalogue().keys() == {"fsrcnn", "bicubic"}
    entry = catalogue()["fsrcnn"]
    assert (entry.scales, entry.int8_files, entry.network) == ((3,), {}, fsrcnn(8, 4, 1))


def test_a_network_of_the_papers_runs_on_the_reference_alone() -> None:
    """On luma; the other engines say in a line that they do not."""
    net = random_net(NETWORKS["srcnn-9-1-5"], 3)
    weights = net.to_weights("srcnn-9-1-5")
    luma = np.random.default_rng(0).integers(0, 256, (13, 11), dtype=np.uint8)
    with open_engine(weights, 3) as engine, torch.inference_mode():
        assert (engine.name, engine.precision) == ("reference", "fp32")
        made = net(torch.from_numpy(luma / np.float32(255))[None, None])[0, 0].numpy() * 255
        assert np.abs(engine.upscale(luma) - np.clip(made, 0, 255)).max() < 0.51
    for refused in ({"engine": "cpu"}, {"engine": "cuda"}, {"precision": "int8"}, {"precision": "bf16"}):
        with pytest.raises(UsageError) as error:
            open_engine(weights, 3, **refused)
        assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="3 channels"):
        open_engine(Net(NETWORKS["srcnn-colour"], 2).to_weights("colour", "RGB"), 2)


@pytest.mark.parametrize("border", ["replicated", "zero", "normalised"])
def test_the_references_strips_are_not_to_be_seen(border: str, monkeypatch: pytest.MonkeyPatch) -> None:
    luma = np.random.default_rng(0).integers(0, 256, (40, 20), dtype=np.uint8)
    for name in ("fsrcnn-s", "srcnn-9-1-5"):
        net = random_net(replace(NETWORKS[name], border=border), 2)
        engine = open_engine(net.to_weights(name), 2, engine="reference", bits=16)
        deep = luma.astype(np.uint16) << 8
        whole = engine.upscale(deep).astype(int)
        monkeypatch.setattr("vsr.engines.reference.STRIP", 20 * 7 * 4)
        assert np.abs(engine.upscale(deep) - whole).max() <= 1 and whole.std() > 500
        monkeypatch.undo()


@pytest.mark.parametrize("scale", SCALES)
def test_quantized_weights_round_trip_to_the_same_integers(scale: int, tmp_path: Path) -> None:
    weights = random_weights(8, 4, 1, scale, quantized=True)
    integers, first = weights.int8_pixel_shuffle()
    assert integers.dtype == np.int8 and np.abs(integers).max((1, 2, 3)).tolist() == [127] * scale**2
    assert weights.quantization is not None and weights.quantization.zero.max() > 0
    save_file(tmp_path / "w.safetensors", weights)
    read = load_file(tmp_path / "w.safetensors")
    assert read.quantization is not None
    for key, value in vars(weights.quantization).items():
        assert np.array_equal(getattr(read.quantization, key), value)
    again = replace(weights, quantization=None).quantized(weights.quantization)
    for same in (read, again):
        assert np.array_equal(same.deconvolution, weights.deconvolution)
        assert np.array_equal(same.int8_pixel_shuffle()[0], integers) and same.int8_pixel_shuffle()[1] == first


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("training", [True, False])
def test_the_quantized_network_is_the_sum_of_integers(scale: int, training: bool) -> None:
    weights = random_weights(32, 5, 1, scale, quantized=True)
    net = Net.from_weights(weights).train(training)
    luma = 1.2 * torch.rand(1, 1, 30, 20, generator=torch.Generator().manual_seed(0))  # some maps leave their range
    with torch.inference_mode():
        made = net.valid(luma)[0, 0].double().numpy()
        maps = net.trunk(luma)[0].numpy()
    quantization = weights.quantization
    assert quantization is not None
    step, zero = (array[:, None, None] for array in (quantization.step, quantization.zero.astype(int)))
    q = np.clip(np.rint(maps / step).astype(int) + zero, 0, 255)
    assert q.min() == 0 and q.max() == 255
    kernel, _ = weights.int8_pixel_shuffle()
    windows = np.lib.stride_tricks.sliding_window_view(q - zero, kernel.shape[2:], (1, 2))
    sums = np.einsum("pcij,cyxij->pyx", kernel.astype(np.int64), windows)
    assert np.abs(sums).max() < 2**24
    phases = sums * quantization.weight_step[:, None, None].astype(np.float64) + weights.bias
    wanted = phases.reshape(scale, scale, *phases.shape[1:]).transpose(2, 0, 3, 1).reshape(made.shape)
    assert np.abs(made - wanted).max() < 1e-5


def test_gradients_flow_through_the_integers() -> None:
    net = Net.from_weights(random_weights(8, 4, 1, 2, quantized=True))
    net.valid(torch.rand(1, 1, 20, 20)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in net.parameters())


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("no weights")
    save_tensors({"a": np.zeros(1, np.float32)}, tmp_path / "foreign.safetensors")
    save_tensors({"a": np.zeros(1, np.float32)}, tmp_path / "srcnn.safetensors", {"architecture": "srcnn"})
    meta = {"architecture": "fsrcnn", "name": "x", "scale": "2", "padding": "4", "m": "1"}
    save_tensors({"feature.weight": np.zeros(1, np.float32)}, tmp_path / "part.safetensors", meta)
    for name in ("text", "foreign", "srcnn", "part", "missing"):
        with pytest.raises(UsageError, match=name) as error:
            load_file(tmp_path / f"{name}.safetensors")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("spoil", [
    {"scale": 5}, {"padding": 50}, {"bias": float("nan")}, {"deconvolution": np.zeros((8, 5, 5), np.float32)},
    {"deconvolution": np.full((8, 9, 9), np.inf, np.float32)}, {"deconvolution": np.zeros((8, 9, 9))},
    {"layers": random_weights(8, 3, 1, 2).layers}, {"layers": random_weights(8, 4, 2, 2).layers},
    {"network": NETWORKS["fsrcnn"]}, {"network": NETWORKS["srcnn-9-1-5"]}, {"deconvolution": None}, {"colours": "RGB"},
    {"colours": "Lab"},
    {"quantization": random_weights(9, 4, 0, 2, quantized=True).quantization},
    {"quantization": random_weights(8, 4, 0, 2, seed=1, quantized=True).quantization}])
def test_arrays_that_do_not_fit_are_refused(spoil: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(random_weights(8, 4, 1, 2), **spoil)


@pytest.mark.parametrize("spoil", [
    {"step": np.zeros(8, np.float32)}, {"step": np.full((8, 1), 0.1, np.float32)}, {"zero": np.zeros(8, np.int32)},
    {"zero": np.zeros(7, np.uint8)}, {"weight_step": np.full(4, np.nan, np.float32)}])
def test_quantizations_that_cannot_be_are_refused(spoil: dict[str, np.ndarray]) -> None:
    quantization = random_weights(8, 4, 1, 2, quantized=True).quantization
    assert quantization is not None
    with pytest.raises(ValueError, match=next(iter(spoil))):
        replace(quantization, **spoil)


def test_malformed_metadata_is_a_usage_error(tmp_path: Path) -> None:
    save_file(tmp_path / "good.safetensors", random_weights(8, 4, 1, 2))
    with safe_open(tmp_path / "good.safetensors", "np") as file:
        meta, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    other = str(random_weights(8, 4, 2, 2).network)
    for change in ({"scale": "zwei"}, {"padding": "50"}, {"architecture": other}, {"architecture": "srcnn"}):
        save_tensors(tensors, tmp_path / "bad.safetensors", meta | change)
        with pytest.raises(UsageError, match="bad"):
            load_file(tmp_path / "bad.safetensors")
    for size in (0, (2, 2)):
        save_tensors(tensors | {"deconvolution.bias": np.zeros(size, np.float32)}, tmp_path / "bad.safetensors", meta)
        with pytest.raises(UsageError, match="malformed"):
            load_file(tmp_path / "bad.safetensors")


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float8_e4m3fn])
def test_numbers_that_numpy_has_not_are_a_usage_error(kind: torch.dtype, tmp_path: Path) -> None:
    save_file(tmp_path / "good.safetensors", random_weights(8, 4, 1, 2))
    with safe_open(tmp_path / "good.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key).to(kind) for key in file.keys()}  # noqa: SIM118
        safetensors.torch.save_file(tensors, tmp_path / "bad.safetensors", file.metadata())
    with pytest.raises(UsageError, match=r"cannot read weights|malformed"):  # ml_dtypes gives NumPy some
        load_file(tmp_path / "bad.safetensors")


def test_a_quantization_of_another_network_is_a_usage_error(tmp_path: Path) -> None:
    save_file(tmp_path / "good.safetensors", Net(NETWORKS["srcnn-9-1-5"], 2).to_weights("srcnn"))
    quantization = random_weights(64, 4, 1, 2, quantized=True).quantization
    with safe_open(tmp_path / "good.safetensors", "np") as file:
        meta, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    tensors |= {f"quantization.{key}": value for key, value in vars(quantization).items()}
    save_tensors(tensors, tmp_path / "bad.safetensors", meta)
    with pytest.raises(UsageError, match="malformed: a quantization"):
        load_file(tmp_path / "bad.safetensors")


def test_unknown_models_and_scales_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="nonesuch"):
        load("nonesuch", 2)
    with pytest.raises(UsageError, match="scale 5"):
        load("fsrcnn-s", 5)
    with pytest.raises(UsageError, match="no weights"):
        load("bicubic", 2)


@pytest.mark.parametrize(("model", "scale"), SHIPPED)
def test_shipped_weights_are_what_their_card_says(model: str, scale: int) -> None:
    entry = catalogue()[model]
    weights, card = load(model, scale), entry.card(scale)
    assert card is not None
    assert (weights.d, weights.s, weights.m, weights.scale) == (*SIZES[model], scale)
    assert entry.parameters == weights.parameters == card["parameters"]
    assert card["model"] == weights.name == model and card["scale"] == scale
    for key in ("recipe", "iterations", "commit", "scores", "validation_psnr"):
        assert card[key], key
    for recipe in (card["recipe"], *card["before"]):
        assert set(recipe["sets"]) <= {"t91", "bsds500test", "kodak24", "photos_y", "cid22_y"}


@pytest.mark.parametrize(("model", "folder", "scale"), CELLS)
def test_shipped_weights_reach_the_paper(model: str, folder: str, scale: int, data: Path) -> None:
    images = data / "test" / folder
    if not images.is_dir():
        pytest.skip(f"no test set {folder} in {data}")
    average, paper = evaluate(images, model, scale, network(load(model, scale))).average, PAPER[model][folder, scale]
    assert average.psnr >= paper.psnr and average.ssim >= paper.ssim
    card = catalogue()[model].card(scale)
    assert card is not None
    assert card["scores"][folder]["psnr"] == pytest.approx(average.psnr, abs=0.005)
    assert card["scores"][folder]["ssim"] == pytest.approx(average.ssim, abs=0.0005)


@pytest.mark.parametrize(("model", "scale"), SHIPPED)
def test_black_and_white_text_has_no_blots(model: str, scale: int) -> None:
    """Where weights never saw such contrast, single pixels were wrong by up to some thousand levels."""
    rng = np.random.default_rng(11)
    upscale = network(load(model, scale))
    for _ in range(3):
        high = crop_to_multiple(page(rng, 300), scale)
        low = imresize(high, 1 / scale).astype(np.float32)
        made = upscale(low)
        assert np.abs(made - high).max() < 300
        assert psnr(to_bytes(made), high) > psnr(to_bytes(imresize(low, scale)), high)


@pytest.mark.parametrize(("model", "scale"), SHIPPED)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_dithered_pictures_have_no_speckles(precision: str, model: str, scale: int) -> None:
    """Where weights never saw single pixels alternate, they were wrong by up to 300,000 levels."""
    upscale = network(load(model, scale, precision))
    for seed in range(3):
        low, high = twin(dithered(np.random.default_rng(seed), scale, 300), scale)
        made = upscale(low)
        assert np.abs(made - high).max() < 250
        assert psnr(to_bytes(made), high) > psnr(to_bytes(imresize(low, scale)), high) + 2
    for ink in (np.indices((40, 40)).sum(0) % 2, np.indices((40, 40))[1] % 2):  # pure black and white, not made small
        made = upscale(np.float32(255 * ink))
        high = np.kron(np.uint8(255 * ink), np.ones((scale, scale), np.uint8))
        assert np.abs(made - high).max() < 1000
        assert psnr(to_bytes(made), high) > psnr(to_bytes(imresize(np.float32(255 * ink), scale)), high)


@pytest.mark.parametrize(("model", "scale"), SHIPPED)
def test_shipped_int8_weights_are_what_their_card_says(model: str, scale: int) -> None:
    entry = catalogue()[model]
    weights, card = load(model, scale, "int8"), entry.card(scale, "int8")
    assert card is not None and card["recipe"]["quantized"]
    assert (weights.d, weights.s, weights.m, weights.scale) == (*SIZES[model], scale)
    assert np.abs(weights.int8_pixel_shuffle()[0]).max((1, 2, 3)).min() > 120  # the range is made use of
    plain = entry.card(scale)
    assert plain is not None and card["before"] == [plain["recipe"], *plain["before"]]
    assert load(model, scale).quantization is None
    with pytest.raises(UsageError, match="int8"):
        load(model, scale).int8_pixel_shuffle()


@pytest.mark.parametrize(("model", "scale"), SHIPPED)
@pytest.mark.parametrize("folder", ["Set5", "Set14"])
def test_int8_costs_next_to_nothing(folder: str, model: str, scale: int, data: Path) -> None:
    images = data / "test" / folder
    if not images.is_dir():
        pytest.skip(f"no test set {folder} in {data}")
    float32, int8 = (evaluate(images, precision, scale, network(load(model, scale, precision))).average
                     for precision in ("fp32", "int8"))
    assert int8.psnr > float32.psnr - {"Set5": 0.05, "Set14": 0.03}[folder]  # smooth pictures show 8 bits sooner
    card = catalogue()[model].card(scale, "int8")
    assert card is not None
    assert card["scores"][folder]["psnr"] == pytest.approx(int8.psnr, abs=0.005)
    assert card["scores"][folder]["ssim"] == pytest.approx(int8.ssim, abs=0.0005)


@pytest.mark.parametrize("scale", SCALES)
def test_no_precision_of_the_cpu_engine_costs_what_can_be_seen(scale: int, data: Path) -> None:
    """On 8-bit codes, as nearly all video has them; float pictures have the precisions of deeper codes."""
    pytest.importorskip("halide", reason="the cpu engine needs halide, which has no wheel here")
    from vsr.engines.cpu import precisions
    from vsr.engines.halide_plane import Host

    images = data / "test" / "Set14"
    if not images.is_dir():
        pytest.skip(f"no test set Set14 in {data}")
    inner, scores = np.s_[scale:-scale, scale:-scale], {}
    whole = [crop_to_multiple(load_luma(path), scale) for path in list_images(images)]
    pairs = [(truth, to_bytes(imresize(truth, 1 / scale))) for truth in whole]
    for precision in precisions(Host.current()):
        if precision != "int8" or has_int8("fsrcnn-s", scale):
            engine = open_engine(scale=scale, precision=precision, engine="cpu")
            scores[precision] = np.mean([psnr(engine.upscale(low)[inner], truth[inner]) for truth, low in pairs])
    assert scores["fp32"] > PAPER["fsrcnn-s"]["Set14", scale].psnr
    assert {name for name, score in scores.items() if score < scores["fp32"] - 0.03} == set()


def test_assets_are_found() -> None:
    assert (assets_dir() / "sample.mp4").is_file()


def test_the_readme_says_what_the_cards_say() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    for scale in SCALES:
        card = catalogue()["fsrcnn-s"].card(scale)
        assert card is not None
        row = next(line for line in text.splitlines() if line.startswith(f"| ×{scale} |"))
        for folder in ("Set5", "Set14"):
            assert f"| **{card['scores'][folder]['psnr']:.2f}** |" in row
            assert f"| {PAPER['fsrcnn-s'][folder, scale].psnr} |" in row
    for folder in ("Set5", "Set14"):
        cards = [catalogue()["fsrcnn-s"].card(scale, "int8") for scale in SCALES]
        numbers = " / ".join(f"{card['scores'][folder]['psnr']:.2f}" for card in cards if card)
        assert f"{numbers} dB on {folder}" in text.replace("\n", " ")
