"""What a profile can say: one section per concern, a docstring and bounds per key."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError, core_schema

from facerec.card import Augment, Metric
from facerec.errors import UsageError, without_credentials, without_path
from facerec.files.home import expand_home, expand_value
from facerec.registry import DETECTORS, LOSSES, Registry

Rate = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
_EXPONENT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")


def _read_exponent(value: Any) -> Any:
    """`1e4`, which is text in YAML 1.1, as a number."""
    return float(value) if isinstance(value, str) and _EXPONENT.fullmatch(value) else value


Integer = Annotated[int, BeforeValidator(_read_exponent)]
Positive = Annotated[Integer, Field(gt=0)]
SecondLook = Literal["none", "padding", "turns"]
File = Annotated[Path, AfterValidator(expand_home)]
Place = Annotated[str, AfterValidator(expand_home)]
"""A path, or a name or address, which has no leading `~`."""
Networks = Annotated[tuple[Place, ...], Field(min_length=2)]
RuntimeEngine = Literal["torch", "onnxruntime", "openvino"]
RuntimePrecision = Literal["auto", "fp32", "bf16", "fp16", "int8"]


UNKNOWN_NAME = "unknown_name"
"""Type of the error for a name that is not registered; its message is whole."""


@dataclass(frozen=True)
class Registered:
    """Annotation of a `str` that must be a registered name; the JSON schema lists the names."""

    registry: Registry[Any]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "enum": self.registry.names()}

    def _check(self, name: str) -> str:
        if name not in self.registry:
            problem = f"no {self.registry.kind} is called {name}{self.registry.hint(name)}"
            raise PydanticCustomError(UNKNOWN_NAME, "{problem}", {"problem": problem})
        return name


class Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class DetectorSection(Section):
    name: Annotated[str, Registered(DETECTORS)] = "mtcnn"
    """Which detector finds the faces."""
    min_face: Annotated[float, Field(ge=12)] = 20
    """Smallest face sought, in pixels; doubling it makes detection two to four times faster. MTCNN
    seeks from the next smaller of 12, 14, 20, 28, 40, 56, 80, … on, so that a smaller value never
    loses a face."""
    thresholds: tuple[Share, Share, Share] = (0.6, 0.7, 0.8)
    """Scores a candidate must exceed after each of MTCNN's three stages (mtcnn 1.0.0's own)."""
    scale_factor: Annotated[float, Field(ge=0.3, le=0.95)] = 0.709
    """Ratio between neighbouring levels of MTCNN's image pyramid."""
    max_candidates: Positive = 4000
    """Most candidates per image and stage, best kept; bounds memory on crowds and noise."""
    score: Share | None = None
    """Score that a face found by a one-stage detector must reach; empty: the detector's own (yunet
    0.6, centerface 0.35)."""
    landmarks: Literal["own", "mtcnn"] | None = None
    """Whose five points the faces get: the detector's `own`, or those of MTCNN's third network, for
    which the templates are made; empty: as the detector says (yunet and centerface `mtcnn`)."""
    weights: File | None = None
    """A detector's own weights file; empty: yunet's downloaded one, or that of its pip package."""
    second_look: SecondLook | None = None
    """Where no face is found, look again: `padding` with a black border, for faces that fill their
    photo; `turns` also at the photo turned by 90, 180 and 270 degrees. Empty: `turns` for `align`,
    `cleanup`, `compare`, `embed` and `evaluate`, `none` for video, else `padding`."""
    options: dict[str, Any] = {}
    """What a detector of another package takes beyond these keys."""


