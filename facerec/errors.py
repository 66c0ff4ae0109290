"""Exceptions, each with the command line's exit code.

Every message is one or two lines: what, where, what to do.
"""

import difflib
import re
from collections.abc import Iterable, Sequence

# A name and password, also one that holds `/`, `?` or `#` itself; `host:80/@a` has none. A `Path`
# leaves one slash of two.
_USER = re.compile(
    r"""([a-z][a-z0-9+.-]+:/{1,2})
    (?: [^\s/?\#'"<>]*@ | (?!\[)[^\s/?\#'"<>@:]*: (?!:|\d*(?:[/?\#\s'"]|$)) [^\s'"<>@]*@ )""",
    re.IGNORECASE | re.VERBOSE,
)
# Of a URL: its query, `key=value` in its fragment, a parameter that is called like a secret.
_QUERY = re.compile(
    r"""([a-z][a-z0-9+.-]+:/[^\s?'"<>]*?)
    (?: \? | \#[^\s'"<>=/]*= | ;\w*(?:token|sig|key|pass|secret|session|auth)\w*= )[^\s'"<>]*""",
    re.IGNORECASE | re.VERBOSE,
)
_PATH = re.compile(r"([a-z][a-z0-9+.-]+://[^\s/?\#'\"<>]+/)[^\s'\"<>]+", re.IGNORECASE)


def without_user(text: str) -> str:
    """Text whose URLs have no name and password: `rtsp://cam/1` of `rtsp://me:secret@cam/1`."""
    return _USER.sub(r"\1", text) if ":/" in text else text


def without_credentials(text: str) -> str:
    """As `without_user`, and without URLs' queries, which may hold a token or a signature."""
    return _QUERY.sub(r"\1", without_user(text)) if ":/" in text else text


def without_path(text: str) -> str:
    """As `without_credentials`, and without URLs' paths, which in a webhook's are the secret:
    `https://hooks.slack.com/…`."""
    return _PATH.sub(r"\1…", without_credentials(text))


class FacerecError(Exception):
    """Base of all errors that facerec raises for its user.

    Args:
        message: one or two lines; a URL's credentials are left out, whoever wrote it.
    """

    exit_code = 2

    def __init__(self, message: str = "") -> None:
        super().__init__(without_credentials(message))


class UsageError(FacerecError):
    """The request cannot be met: a bad option, an output that cannot be written."""


class ArgumentError(UsageError, ValueError):
    """A value given from Python cannot be used; also a `ValueError`."""


class ProfileError(UsageError):
    """A profile, `--set` or `FACEREC_…` value is unknown or invalid."""


class IncompatibleError(UsageError):
    """Two things do not fit together, such as a gallery and the model that queries it."""


class NoCardError(IncompatibleError):
    """A gallery does not say which model made it."""


class InputError(FacerecError):
    """One input cannot be read or used; the others can."""

    exit_code = 3


class MissingError(FacerecError):
    """Something needed is absent or damaged: weights, a package, a device, a gallery."""

    exit_code = 4


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name most like an unknown one; None: none is like it.

    Args:
        cutoff: least similarity of the two, in [0, 1]; see `difflib.get_close_matches`.
    """
    return next(iter(difflib.get_close_matches(name, list(known), 1, cutoff)), None)


def did_you_mean(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The end of a message about an unknown name: the `nearest` known one, or nothing."""
    near = nearest(name, known, cutoff=cutoff)
    return f"; did you mean {near}?" if near else ""


def nearest_or_all(name: str, known: Iterable[str]) -> str:
    """As `did_you_mean`, with all known names where none is near."""
    known = list(known)
    return did_you_mean(name, known) or f"; there are {', '.join(known)}"


def require_choice(what: str, given: str, choices: Sequence[str]) -> None:
    """Refuse a value that is none of the known ones.

    Args:
        what: the kind of value, such as `metric`.

    Raises:
        UsageError: naming what was given and the choices.
    """
    if given not in choices:
        raise UsageError(f"no {what} is called {given}{nearest_or_all(str(given), choices)}")
