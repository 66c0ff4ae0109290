from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from facerec.errors import ProfileError, UsageError
from facerec.profile.loading import Profile, json_schema, known_keys, resolve, shipped_profiles
from tests.conftest import ROOT


def write(folder: Path, text: str, name: str = "mine.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", shipped_profiles())
def test_every_shipped_profile_loads_and_fits_the_schema(name: str) -> None:
    assert resolve(name, environment={}).profile.description
    content = yaml.safe_load(shipped_profiles()[name].read_text(encoding="utf-8"))
    jsonschema.validate(content, json_schema())


def test_the_shipped_profiles_are_those_of_the_checkout() -> None:
    assert set(shipped_profiles()) == {path.stem for path in (ROOT / "configs").glob("*.yaml")}


def test_what_a_profile_says_of_several_networks_goes_with_their_names(tmp_path: Path) -> None:
    model = resolve("accurate", environment={}, flags={"model.name": "dlib_resnet"}).profile.model
    assert (model.name, model.weights, model.norms) == ("dlib_resnet", (), ())
    assert model.augment == "flip"
    own = ["model.name=[dlib_resnet, sface]", "model.weights=[0.5, 0.5]"]
    for settings in (own, own[::-1]):
        model = resolve("accurate", environment={}, settings=settings).profile.model
        assert (model.weights, model.norms) == ((0.5, 0.5), ())
    child = tmp_path / "one.yaml"
    child.write_text("extends: accurate\nmodel: {name: dlib_resnet}\n")
    assert resolve(child, environment={}).profile.model.weights == ()
    child.write_text("extends: accurate\nmodel: {weights: [0.7, 0.3]}\n")
    assert resolve(child, environment={}).profile.model.weights == (0.7, 0.3)


def test_what_a_profile_says_of_its_detector_goes_with_its_name(tmp_path: Path) -> None:
    own = write(
        tmp_path, "detector: {name: yunet, score: 0.9, weights: y.onnx, min_face: 40, options: {}}"
    )
    mtcnn = Profile.load(own, flags={"detector.name": "mtcnn"}).detector
    assert (mtcnn.score, mtcnn.weights, mtcnn.min_face) == (None, None, 40)
    centerface = Profile.load(own, settings=["detector.name=centerface"]).detector
    assert (centerface.score, centerface.weights) == (0.9, None)
    assert Profile.load(own, flags={"detector.name": "yunet"}).detector.weights == Path("y.onnx")
    variables = {"FACEREC_DETECTOR_NAME": "yunet", "FACEREC_DETECTOR_SCORE": "0.9"}
    flags = {"detector.name": "mtcnn"}
    assert Profile.load(environment=variables, flags=flags).detector.score is None
    # Of no detector in particular: it holds for the one that reads it.
    plain = write(tmp_path, "detector: {score: 0.9, thresholds: [0.5, 0.6, 0.7]}")
    yunet = Profile.load(plain, flags={"detector.name": "yunet"}).detector
    assert (yunet.score, yunet.thresholds) == (0.9, (0.6, 0.7, 0.8))


