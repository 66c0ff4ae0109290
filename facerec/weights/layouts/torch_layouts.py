"""Layouts of PyTorch projects."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from facerec.alignment.templates import ARCFACE, arcface_template
from facerec.card import Template
from facerec.weights.layouts import Imported, Layout, State

# The same points on SphereFace's 112x96: 8 pixels less on either side.
_SPHEREFACE = Template.model_validate(
    {"name": "sphereface", "points": [(x - 8, y) for x, y in ARCFACE.points]}
)
# Mean of MTCNN's points in its box scaled to 160x160 over LFW: facenet-pytorch cuts boxes, and has
# no template of its own.
_FACENET = Template(
    name="facenet",
    points=((45.1, 61.8), (117.7, 60.5), (82.0, 92.8), (50.5, 120.6), (115.2, 119.6)),
)
_CENTRED = {"mean": [127.5] * 3, "std": [127.5] * 3}
# egcode/facerec, face.evoLVe and InsightFace_Pytorch add the vector of the mirror image.
_MIRRORED = {"augment": "flip"}
_LAST_NORM = "output_layer.4"
_DEPTHS = {8: "18", 16: "34", 24: "50", 49: "101", 50: "152"}


def _fields(size: int, embedding: int, template: Template, **more: Any) -> dict[str, Any]:
    return {
        "input_height": size, "input_width": size, "embedding_size": embedding,
        "template": template, **_CENTRED, **more,
    }  # fmt: skip


def _count(state: State, pattern: str) -> int:
    found = (re.match(pattern, name) for name in state)
    return len({match[1] for match in found if match})


def _is_ir(state: State) -> bool:
    return "input_layer.0.weight" in state and "body.0.res_layer.1.weight" in state


def _is_normalised_ir(state: State) -> bool:
    """With a batch norm between a unit's convolutions, the second of which is then at place 4."""
    return _is_ir(state) and state.get("body.0.res_layer.4.weight", np.empty(0)).ndim == 4


def _is_plain_ir(state: State) -> bool:
    return _is_ir(state) and not _is_normalised_ir(state)


def _ir_network(state: State, prefix: str, **more: Any) -> Imported:
    blocks = _count(state, r"body\.(\d+)\.")
    if blocks not in _DEPTHS:
        raise ValueError(f"{blocks} units, which no IR network has")
    head = state["output_layer.3.weight"]
    side = 16 * round((head.shape[1] / 512) ** 0.5)
    fields = _fields(side, len(head), arcface_template(side), **more)
    return Imported(f"{prefix}_{_DEPTHS[blocks]}", state, fields)


def _ir(state: State) -> Imported:
    if not any(f"{_LAST_NORM}.{part}" in state for part in ("weight", "bias")):
        # CurricularFace's last batch norm has neither: it neither scales nor shifts.
        size = len(state["output_layer.3.weight"])
        own = {"weight": np.ones(size, np.float32), "bias": np.zeros(size, np.float32)}
        state = state | {f"{_LAST_NORM}.{part}": values for part, values in own.items()}
    se = "body.0.res_layer.5.fc1.weight" in state
    return _ir_network(state, "ir_se" if se else "ir", **_MIRRORED)


def _tface(state: State) -> Imported:
    """The network of AdaFace and of others."""
    return _ir_network(state, "adaface_ir")


def _adaface(state: State) -> Imported:
    return _ir_network(state, "adaface_ir", norms={"loss": "adaface"})


def _is_adafaces_checkpoint(saved: State) -> bool:
    """A Lightning module of a network and AdaFace's head (`train_val.py`), as all that AdaFace
    publishes."""
    return "model.input_layer.0.weight" in saved and any(it.startswith("head.") for it in saved)


def _by_name_alone(saved: State) -> bool:
    """Nothing tells the project from another whose networks have the same names."""
    return False


_IRESNET_DEPTHS = {8: "18", 16: "34", 24: "50", 49: "100", 98: "200"}


def _iresnet(state: State) -> Imported:
    units = _count(state, r"(layer\d\.\d+)\.")
    if units not in _IRESNET_DEPTHS:
        raise ValueError(f"{units} units, which no iresnet has")
    head = state["fc.weight"]
    side = 16 * round((head.shape[1] / 512) ** 0.5)
    return Imported(
        f"iresnet{_IRESNET_DEPTHS[units]}", state, _fields(side, len(head), arcface_template(side))
    )


