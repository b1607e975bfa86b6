"""The papers' networks: as large as the papers say, written and read back, and computed as they are described."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vsr.models.fsrcnn import Net
from vsr.models.networks import NETWORKS, SCALES, Convolution, Network, cubic, fsrcnn, srcnn
from vsr.papers.published import PARAMETERS, SPEEDUPS
from vsr.quality.protocol import imresize


def random_net(network: Network, scale: int) -> Net:
    """With weights that make of noise a picture about as bright and as rich in contrast, and slopes that differ."""
    torch.manual_seed(0)
    net = Net(network, scale).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 4:
                parameter.normal_(std=(2 / parameter[0].numel()) ** 0.5)
            else:
                parameter.uniform_(-0.1, 0.3)
        if network.growth != "bicubic last":  # whose last layer does not make the picture
            last = net.deconvolution or net.layers()[-1][0]
            made = net(picture(network, 20, 20))
            last.weight.mul_(0.2 / made.std())
            last.bias.sub_(net(picture(network, 20, 20)).mean() - 0.5)
    return net


def picture(network: Network, height: int, width: int) -> torch.Tensor:
    return torch.rand(2, network.channels, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_papers(name: str) -> None:
    network = NETWORKS[name]
    assert network.parameters == PARAMETERS[name]
    assert sum(p.numel() for p in Net(network, 3).parameters() if p.ndim == 4) == PARAMETERS[name]


def test_multiplications_grow_with_the_large_picture_in_srcnn_alone() -> None:
    assert NETWORKS["srcnn-9-1-5"].multiplications(3) == 8032 * 9
    assert NETWORKS["fsrcnn-s"].multiplications(3) == 3937
    ex = NETWORKS["srcnn-ex"].multiplications(3)
    for name, (_, times) in SPEEDUPS.items():
        assert round(ex / NETWORKS[name].multiplications(3), 1) == times


@pytest.mark.parametrize("name", NETWORKS)
def test_a_description_reads_what_it_writes(name: str) -> None:
    for border in ("replicated", "zero", "normalised"):
        network = replace(NETWORKS[name], border=border)
        assert Network.parse(str(network)) == network
    assert str(NETWORKS["srcnn-9-1-5"]) == "Bicubic, Conv(9,64,1) ReLU, Conv(1,32,64) ReLU, Conv(5,1,32)"
    assert str(fsrcnn(8, 4, 1)) == ("Conv(5,8,1) PReLU, Conv(1,4,8) PReLU, Conv(3,4,4) PReLU, Conv(1,8,4) PReLU, "
                                    "DeConv(9,1,8)")


@pytest.mark.parametrize("text", ["", "Bicubic", "Conv(5,8,1) PReLU", "Bicubic, Conv(4,1,1)", "Bicubic, Conv(5,2,1)",
                                  "Conv(5,8,1) PReLU, DeConv(9,1,7)", "Conv(5,8,2) PReLU, DeConv(9,1,8)",
                                  "Conv(5,8,1) GELU, DeConv(9,1,8)", "Conv(5,8,1) PReLU, DeConv(7,1,8)",
                                  "Bicubic, Conv(5,8,1) ReLU, Conv(5,1,9)", "Bicubic, Conv(5,1,1); no border"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"network|layers|border|channels"):
        Network.parse(text)


def test_the_fast_engines_networks_are_known() -> None:
    assert fsrcnn(8, 4, 0).sizes == (8, 4, 0) and NETWORKS["fsrcnn"].sizes == (56, 12, 4)
    others = {name for name, network in NETWORKS.items() if network.sizes is None}
    assert others == {name for name in NETWORKS if not name.startswith("fsrcnn")} | {
        "fsrcnn-no-expanding", "fsrcnn-bicubic", "fsrcnn-relu"}
    assert replace(fsrcnn(8, 4, 1), border="zero").sizes is None


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["fsrcnn-s", "srcnn-9-1-5", "srcnn-colour", "transition-1", "fsrcnn-bicubic"])
def test_pieces_with_context_give_the_pixels_of_the_whole(name: str, scale: int) -> None:
    net = random_net(NETWORKS[name], scale)
    luma = picture(net.network, 26, 24)
    m, n = net.margin, scale
    with torch.inference_mode():
        whole, piece = net(luma), net.valid(luma[..., 2:24, 1:22])
    assert whole.shape == (2, net.network.channels, 26 * n, 24 * n) and whole.std() > 0.05
    assert torch.allclose(piece, whole[..., n * (2 + m):n * (24 - m), n * (1 + m):n * (22 - m)], atol=1e-5)


@pytest.mark.parametrize("scale", SCALES)
def test_bicubic_is_the_protocols(scale: int) -> None:
    luma = picture(NETWORKS["srcnn-colour"], 12, 9)
    made = Net(NETWORKS["srcnn-colour"], scale).double().enlarge(luma.double()).numpy()
    inner = np.s_[2 * scale:-2 * scale, 2 * scale:-2 * scale]
    for picture_, channels in zip(made, luma.double().numpy(), strict=True):
        for ours, channel in zip(picture_, channels, strict=True):
            assert np.abs(ours - imresize(channel, scale)[inner]).max() < 1e-6  # the kernel is kept in float32
    assert cubic(np.array([0.0, 1, 2])).tolist() == [1, 0, 0]


def test_srcnn_is_bicubic_and_then_its_convolutions() -> None:
    net = random_net(NETWORKS["srcnn-9-1-5"], 3)
    luma = picture(net.network, 12, 10)
    with torch.inference_mode():
        maps = net.enlarge(F.pad(luma, (6,) * 4, mode="replicate"))[..., 6:-6, 6:-6]
        (first, _), (second, _), (last, none) = net.layers()
        by_hand = last(F.relu(second(F.relu(first(maps)))))
        assert none is None
        assert torch.allclose(net(luma), by_hand, atol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["fsrcnn-s", "srcnn-9-1-5", "transition-2", "fsrcnn-bicubic"])
def test_borders_differ_at_the_border_alone(name: str, scale: int) -> None:
    nets = {border: random_net(replace(NETWORKS[name], border=border), scale)
            for border in ("replicated", "zero", "normalised")}
    for net in nets.values():
        net.load_state_dict(nets["replicated"].state_dict())
    luma = picture(NETWORKS[name], 30, 28)
    with torch.inference_mode():
        made = {border: net(luma) for border, net in nets.items()}
    inside = nets["zero"].margin * scale
    for border in ("zero", "normalised"):
        difference = (made[border] - made["replicated"]).abs()
        assert difference.shape == (2, 1, 30 * scale, 28 * scale)
        assert difference[..., inside:-inside, inside:-inside].max() < 1e-5
        assert difference.max() > 0.01


def test_normalised_convolutions_keep_a_plain_picture_plain() -> None:
    network = Network((Convolution(5, 1, 1, ""), Convolution(3, 1, 1, "")), "bicubic first", "normalised")
    net = Net(network, 2)
    with torch.no_grad():
        for (convolution, _), side in zip(net.layers(), (5, 3), strict=True):
            convolution.weight.fill_(side**-2)
        made = net(torch.full((1, 1, 8, 7), 0.5))
    assert torch.allclose(made, torch.full((1, 1, 16, 14), 0.5), atol=1e-6)


def test_training_form_and_gradients() -> None:
    for name in ("srcnn-colour", "fsrcnn-no-expanding", "fsrcnn-bicubic", "fsrcnn-relu"):
        net = random_net(NETWORKS[name], 2)
        m = net.margin
        made = net.valid(picture(net.network, 2 * m + 3, 2 * m + 4))
        assert made.shape == (2, net.network.channels, 6, 8)
        made.square().sum().backward()
        assert all(parameter.grad is not None for parameter in net.parameters())
    assert srcnn(9, 1, 5) == NETWORKS["srcnn-9-1-5"]
