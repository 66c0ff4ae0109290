"""Malformed and hostile JSON and YAML: one kind of error each."""

from __future__ import annotations

import pytest
import yaml

from facerec.files.parsing import brief, parse_json, parse_yaml

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20_000, "{a: " * 20_000, "- " * 20_000, "&a [*a]", "a: &a {b: *a}", LAUGHS,
        "2001-13-45", "9" * 5000, "!!int x", "!!bool x", "!!float x", "!!timestamp x",
        "!!binary é", "!!python/object/apply:os.system [true]", "a: 1\n--- \nb: 2", "\tx: 1",
        "!!int ''",
    ],
    ids=lambda text: text[:12],
)  # fmt: skip
@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", None)])
def test_yaml_that_is_none_is_one_kind_of_error(text, loader):
    if loader is None:
        pytest.skip("PyYAML without libyaml")
    with pytest.raises(yaml.YAMLError):
        parse_yaml(text, loader=loader)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "", "{", b"\xff"])
def test_json_that_is_none_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_aliases_and_anchors_that_stand_for_little_are_read():
    assert parse_yaml("a: &a [1, 2]\nb: *a\nc: {<<: {d: 3}}") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": {"d": 3},
    }
    assert parse_yaml("") is None


def test_an_error_is_told_in_one_short_line():
    assert brief(ValueError("first\nsecond")) == "first"
    assert brief(EOFError()) == "EOFError"
    assert len(brief(ValueError("x" * 1000))) == 120