class AlignmentSection(Section):
    crop: Literal["points", "box", "seed"] = "points"
    """`points` warps the five landmarks to the template; `box` cuts the box with its margin; `seed`
    the box with `margin_pixels`, cut off at the edges and stretched."""
    template: Literal["auto", "model", "arcface", "none"] = "auto"
    """Template that `facerec align` warps to (the model's), and that `--aligned` images lie on:
    `auto` takes the model's at its own size, ArcFace's at 112 pixels, none (a crop of a box) at
    others. What is detected is always aligned to the model's own."""
    size: Positive | None = None
    """Side of `facerec align`'s chips in pixels; empty: the template's own."""
    margin: Annotated[float, Field(ge=0, le=2)] = 0.3
    """Room around the box for `crop: box`, as a share of its longer side."""
    margin_pixels: Annotated[float, Field(ge=0)] = 32
    """Room for `crop: seed`, half of it on each side, in pixels; 32 made the data that
    egcode/facerec published weights for."""


class ModelSection(Section):
    name: Place | Networks = "dlib_resnet"
    """A name from the catalogue, or a model file; several are fused: their vectors stand side by
    side, so that a cosine is the weighted mean of theirs."""
    card: File | tuple[File | None, ...] | None = None
    """Model card (YAML or JSON) for a model file that carries none; for several networks a list,
    with null for those that carry one."""
    weights: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Of several networks, in their order; empty: each counts the same on the scale of its card's
    thresholds. `facerec evaluate --fit-weights` finds them."""
    norms: tuple[Annotated[float, Field(ge=1e-6, le=1e6)] | None, ...] = ()
    """Usual norm of each of several networks' raw vectors: a network counts less in a face for
    which it is smaller, as it is for faces that are hard to tell. null: its norms do not count, as
    one's must not. `facerec evaluate --fit-weights` finds them."""
    fused_card: File | None = None
    """Card of several networks together, for their thresholds, as `facerec evaluate --calibrate`
    writes it."""
    augment: Augment | None = None
    """Average the vectors of the face alone (`none`), of it and its mirror image (`flip`), or of
    seven shifted and scaled views and theirs (`views`); empty: as the card says."""

    @field_validator("name", mode="before")
    @classmethod
    def _one_is_no_list(cls, name: Any) -> Any:
        return name[0] if isinstance(name, list | tuple) and len(name) == 1 else name

    @model_validator(mode="after")
    def _lists_fit(self) -> ModelSection:
        if isinstance(self.name, str):
            if self.weights or self.norms or self.fused_card or isinstance(self.card, tuple):
                raise ValueError(
                    "model.weights, model.norms, model.fused_card and a list of cards need "
                    "several networks in model.name"
                )
            return self
        cards = (self.card,) if isinstance(self.card, Path) else self.card
        lists = (("card", cards), ("weights", self.weights), ("norms", self.norms))
        for key, listed in lists:
            if listed and len(listed) != len(self.name):
                raise ValueError(
                    f"model.{key} needs {len(self.name)} entries, one for each of model.name"
                )
        if self.norms and None not in self.norms:
            raise ValueError(
                "model.norms needs null for one network, beside which the others count more or less"
            )
        return self

    @property
    def only_name(self) -> str:
        """The name of the one network.

        Raises:
            UsageError: there are several.
        """
        if isinstance(self.name, str):
            return self.name
        raise UsageError(f"model.name: one network is wanted here, not {', '.join(self.name)}")

    @property
    def only_card(self) -> Path | None:
        """The card of the one network."""
        return None if isinstance(self.card, tuple) else self.card

    def members(self) -> list[ModelSection]:
        """Each network as a section of its own."""
        names = (self.name,) if isinstance(self.name, str) else self.name
        cards = (self.card,) if isinstance(self.card, Path) else self.card or (None,) * len(names)
        return [
            ModelSection(name=name, card=card, augment=self.augment)
            for name, card in zip(names, cards, strict=True)
        ]