_MAGFACES = ("features.", "features.module.")
"""Before the network's names, with and without DataParallel."""
_MAGFACE_EPSILON = 2e-5
"""Of MagFace's batch norms; those of facerec's iresnet have PyTorch's default, 1e-5."""


def _is_magface(state: State) -> bool:
    return any(f"{prefix}layer1.0.prelu.weight" in state for prefix in _MAGFACES)


def _magface(state: State) -> Imported:
    """An iresnet beside its classifier, fed BGR in [0, 1] (`inference/gen_feat.py`)."""
    prefix = next(it for it in reversed(_MAGFACES) if f"{it}layer1.0.prelu.weight" in state)
    inside: State = {
        name.removeprefix(prefix): value + np.float32(_MAGFACE_EPSILON - 1e-5)
        if name.endswith("running_var")
        else value
        for name, value in state.items()
        if name.startswith(prefix)
    }
    found = _iresnet(inside)
    own = {"mean": [0.0] * 3, "std": [255.0] * 3, "norms": {"loss": "magface"}}
    return Imported(found.architecture, inside, found.card | own)


_VITS = {(256, 12): "vit_t", (512, 12): "vit_s", (512, 24): "vit_b"}


def _vit(state: State) -> Imported:
    tokens, size = state["pos_embed"].shape[1:]
    blocks = _count(state, r"blocks\.(\d+)\.")
    if (size, blocks) not in _VITS:
        raise ValueError(f"{blocks} blocks of {size}, which no vit_t, vit_s or vit_b has")
    # Patches are of 9 pixels; what is left over of 112 is not seen.
    side = 112 if tokens == 144 else 9 * round(tokens**0.5)
    head = state["feature.2.weight"]
    return Imported(_VITS[size, blocks], state, _fields(side, len(head), arcface_template(side)))


