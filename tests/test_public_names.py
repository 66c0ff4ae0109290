"""What `import facerec` offers: every name resolves, every path may be a `str` or a `Path`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import facerec
from facerec import Engine, Gallery, ModelCard, Profile, read_image
from facerec.aligned_tree import align_tree
from facerec.evaluation.detection import read_fddb, read_wider_face
from facerec.evaluation.groups import read_groups
from facerec.evaluation.protocols.bin import read_bin
from facerec.evaluation.protocols.pairs import open_protocol
from facerec.files.hashing import sha256_of
from facerec.files.locking import locked
from facerec.files.writing import replacing
from facerec.gallery.addresses import changing, open_gallery
from facerec.gallery.enrol import enrol_photos
from facerec.gallery.exchange import export_gallery, import_gallery
from facerec.imaging.archives import open_source
from facerec.imaging.draw import write_image
from facerec.imaging.photos import MAX_PIXELS
from facerec.imaging.reader import read_frame, read_frames
from facerec.imaging.sources import find_photos, list_people, photo_tree
from facerec.profile.loading import resolve
from facerec.profile.schema import RuntimeSection
from facerec.training.data.opening import open_examples
from facerec.training.run import train
from facerec.weights.cards import read_card, write_card
from facerec.weights.layouts.reading import read_foreign
from facerec.weights.store import load_card, load_model, read_model, write_model
from tests.conftest import make_card, make_face, noise

AS = [str, Path]
TAKES_PATHS = [
    align_tree, changing, enrol_photos, export_gallery, find_photos, import_gallery, list_people,
    load_card, load_model, locked, open_examples, open_gallery, open_protocol, open_source,
    photo_tree, read_bin, read_card, read_fddb, read_foreign, read_frame, read_frames, read_groups,
    read_model, read_wider_face, replacing, resolve, sha256_of, train, write_card, write_image,
    write_model,
]  # fmt: skip


def public_functions() -> Iterator[Callable[..., object]]:
    """The functions in `facerec.__all__`, and the public methods of its classes."""
    for name in facerec.__all__:
        value = getattr(facerec, name)
        if inspect.isfunction(value):
            yield value
        elif inspect.isclass(value):
            for attribute, member in inspect.getmembers(value, inspect.isroutine):
                ours = getattr(member, "__module__", None) or ""
                if ours.startswith("facerec.") and not attribute.startswith("_"):
                    yield member
            yield value


def path_parameters(function: Callable[..., object]) -> Iterator[tuple[str, str]]:
    """Parameters that take a path, with their annotations as written."""
    for parameter in inspect.signature(function).parameters.values():
        annotation = str(parameter.annotation)
        if re.search(r"\bPath\b", annotation) or parameter.name in ("path", "file", "folder"):
            yield parameter.name, annotation


def test_all_names_resolve_and_are_listed() -> None:
    for name in facerec.__all__:
        assert getattr(facerec, name) is not None
    assert set(facerec.__all__) <= set(dir(facerec))


@pytest.mark.parametrize("function", [*public_functions(), *TAKES_PATHS], ids=lambda f: f.__name__)
def test_a_path_may_be_a_str_or_a_path(function: Callable[..., object]) -> None:
    for name, annotation in path_parameters(function):
        accepted = {part.strip() for part in re.split(r"[|\[\]]", annotation)}
        assert {"str", "Path"} <= accepted, f"{name}: {annotation}"


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(facerec.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("kind", AS)
def test_images_are_written_and_read(kind: type, tmp_path: Path) -> None:
    path = kind(tmp_path / "a.png")
    image = noise(8, 9)
    write_image(path, image)
    assert (read_image(path) == image).all()
    assert read_frame(path, 10**4).source == str(path)


def test_images_are_bounded_as_the_default_profile_bounds_them() -> None:
    assert RuntimeSection().max_pixels == MAX_PIXELS


@pytest.mark.parametrize("kind", AS)
def test_galleries_are_saved_and_opened(kind: type, tmp_path: Path) -> None:
    path = kind(tmp_path / "g.h5")
    gallery = Gallery(make_card())
    gallery.add("ann", [make_face(1, 0, 0, 0)], "1.jpg", "")
    gallery.save(path)
    assert Gallery.open(path).people == open_gallery(path).people == ["ann"]
    with changing(path) as changed:
        changed.rename("ann", "eve")
    export_gallery(Gallery.open(path), kind(tmp_path / "g.npz"), "npz")
    assert import_gallery(kind(tmp_path / "g.npz")).people == ["eve"]


@pytest.mark.parametrize("kind", AS)
def test_model_cards_are_written_and_read(kind: type, tmp_path: Path) -> None:
    for name in ("card.json", "card.yaml"):
        write_card(kind(tmp_path / name), make_card())
        assert read_card(kind(tmp_path / name)) == make_card()
    assert ModelCard.from_json(make_card().to_json(), kind("here")) == make_card()
    write_model(kind(tmp_path / "m.safetensors"), {}, make_card())
    assert load_card(kind(tmp_path / "m.safetensors")) == make_card()
    assert load_model(kind(tmp_path / "m.safetensors")) == (make_card(), {})


@pytest.mark.parametrize("kind", AS)
def test_profiles_are_loaded(kind: type, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("extends: default\ndetector: {min_face: 77}\n")
    assert Profile.load(kind(path)).detector.min_face == 77
    assert Engine.from_profile(kind(path)).card.name == "dlib_resnet"


def test_a_path_without_a_suffix_is_a_profiles_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("accurate").write_text("detector: {min_face: 77}\n")
    assert Profile.load(Path("accurate")).detector.min_face == 77
    assert Profile.load("accurate").detector.min_face != 77
