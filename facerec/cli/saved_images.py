"""Images that `--save` and `--crops` make of photos: below one folder, in the photos' tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from facerec.cli.console import say, say_saved
from facerec.errors import UsageError
from facerec.files.output_names import OutputNames
from facerec.files.text import counted
from facerec.files.writing import check_output_folder, refuse_inputs, refuse_to_replace

if TYPE_CHECKING:
    from facerec.faces import Image
    from facerec.imaging.photos import Photo


_MOST_LINES = 10
"""Unwritten images that are named; a full disk would fill the terminal."""


class Unwritten:
    """Images that could not be written. Each is said, and the work goes on, as its results do not
    depend on them."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def passed_over(self) -> Iterator[None]:
        """Turn a UsageError of the block into a line and a count."""
        try:
            yield
        except UsageError as error:
            self.count += 1
            if self.count <= _MOST_LINES:
                say(str(error))

    def say_count(self, what: str) -> None:
        """Say how many there were, if any.

        Args:
            what: one of them, in messages.
        """
        if self.count:
            say(f"{counted(self.count, what)} could not be saved")


class SavedImages:
    """Writes images below a folder, under the names of the photos they are made from.

    A name that is taken or too long is changed, and a format that cannot be written becomes PNG,
    which is said once. One that cannot be written is said and passed over.

    Args:
        folder: where to.
        places: what the command was given, see `imaging.sources.find_photos`.
        what: an image, in messages.
        force: whether files there may be replaced.
        beside: other images of the same photos, maybe in the same folder.

    Raises:
        UsageError: the folder cannot be written.
    """

    def __init__(
        self, folder: Path, places: Sequence[str], *, what: str, force: bool,
        beside: SavedImages | None = None,
    ) -> None:  # fmt: skip
        from facerec.imaging.relative import Relative

        check_output_folder(folder)
        self._folder, self._what, self._force = folder, what, force
        self._relative = Relative(places)
        shared = beside is not None and beside._folder.resolve() == folder.resolve()
        self._names: OutputNames = beside._names if beside and shared else OutputNames()
        self._converted: set[str] = set()
        self._written = 0
        self._unwritten = Unwritten()

    @property
    def failures(self) -> int:
        """How many images could not be written."""
        return self._unwritten.count

    def refuse_existing(self, photos: Iterable[Photo], number: int | None = None) -> None:
        """Stop before the work if it would end at an image that is there.

        Args:
            number: of the face whose crop is meant; None: the whole image.

        Raises:
            UsageError: one of the images exists and may not be replaced, or is one of the photos.
        """
        if not self._folder.exists():
            return
        wanted = (self._wanted(photo.name, number) for photo in photos)
        places = [self._folder / OutputNames().claim(path) for path in wanted]
        existing = [path for path in places if path.exists()]
        for path in existing:
            refuse_to_replace(path, force=self._force)
        read = {_identity(photo.path) for photo in photos if existing and photo.path is not None}
        for path in existing:
            if _identity(path) in read:
                raise UsageError(f"{path}: is one of the photos; choose another folder")

    def save(self, source: str, image: Image, number: int | None = None) -> None:
        """Write an image, `(H, W, 3) uint8` RGB.

        Args:
            source: the photo's name.
            number: of the face that the image is a crop of.

        Raises:
            UsageError: the file exists and may not be replaced, or is the photo.
        """
        from facerec.imaging.draw import write_image

        wanted = self._wanted(source, number, max(image.shape[:2]))
        path = self._folder / self._names.claim(wanted, source)
        refuse_inputs(path, [source])
        refuse_to_replace(path, force=self._force)
        with self._unwritten.passed_over():
            write_image(path, image)
            self._written += 1
        kind = PurePosixPath(source).suffix.lower()
        if number is None and kind != wanted.suffix.lower() and kind not in self._converted:
            self._converted.add(kind)
            say(f"{source}: saved as {path}: {kind or 'a name without suffix'} cannot be written")

    def close(self) -> None:
        """Say how many images are where."""
        say_saved(self._written, self._what, self._folder)
        self._unwritten.say_count(self._what)

    def _wanted(self, source: str, number: int | None, longest: int = 0) -> PurePosixPath:
        from facerec.imaging.draw import is_writable

        path = self._relative.path(source)
        if number is not None:
            return path.with_name(f"{path.stem}-{number}.png")
        # Appended: `a.gif` beside `a.png` is no reason to rename either.
        return path if is_writable(path, longest) else path.with_name(f"{path.name}.png")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except (OSError, ValueError):
        return None
    return facts.st_dev, facts.st_ino
