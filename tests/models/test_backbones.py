"""The networks that can be trained: sizes, names of the published weights, gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from facerec.engine.engine import Engine
from facerec.models.factory import create_network, load_network
from facerec.profile.loading import Profile
from facerec.registry import BACKBONES
from tests.conftest import make_card, noise

pytestmark = pytest.mark.numeric


def vit_parameters(size: int, depth: int) -> int:
    """Of arcface_torch's backbones/vit.py: 144 patches of 9x9, no bias in qkv and in the head."""
    block = 12 * size**2 + 10 * size
    head = 144 * size**2 + 2 * size + 512 * size + 2 * 512
    return (3 * 81 + 1 + 144 + 1) * size + depth * block + 2 * size + head


# Parameters with 512 values out of 112x112. The seed project's thirteen: IR from its published
# files; the SE blocks add 2 c²/16 each; ResNets are torchvision's without `fc`, plus the head.
# iresnet: insightface's model zoo (18: 24.03 M, 34: 34.14, 50: 43.59, 100: 65.16).
PARAMETERS = {
    "ir_50": 43_574_976,
    "ir_101": 65_129_792,
    "ir_152": 70_737_600,
    "ir_se_50": 43_797_696,
    "ir_se_101": 65_129_792 + (3 * 64**2 + 13 * 128**2 + 30 * 256**2 + 3 * 512**2) // 8,
    "ir_se_152": 70_737_600 + (3 * 64**2 + 8 * 128**2 + 36 * 256**2 + 3 * 512**2) // 8,
    "resnet_50": 23_508_032 + 2048 * 16 * 512 + 512 + 2 * 2048 + 2 * 512,
    "resnet_101": 42_500_160 + 2048 * 16 * 512 + 512 + 2 * 2048 + 2 * 512,
    "resnet_152": 58_143_808 + 2048 * 16 * 512 + 512 + 2 * 2048 + 2 * 512,
    "mobilenet_v2": 2_879_744,
    "mobilenet_v3_small": 2_313_240,
    "mobilenet_v3_large": 4_851_288,
    "lightnet": 42_910_930,
    "mobilefacenet": 1_200_512,
    "iresnet18": 24_025_600,
    "iresnet34": 34_139_328,
    "iresnet50": 43_590_848,
    "iresnet100": 65_156_160,
    "iresnet200": 118_833_920,
    # The IR networks' and two values more per channel of each unit, two less per value out.
    "adaface_ir_50": 43_574_976 + 2 * (3 * 64 + 4 * 128 + 14 * 256 + 3 * 512) - 2 * 512,
    "adaface_ir_101": 65_129_792 + 2 * (3 * 64 + 13 * 128 + 30 * 256 + 3 * 512) - 2 * 512,
    # timesler/facenet-pytorch without its classifier.
    "inception_resnet_v1": 23_482_624,
    "vit_t": vit_parameters(256, 12),
    "vit_s": vit_parameters(512, 12),
    "vit_b": vit_parameters(512, 24),
    "mobilefacenet_relu": 999_936 + (512 - 128) * (512 + 3),  # foamliu's, with 512 values out
}
NAMES = BACKBONES.names(tests=True)
CHIPS = noise(300, 150).reshape(2, 150, 150, 3)
TINY = sorted(name for name in NAMES if name.startswith("test_"))


def build(name: str, side: int = 112, embedding: int = 512) -> torch.nn.Module:
    card = make_card(embedding, architecture=name, input_height=side, input_width=side)
    return create_network(card)


def test_every_network_has_a_known_size_or_is_a_tiny_one():
    others = {"dlib_resnet", "sface_mobilenet", "adaface_ir_18", "adaface_ir_34"}
    assert {*PARAMETERS, *TINY, *others} == {*NAMES}


@pytest.fixture(params=[{"dtype": torch.float64}, {"dtype": torch.float16}, {"device": "meta"}])
def torch_defaults(request: pytest.FixtureRequest) -> Iterator[None]:
    """Defaults of PyTorch that a program may have set; `meta` stands for any device."""
    torch.set_default_dtype(request.param.get("dtype", torch.float32))
    torch.set_default_device(request.param.get("device"))
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