def test_each_layer_overrides_the_one_below(tmp_path: Path) -> None:
    write(tmp_path, "detector: {min_face: 30, scale_factor: 0.6}\nruntime: {batch: 1}", "base.yaml")
    file = write(tmp_path, "extends: ./base.yaml\ndetector: {min_face: 31}")
    resolved = resolve(
        file,
        environment={"FACEREC_RUNTIME_BATCH": "2", "FACEREC_RUNTIME_WORKERS": "5"},
        settings=["runtime.batch=3", "recognize.far=1e-2"],
        flags={"recognize.far": 0.1, "gallery.path": None},
    )
    profile = resolved.profile
    assert (profile.detector.scale_factor, profile.detector.min_face) == (0.6, 31)
    assert (profile.runtime.workers, profile.runtime.batch) == (5, 3)
    assert profile.recognize.far == 0.1
    assert profile.gallery.path == "gallery.h5"
    origins = resolved.origins
    assert origins["detector.scale_factor"].endswith("base.yaml:1")
    assert origins["detector.min_face"].endswith("mine.yaml:2")
    assert origins["runtime.workers"] == "FACEREC_RUNTIME_WORKERS"
    assert origins["runtime.batch"] == "--set runtime.batch=3"
    assert origins["recognize.far"] == "command line"
    assert origins["gallery.path"] == "default"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("detector:\n  min_fase: 3", r"mine\.yaml:2: unknown key detector\.min_fase; .*min_face\?"),
        ("detektor: {min_face: 3}", r"mine\.yaml:1: unknown key .*mean detector\.min_face\?"),
        ("detector:\n\n  min_face: tiny", r"mine\.yaml:3: detector\.min_face: .*'tiny'"),
        ("recognize: {far: 2}", r"mine\.yaml:1: recognize\.far: .* not 2"),
        ("detector: {min_face: .nan}", r"mine\.yaml:1: detector\.min_face: .* not nan"),
        ("detector: 3", r"mine\.yaml:1: unknown key detector"),
        ("runtime: {batch: 1, batch: 2}", r"mine\.yaml:1: batch is given twice"),
        ("runtime: {batch: 1", r"mine\.yaml:\d: "),
        ("- a\n- b", r"mine\.yaml:1: a profile is a mapping"),
        ("data: {person_level: autobahn}", r"person_level: .* file or .*'autobahn'"),
        ("data: {person_level: 123}", r"mine\.yaml:1: data\.person_level: .* not 123"),
        ("serve: {cameras: {'a b': '0'}}", r"serve\.cameras: .* letters, digits, .* not 'a b'"),
        ("train: {m1: 0}", r"mine\.yaml:1: train\.m1: .* greater than 0, not 0"),
        ("train: {evaluate: [all, '']}", r"mine\.yaml:1: train\.evaluate: .* \(empty\), not ''"),
        ("train: {evaluate: ['lfw --data \"a b']}", r"train\.evaluate: .*no closing quotation"),
        ("train: {max_steps: 1.5e0}", r"train\.max_steps: .* fractional part, not 1\.5"),
        ("train: {lr: 1, <<: {lr: 3}, lr: 2}", r"mine\.yaml:1: lr is given twice"),
        ("train:\n  <<: fast", r"mine\.yaml:2: <<: expected a mapping or list of mappings"),
        ("x-a: &a\n  lrr: 1\ntrain: {<<: *a}", r"mine\.yaml:2: unknown key train\.lrr; .*lr\?"),
        ("extends: mine.yaml", r"extends itself"),
        ("extends: nobody", r"no profile is called nobody"),
        ("runtime: {batch: !!python/object:os.system 1}", r"mine\.yaml:1"),
    ],
)  # fmt: skip
def test_a_bad_profile_names_file_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProfileError, match=message) as caught:
        resolve(write(tmp_path, text), environment={})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "# nothing\n", "detector:\n"])
def test_an_empty_profile_is_the_default(tmp_path: Path, text: str) -> None:
    assert resolve(write(tmp_path, text), environment={}).profile == Profile()


def test_a_binary_profile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProfileError, match="cannot be read"):
        resolve(str(path), environment={})


def test_an_unknown_variable_is_refused_with_the_nearest() -> None:
    with pytest.raises(ProfileError, match="did you mean FACEREC_DETECTOR_MIN_FACE"):
        resolve(environment={"FACEREC_DETECTOR_MINFACE": "30"})


def test_variables_for_the_program_itself_are_no_settings() -> None:
    assert resolve(environment={"FACEREC_HOME": "/x", "FACEREC_DEBUG": "1"}).profile


def test_an_empty_variable_is_not_set() -> None:
    environment = {"FACEREC_DETECTOR_MIN_FACE": "", "FACEREC_DATA_TRAIN": " "}
    assert resolve(environment=environment).profile == Profile.load(environment={})
    with pytest.raises(ProfileError, match="did you mean FACEREC_DETECTOR_MIN_FACE"):
        resolve(environment={"FACEREC_DETECTOR_MINFACE": ""})
    cards = {"FACEREC_MODEL_AUGMENT": "null"}
    assert resolve("accurate", environment=cards).profile.model.augment is None


def test_merged_keys_are_below_a_sections_own(tmp_path: Path) -> None:
    text = """
x-slow: &slow {lr: 0.2, epochs: 3}
x-slower: &slower
  <<: *slow
  lr: 0.7
train:
  lr: 0.3
  <<: [*slower, {warmup: 1, lr: 5}]
  options: {<<: {a: 1, b: 1}, a: 2}
"""
    resolved = resolve(write(tmp_path, text), environment={})
    train = resolved.profile.train
    assert (train.lr, train.epochs, train.warmup, train.options) == (0.3, 3, 1, {"a": 2, "b": 1})
    assert resolved.origins["train.epochs"].endswith("mine.yaml:2")
    assert resolved.origins["train.lr"].endswith("mine.yaml:7")
    jsonschema.validate(yaml.safe_load(text), json_schema())


@pytest.mark.parametrize("steps", ["1e4", "1E+4", "1.0e4", ".1e5", "10000", "10_000"])
def test_an_integer_may_have_an_exponent(steps: str) -> None:
    profile = Profile.load(settings=[f"train.max_steps={steps}"], environment={})
    assert profile.train.max_steps == 10_000