class RuntimeSection(Section):
    device: Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True)] = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1` or `mps` (Apple's GPU); `auto`: a GPU where there is one."""
    precision: RuntimePrecision = "auto"
    """Of the embedding network's arithmetic; `auto`: bf16 on a processor that has it, fp16 with
    CUDA, else fp32. `int8` rounds the weights too: its vectors are compared only with its own."""
    engine: RuntimeEngine | None = None
    """What runs the embedding network; empty: OpenVINO for `dlib_resnet` on a processor and for
    `int8`, else torch (a model of another format: its own runtime)."""
    threads: Annotated[Integer, Field(ge=0)] = 0
    """Processor threads for the networks; 0: one per core, or as many as a container's quota lets
    run."""
    processes: Annotated[Integer, Field(ge=0)] = 0
    """Processes that share a stream of pictures once it has lasted some seconds, on a processor;
    0: one per thread, at most 8; 1: this one alone. Each takes 0.5 GB; on Linux 0.15 GB and
    all together 0.4 GB."""
    workers: Positive = 2
    """Threads that read and decode images."""
    batch: Positive = 64
    """Most images of a stream that are in work at once, and faces embedded together."""
    max_pixels: Positive = 150_000_000
    """Images with more pixels are refused before they are decoded."""


class GallerySection(Section):
    path: Place = "gallery.h5"
    """Where the gallery lies: a file, `milvus+lite://people.db` or `milvus://host:19530/people`."""
    faces: Literal["central", "all", "refuse"] = "central"
    """Which face is enrolled when a photo shows several."""
    min_quality: Share = 0.0
    """Faces of lower quality, from 0 to 1, are not enrolled."""


class RecognizeSection(Section):
    threshold: Annotated[float, Field(ge=0)] | None = None
    """Largest distance that still counts as the same person; empty: the card's at `far`."""
    far: Rate = 1e-3
    """False-accept rate whose calibrated threshold is used."""
    max_false_names: Rate | None = None
    """Share of strangers that may be named as somebody of this gallery, however many it holds; in
    the place of `far`. Needs a card that was calibrated with a cohort of strangers."""
    metric: Metric | None = None
    """Distance shown and thresholded; empty: the card's."""
    match: Literal["template", "exemplar"] = "template"
    """Compare with each person's mean vector, or with the nearest of their photos."""
    unique: bool = True
    """Give each person to at most one face of a picture, the nearest."""
    candidates: Positive = 3
    """How many of the nearest people are listed."""
    where: dict[str, str] = {}
    """Metadata that an enrolled face must carry to count; empty: any face."""
    unknown: str = "unknown"
    """Label for a stranger."""


class AlbumSection(Section):
    path: File = Path("album.db")
    """The file of the album."""


class VideoSection(Section):
    font_size: Annotated[Integer, Field(ge=6)] | None = None
    """Height of the labels in a video's frames, in pixels; empty: by the size of the face."""
    show_distance: bool = False
    """Write the distance to the nearest person on the labels."""


Secret = Annotated[str, PlainSerializer(without_credentials, when_used="json")]
"""A URL, shown without its name, password and query."""
SecretPath = Annotated[str, PlainSerializer(without_path, when_used="json")]
"""A URL, shown as its host alone."""
_CAMERA, _LEVEL = r"^[A-Za-z0-9_-]{1,64}$", r"^(auto|top|parent|file|[0-9]{1,2})$"
PATTERNS = {
    _CAMERA: "at most 64 letters, digits, - and _",
    _LEVEL: "auto, top, parent, file or a folder's number",
}
"""Texts that values must be, by the pattern that says so to pydantic."""
CameraName = Annotated[str, Field(pattern=_CAMERA)]


class ServeSection(Section):
    cameras: dict[CameraName, Annotated[Secret, AfterValidator(expand_home)]] = {}
    """Cameras that the server watches: a name of letters, digits, `-` and `_`, and a source as
    `recognize cam` takes it. Passwords in URLs are not shown."""
    webhook: SecretPath | None = None
    """URL that *identified* and *unknown* events of the cameras are posted to, as JSON."""
    webhook_secret: File | None = None
    """File whose content signs the webhook's posts (HMAC-SHA256)."""
    mqtt: Secret | None = None
    """Broker that the same events are published to: `mqtt://HOST[:PORT][/PREFIX]`, or `mqtts://`;
    with `USER:PASSWORD@` before the host where it asks for them."""
    immich_upstream: Secret | None = None
    """URL of Immich's own machine-learning server, which does the tasks other than faces."""