@pytest.mark.parametrize("name", [*TINY, "dlib_resnet"])
@pytest.mark.usefixtures("torch_defaults")
def test_pytorchs_defaults_do_not_reach_a_loaded_network(name):
    card = make_card(512, architecture=name, input_height=112, input_width=112)
    with torch.device("cpu"):
        state = create_network(card).float().state_dict()
    loaded = load_network(card, state).state_dict()
    assert {(str(one.device), one.dtype) for one in loaded.values() if one.is_floating_point()} == {
        ("cpu", torch.float32)
    }
    assert all(torch.equal(loaded[key], state[key]) for key in state)


@pytest.fixture(scope="module", params=[[], ["runtime.engine=torch"]])
def embedded(request: pytest.FixtureRequest) -> tuple[Profile, np.ndarray]:
    """A profile, and its vectors under PyTorch's own defaults."""
    profile = Profile.load(settings=request.param)
    return profile, Engine.from_profile(profile).embed_chips(CHIPS)


@pytest.mark.usefixtures("torch_defaults")
def test_pytorchs_defaults_do_not_change_vectors(embedded):
    profile, vectors = embedded
    assert np.array_equal(Engine.from_profile(profile).embed_chips(CHIPS), vectors)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_network_has_the_published_number_of_parameters(name):
    with torch.device("meta"):
        network = build(name)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]


def test_ir_50_has_the_names_and_shapes_of_the_published_file():
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in build("ir_50").state_dict().items()}
    assert len(shapes) == 349
    expected = {
        "input_layer.0.weight": (64, 3, 3, 3),
        "input_layer.1.running_mean": (64,),
        "input_layer.2.weight": (64,),
        "body.0.res_layer.0.weight": (64,),
        "body.3.shortcut_layer.0.weight": (128, 64, 1, 1),
        "body.3.shortcut_layer.1.weight": (128,),
        "body.7.res_layer.1.weight": (256, 128, 3, 3),
        "body.7.res_layer.3.weight": (256, 256, 3, 3),
        "body.21.res_layer.4.bias": (512,),
        "body.23.res_layer.2.weight": (512,),
        "output_layer.0.weight": (512,),
        "output_layer.3.weight": (512, 25088),
        "output_layer.4.running_var": (512,),
    }
    assert {name: shapes[name] for name in expected} == expected
    with_shortcut = {name.split(".")[1] for name in shapes if "shortcut_layer" in name}
    assert with_shortcut == {"3", "7", "21"}


def test_vit_t_has_the_names_and_shapes_of_the_published_code():
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in build("vit_t").state_dict().items()}
    expected = {
        "pos_embed": (1, 144, 256), "mask_token": (1, 1, 256),
        "patch_embed.proj.weight": (256, 3, 9, 9), "patch_embed.proj.bias": (256,),
        "blocks.11.norm1.bias": (256,), "blocks.11.attn.qkv.weight": (768, 256),
        "blocks.11.attn.proj.bias": (256,), "blocks.11.norm2.weight": (256,),
        "blocks.11.mlp.fc1.weight": (1024, 256), "blocks.11.mlp.fc2.bias": (256,),
        "norm.weight": (256,), "feature.0.weight": (256, 256 * 144),
        "feature.1.running_var": (256,), "feature.2.weight": (512, 256),
        "feature.3.num_batches_tracked": (),
    }  # fmt: skip
    assert {name: shapes[name] for name in expected} == expected
    assert "blocks.0.attn.qkv.bias" not in shapes
    assert len(shapes) == 4 + 12 * 11 + 2 + 2 + 2 * 5


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("side", [112, 224])
def test_a_tiny_network_maps_either_input_and_every_weight_learns(name, side):
    torch.manual_seed(0)
    network = build(name, side, embedding=16).train()
    vectors = network(torch.randn(3, 3, side, side))
    assert vectors.shape == (3, 16)
    (vectors * torch.randn(3, 16)).sum().backward()
    without = [
        name
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
        and (parameter.grad is None or not parameter.grad.isfinite().all())
    ]
    assert without == []


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_network_gives_each_image_its_own_vector_whatever_the_batch(name):
    torch.manual_seed(0)
    network = build(name, 112, embedding=16).eval()
    images = torch.randn(3, 3, 112, 112)
    with torch.inference_mode():
        together = F.normalize(network(images))
        alone = F.normalize(torch.cat([network(image[None]) for image in images]))
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert together[0] @ together[1] < 0.9999