def _resnet(state: State) -> Imported:
    units = {16: "50", 33: "101", 50: "152"}.get(_count(state, r"(layer\d\.\d+)\."))
    if units is None:
        raise ValueError("not the depth of ResNet-50, 101 or 152")
    head = state["fc.weight"]
    side = {16: 112, 49: 224}.get(head.shape[1] // 2048, 0)
    fields = _fields(side, len(head), arcface_template(side), **_MIRRORED)
    return Imported(f"resnet_{units}", state, fields)


def _mobilenet_v2(state: State) -> Imported:
    # The seed's `MobileNet` has no dropout before its linear layer.
    renamed = {name.replace("out.0.", "out.1."): value for name, value in state.items()}
    fields = _fields(112, len(renamed["out.1.weight"]), ARCFACE, **_MIRRORED)
    return Imported("mobilenet_v2", renamed, fields)


def _mobilenet_v3(state: State) -> Imported:
    size = "large" if "features.15.conv.0.weight" in state else "small"
    fields = _fields(112, len(state["out.1.weight"]), ARCFACE, **_MIRRORED)
    return Imported(f"mobilenet_v3_{size}", state, fields)


def _lightnet(state: State) -> Imported:
    side = 16 * round((state["out.1.weight"].shape[1] / 1024) ** 0.5)
    embedding = len(state["out.1.weight"])
    fields = _fields(side, embedding, arcface_template(side), **_MIRRORED)
    return Imported("lightnet", state, fields)


def _mobilefacenet(state: State) -> Imported:
    return Imported("mobilefacenet", state, _fields(112, len(state["linear.weight"]), ARCFACE))


def _is_mobilefacenet(state: State) -> bool:
    return "conv_6_dw.conv.weight" in state and "linear.weight" in state


def _xiaoccer(state: State) -> Imported:
    """The same network with its bottlenecks in one list and its linear layer as a convolution."""
    places = ["conv_23", *(f"conv_3.model.{i}" for i in range(4)), "conv_34",
              *(f"conv_4.model.{i}" for i in range(6)), "conv_45",
              *(f"conv_5.model.{i}" for i in range(2))]  # fmt: skip
    inner = ("conv.conv", "conv.bn", "conv.prelu", "conv_dw.conv", "conv_dw.bn", "conv_dw.prelu",
             "project.conv", "project.bn")  # fmt: skip
    outer = {
        "conv1.": "conv1.", "dw_conv1.": "conv2_dw.", "conv2.": "conv_6_sep.",
        "linear7.": "conv_6_dw.", "linear1.conv.": "linear.", "linear1.bn.": "bn.",
    }  # fmt: skip
    renamed: State = {}
    for name, value in state.items():
        if match := re.match(r"blocks\.(\d+)\.conv\.(\d+)\.(.+)", name):
            block, layer, rest = int(match[1]), int(match[2]), match[3]
            renamed[f"{places[block]}.{inner[layer]}.{rest}"] = value
            continue
        prefix = next((prefix for prefix in outer if name.startswith(prefix)), None)
        place = name if prefix is None else outer[prefix] + name.removeprefix(prefix)
        renamed[place] = value[:, :, 0, 0] if place == "linear.weight" else value
    embedding = len(renamed["linear.weight"])
    return Imported(
        "mobilefacenet",
        renamed,
        {
            "input_height": 112, "input_width": 96, "embedding_size": embedding,
            "template": _SPHEREFACE, "mean": [127.5] * 3, "std": [128.0] * 3,
        },
    )  # fmt: skip


def _foamliu(state: State) -> Imported:
    imagenet = {
        "mean": [255 * value for value in (0.485, 0.456, 0.406)],
        "std": [255 * value for value in (0.229, 0.224, 0.225)],
    }
    fields = _fields(112, len(state["conv3.weight"]), ARCFACE, **imagenet)
    return Imported("mobilefacenet_relu", state, fields)


def _facenet(state: State) -> Imported:
    kept = {name: value for name, value in state.items() if not name.startswith("logits.")}
    fields = _fields(160, len(kept["last_linear.weight"]), _FACENET, std=[128.0] * 3)
    return Imported("inception_resnet_v1", kept, fields)


def _has(*names: str) -> Any:
    return lambda state: all(name in state for name in names)


def _is_mobilenet_v3(state: State) -> bool:
    return "out.1.weight" in state and (
        "features.1.conv.5.fc.0.weight" in state or "features.15.conv.0.weight" in state
    )


TORCH_LAYOUTS = (
    Layout("adaface", "mk-minchul/AdaFace: IR", _is_normalised_ir, _adaface, "BGR",
           _is_adafaces_checkpoint),
    Layout("tface", "Tencent/TFace, mk-minchul/CVLface: IR", _is_normalised_ir, _tface,
           marked=_by_name_alone),
    Layout("ir", "egcode/facerec, face.evoLVe, CurricularFace: IR, IR-SE", _is_plain_ir, _ir),
    Layout("insightface_pytorch", "TreB1eN/InsightFace_Pytorch: IR, IR-SE", _is_plain_ir, _ir,
           "BGR", _by_name_alone),
    Layout("iresnet", "insightface, arcface_torch",
           _has("layer1.0.prelu.weight", "features.weight"), _iresnet),
    Layout("magface", "IrvingMeng/MagFace: iresnet", _is_magface, _magface, "BGR"),
    Layout("vit", "insightface, arcface_torch: ViT",
           _has("pos_embed", "patch_embed.proj.weight", "feature.2.weight"), _vit),
    Layout("resnet", "egcode/facerec, face.evoLVe: ResNet",
           _has("bn_o1.weight", "fc.weight"), _resnet),
    Layout("mobilenet_v3", "egcode/facerec: MobileNet V3", _is_mobilenet_v3, _mobilenet_v3),
    Layout("mobilenet_v2", "egcode/facerec: MobileNet V2",
           _has("features.18.0.weight"), _mobilenet_v2),
    Layout("lightnet", "egcode/facerec: LightNet",
           _has("prelu4_2.weight", "out.1.weight"), _lightnet),
    Layout("mobilefacenet", "face.evoLVe: MobileFaceNet", _is_mobilefacenet, _mobilefacenet),
    Layout("insightface_pytorch", "TreB1eN/InsightFace_Pytorch: MobileFaceNet",
           _is_mobilefacenet, _mobilefacenet, "BGR", _by_name_alone),
    Layout("xiaoccer", "Xiaoccer/MobileFaceNet_Pytorch, 112x96",
           _has("linear7.conv.weight", "linear1.conv.weight"), _xiaoccer),
    Layout("foamliu", "foamliu/MobileFaceNet",
           _has("gdconv.depthwise.weight", "conv3.weight"), _foamliu),
    Layout("facenet", "timesler/facenet-pytorch: InceptionResnetV1",
           _has("repeat_3.0.branch1.1.conv.weight", "last_linear.weight"), _facenet),
)  # fmt: skip