class DownloadSection(Section):
    out: File | None = None
    """Folder that downloads are laid out in, `OUT/lfw_112/`, where training and evaluation then
    look for data sets too; empty: the store."""
    offline: bool = False
    """Never use the network."""
    attempts: Positive = 5
    """How often each mirror is tried."""


PersonLevel = Annotated[
    str,
    Field(
        pattern=_LEVEL,
        coerce_numbers_to_str=True,
        json_schema_extra={"type": ["string", "integer"]},
    ),
]


class DataSection(Section):
    train: Place | tuple[Place, ...] | None = None
    """Training faces, aligned: a data set of the catalogue, a folder per person, a tar or zip of
    that, train.rec, or shards. Several are concatenated: a list, whose people are all different
    ones."""
    person_level: PersonLevel = "auto"
    """Which folder a photo's person is named after: `auto` the first below what is given, past sets
    and views (`train`, `frontal`); `top` the first; `parent` the last; a number counts from the
    first, 0 is what is given; `file`: the file is named so (`ann.jpg`, `ann_2.jpg`)."""
    check_aligned: bool = True
    """Refuse photos that cannot be aligned faces: most of them non-square, of several sizes."""
    people: File | None = None
    """A text file of names, one a line: only these people are used."""
    min_images: Positive = 1
    """People with fewer images are left out."""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each person's images held out for validation."""
    drop_last: bool = True
    """Drop an epoch's last, incomplete batch."""
    balance: bool = False
    """Draw everybody equally often, however many images they have."""
    per_person: Positive = 1
    """With `balance`: images of a person that stand together in a batch, a divisor of
    `train.batch`; `triplet` needs 2."""
    random_crop: bool = False
    """Cut the network's input out of a larger chip at a random place (128 to 112) instead of
    resizing it; validation cuts the centre."""
    flip: Share = 0.5
    """Probability of a horizontal flip."""
    zoom: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Smallest share of the area that a random crop keeps; 1: no cropping."""
    crop: Share = 0.0
    """Probability that all but a random part is set to black (AdaFace: 0.2)."""
    low_resolution: Share = 0.0
    """Probability of downscaling and upscaling again (AdaFace: 0.2)."""
    photometric: Share = 0.0
    """Probability of random brightness, contrast and saturation (AdaFace: 0.2)."""
    grey: Share = 0.0
    """Probability that the colour is taken away."""
    blur: Share = 0.0
    """Probability of a Gaussian blur of 0.1 to 2 pixels at 112."""
    clean: Share = 0.0
    """Probability that all of these but flip and zoom leave an image as it is."""
    synthetic: bool = False
    """Train on synthetic faces instead: to measure speed, or to try a profile."""
    synthetic_people: Annotated[Integer, Field(ge=2)] = 100
    """Number of synthetic people."""
    synthetic_images: Positive = 20
    """Faces of each synthetic person."""

    @model_validator(mode="after")
    def _people_take_turns(self) -> DataSection:
        if self.per_person > 1 and not self.balance:
            raise ValueError("data.per_person above 1 needs data.balance true")
        return self


def _check_arguments(arguments: str) -> str:
    try:
        problem = "" if shlex.split(arguments) else "empty"
    except ValueError as error:
        problem = str(error).lower()
    if problem:
        raise PydanticCustomError(
            "arguments", "should be arguments of facerec evaluate ({problem})", {"problem": problem}
        )
    return arguments


Arguments = Annotated[str, AfterValidator(_check_arguments)]
"""Words as a shell splits them, at least one."""


class TrainSection(Section):
    backbone: str = "ir_50"
    """The network: a name from `facerec model list`."""
    embedding_size: Positive = 512
    """Dimension of the embeddings."""
    input: Annotated[Integer, Field(ge=32, multiple_of=16)] = 112
    """Height and width of the network's input; ArcFace's template is scaled to it."""
    initial: Place | None = None
    """A model to start from; backbone and sizes are then its own."""

    initial_head: Place | None = None
    """Class centres to start from: another run's folder or checkpoint, or a safetensors file with
    `weight`; people are matched by name."""
    teacher: Place | None = None
    """Distillation: a model whose vectors are imitated, such as `dlib_resnet`, or `initial`. It
    sees the images before augmentation."""
    teacher_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of 1 - cosine to the teacher's vectors beside the loss."""
    relation_weight: Annotated[float, Field(ge=0)] = 0.0
    """Distillation: weight of the divergence between the student's and the teacher's softmax over
    cosines to the teacher's vectors of other images."""
    relation_temperature: Annotated[float, Field(gt=0)] = 0.02
    """Temperature of that softmax; below it differences of the cosines count."""
    start_weight: Annotated[float, Field(ge=0)] = 0.0
    """L2-SP: weight of half the squared distance of the weights from where they started."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the learning rate from each layer of the network to the one before it."""
    freeze_normalisation: bool = False
    """Leave the normalisation layers as they are, weights and statistics."""
    head_warmup: Annotated[float, Field(ge=0)] = 0.0
    """Epochs at the beginning that train the classifier alone."""
    head_factor: Annotated[float, Field(gt=0)] = 1.0
    """Factor on the learning rate of the classifier."""

    loss: Annotated[str, Registered(LOSSES)] = "arcface"
    """The loss; softmax has no margin and no normalisation."""
    options: dict[str, Any] = {}
    """Options of a loss that another package registers."""
    scale: Annotated[float, Field(gt=0)] = 64.0
    """Scale s of the cosines."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """The loss's own margin; empty: as in its paper. A loss without one refuses it."""
    m1: Annotated[float, Field(gt=0)] = 1.0
    """`combined`: factor on the angle; below 1 too, as in the paper's CM2 (0.9, 0.4, 0.15)."""
    m2: Annotated[float, Field(ge=0)] = 0.2
    """`combined`: added to the angle, radians."""
    m3: Annotated[float, Field(ge=0)] = 0.35
    """`combined`: taken from the cosine."""
    sub_centres: Positive = 1
    """Centres per person, of which the nearest counts; more than 1 bears noisy labels."""
    centre_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of Center loss beside the classifier's."""
    centre_lr: Annotated[float, Field(gt=0)] = 0.5
    """Rate of Center loss's centres, alpha of the paper: independent of `lr` and of the weight."""
    focal_gamma: Annotated[float, Field(ge=0)] = 0.0
    """Exponent of the focal loss; 0: cross-entropy."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Label smoothing: share of the target spread over all people."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Partial FC: share of the people in each step's softmax."""

    optimizer: Literal["sgd", "sgd_bn", "adam", "adamw"] = "sgd_bn"
    """`sgd_bn` and `adamw` do not decay the weights of normalisation layers."""
    lr: Annotated[float, Field(gt=0)] = 0.1
    """Learning rate after warm-up."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD; of Adam the first beta."""
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    """L2 penalty."""
    schedule: Literal["steps", "cosine", "polynomial"] = "steps"
    """Learning rate schedule."""
    steps: tuple[Annotated[float, Field(gt=0)], ...] = (30, 55, 75)
    """`steps`: epochs after `head_warmup` at which it is multiplied by `gamma`."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """`steps`: the factor."""
    power: Annotated[float, Field(gt=0)] = 2.0
    """`polynomial`: the exponent."""
    warmup: Annotated[float, Field(ge=0)] = 0.0
    """Epochs after `head_warmup` over which the learning rate rises from 0."""
    epochs: Annotated[float, Field(gt=0)] = 90
    """Passes over the data."""
    max_steps: Positive | None = None
    """Stop after this many steps, whatever the epochs; the schedule is not squeezed."""
    batch: Annotated[Integer, Field(ge=2)] = 128
    """Images per batch on each rank."""
    accumulate: Positive = 1
    """Gradient accumulation: batches per step."""
    clip: Annotated[float, Field(gt=0)] | None = None
    """Gradient clipping: largest norm of the backbone's gradient."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto`: bf16 on a GPU that has it, else fp32. fp16 scales the loss."""
    compile: bool = False
    """Compile the backbone: slow to start, faster after."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of a moving average of the weights, which is then evaluated and kept; 0: none."""
    seed: Annotated[Integer, Field(ge=0)] = 0
    """Random seed of weights, order and augmentation."""

    evaluate: tuple[Arguments, ...] = ()
    """In-training evaluations: arguments of `facerec evaluate`, such as `all` or
    `lfw --data lfw.tar --pairs pairs.txt`. The first one's accuracy (of `all` the mean) selects
    the best model, and it calibrates the thresholds of the last."""
    evaluate_every: Annotated[float, Field(gt=0)] = 1.0
    """Epochs between evaluations."""
    save_every: Positive = 2000
    """Steps between checkpoints."""
    keep: Positive = 3
    """Checkpoints kept."""
    log_every: Positive = 20
    """Steps between lines of the log and points of TensorBoard."""
    histograms_every: Annotated[Integer, Field(ge=0)] = 0
    """Steps between histograms of weights and gradients in TensorBoard; 0: none."""

    @model_validator(mode="after")
    def _sampling_is_possible(self) -> TrainSection:
        if self.share < 1 and (self.loss == "softmax" or self.accumulate > 1):
            raise ValueError("train.share below 1 needs a margin loss and train.accumulate 1")
        return self

    @model_validator(mode="after")
    def _start_is_given(self) -> TrainSection:
        if self.teacher == "initial" and self.initial is None:
            raise ValueError("train.teacher initial needs train.initial")
        if self.relation_weight and self.teacher is None:
            raise ValueError("train.relation_weight needs train.teacher")
        if self.head_warmup >= self.epochs:
            raise ValueError("train.head_warmup must be less than train.epochs")
        return self