def test_a_second_look_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="no second look is called turn; did you mean turns"):
        Profile().looking_again("turn")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("detector.min_face=40", r"a list is wanted, not a str; give \["),
        ({"detector.min_face": 40}, "a list is wanted, not a dict; .* or a mapping as flags"),
        (None, "a list is wanted, not a NoneType"),
        ([("detector.min_face", 40)], r"\('detector.min_face', 40\): give texts"),
    ],
)
def test_settings_are_a_list_of_texts(settings: object, said: str) -> None:
    with pytest.raises(ProfileError, match=f"^settings: {said}"):
        Profile.load(settings=settings)  # type: ignore[arg-type]


def test_a_setting_is_called_as_it_was_given() -> None:
    with pytest.raises(ProfileError, match=r"^settings: detector.minface=40: unknown key"):
        Profile.load(settings=["detector.minface=40"], environment={})
    with pytest.raises(ProfileError, match=r"^--set detector.minface=40: unknown key"):
        resolve(settings=["detector.minface=40"], environment={})
    with pytest.raises(ProfileError, match=r"^flags: detector.min_face: "):
        Profile.load(flags={"detector.min_face": "x"}, environment={})


def test_a_setting_needs_a_value() -> None:
    with pytest.raises(ProfileError, match=r"give section\.key=value"):
        resolve(settings=["detector.min_face"], environment={})


def test_every_key_is_documented() -> None:
    assert [key for key, meaning in known_keys().items() if not meaning] == []


@pytest.mark.parametrize("level", ["auto", "top", "parent", "file", 0, 2, "12"])
def test_a_person_level_is_a_word_or_a_number(level: str | int) -> None:
    assert Profile.load(settings=[f"data.person_level={level}"]).data.person_level == str(level)
    jsonschema.validate({"data": {"person_level": level}}, json_schema())


def test_evaluations_on_the_way_are_words_as_a_shell_splits_them() -> None:
    told = ("all", 'lfw --data "my faces.tar" --pairs pairs.txt')
    profile = Profile.model_validate({"train": {"evaluate": told}})
    assert profile.train.evaluate == told


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home folder."""
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_leading_tilde_is_the_home_folder_in_every_key_but_texts(home: Path) -> None:
    as_written, expanded = set(), set()
    for key in known_keys():
        try:
            profile = resolve(environment={}, settings=[f"{key}=~/x"]).profile
        except ProfileError:
            continue
        value = getattr(profile, key) if "." not in key else _value(profile, key)
        (expanded if Path(value) == home / "x" else as_written).add(key)
    assert {"data.train", "model.name", "model.card", "gallery.path", "download.out"} < expanded
    assert as_written == {
        "description", "runtime.device", "recognize.unknown", "serve.webhook", "serve.mqtt",
        "serve.immich_upstream", "train.backbone",
    }  # fmt: skip


def _value(profile: Profile, key: str) -> str:
    section, name = key.split(".")
    return getattr(getattr(profile, section), name)


def test_a_leading_tilde_is_the_home_folder_in_lists(home: Path, tmp_path: Path) -> None:
    text = """
    data: {train: [~/a, b]}
    model: {name: [~/a.onnx, sface], card: [~/a.yaml, null]}
    evaluate: {sets: [lfw=~/lfw, cfp_112]}
    serve: {cameras: {door: ~/door.mp4}}
    """
    profile = resolve(write(tmp_path, text), environment={}).profile
    assert profile.data.train == (str(home / "a"), "b")
    assert profile.model.name == (str(home / "a.onnx"), "sface")
    assert profile.model.card == (home / "a.yaml", None)
    assert profile.evaluate.sets == (f"lfw={home / 'lfw'}", "cfp_112")
    assert profile.serve.cameras == {"door": str(home / "door.mp4")}


def test_a_profile_is_found_in_the_home_folder(home: Path, tmp_path: Path) -> None:
    home.mkdir()
    write(home, "runtime: {batch: 3}", "base.yaml")
    child = write(tmp_path, "extends: ~/base.yaml")
    for name in ("~/base.yaml", Path("~/base.yaml"), child):
        assert resolve(name, environment={}).profile.runtime.batch == 3


@pytest.mark.parametrize("place", ["~nobody42/x", "milvus+lite://~/people.db", "a/~/b"])
def test_other_tildes_stay_as_they_are_written(home: Path, place: str) -> None:
    profile = resolve(environment={}, settings=[f"gallery.path={place}"]).profile
    assert profile.gallery.path == place