class EvaluateSection(Section):
    sets: tuple[Annotated[str, AfterValidator(expand_value)], ...] = (
        "lfw_112", "calfw_112", "cplfw_112", "cfp_112",
    )  # fmt: skip
    """What `facerec evaluate all` measures on: data sets of the catalogue, its protocols, or
    PROTOCOL=PATH."""


class CleanupSection(Section):
    clean: File = Path("clean")
    """Folder of what is kept."""
    dirt: File = Path("dirt")
    """Folder of the rest."""
    report: File = Path("report")
    """Folder of the manifest, the findings and index.html."""
    metric: Metric = "cosine"
    """Distance between images of one person when they are clustered."""
    linkage: Literal["average", "complete", "single", "ward"] = "average"
    """Distance between clusters; `ward` needs `metric: euclidean`."""
    threshold: Annotated[float, Field(gt=0)] | None = None
    """Clusters of one person this far apart or farther are not joined; empty: chosen from the data,
    or of few images the card's."""
    exact_limit: Positive = 20_000
    """People with more images than this are clustered on a graph of nearest neighbours: the exact
    distances of 20,000 take 0.8 GB and a minute."""
    group_far: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    """False-accept rate whose distance keeps groups of unlabelled photos apart. Of half of LFW's
    people, this rate gave the best BCubed F1."""
    min_face: Annotated[float, Field(ge=0)] = 32
    """Faces whose box is smaller, in pixels, are reported as too small."""
    min_sharpness: Annotated[float, Field(ge=0)] = 20
    """Faces with a smaller variance of the Laplacian, at 112 pixels, are reported as blurred."""
    max_yaw: Annotated[float, Field(gt=0)] = 0.45
    """Faces turned farther are reported; 0.5 puts the nose before an eye."""
