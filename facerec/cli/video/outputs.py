"""Outputs of a video: annotated frames to a window, live page or file; the best face per track."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from facerec.cli.console import say, say_saved
from facerec.cli.saved_images import Unwritten
from facerec.cli.thresholds import percent
from facerec.errors import UsageError
from facerec.files.writing import check_output, check_output_folder, refuse_to_replace

if TYPE_CHECKING:
    from facerec.cli.video.window import Window
    from facerec.faces import Image
    from facerec.video.frames import TimedFrame, VideoSource
    from facerec.video.people import People
    from facerec.video.recognizer import VideoRecognizer
    from facerec.video.server import LivePage
    from facerec.video.tracks import Track
    from facerec.video.writing import VideoWriter


class Blur(str, Enum):
    UNKNOWN = "unknown"
    ALL = "all"


def check_outputs(source: str, save: Path | None, snapshots: Path | None, *, force: bool) -> None:
    """Find out before the work whether everything can be written.

    Raises:
        UsageError: a suffix is unknown, a place cannot be written, is read by this command, or
            holds what may not be replaced.
    """
    if save is not None:
        from facerec.video.writing import require_video_suffix

        require_video_suffix(save)
        check_output(save, force=force, inputs=[source])
    if snapshots is not None:
        check_output_folder(snapshots)
        if snapshots.is_dir() and Path(source).is_dir() and snapshots.samefile(source):
            raise UsageError(f"{snapshots}: is read by this command; write somewhere else")
        earlier = min(snapshots.glob("track-*.jpg"), default=None)
        if earlier is not None:
            refuse_to_replace(earlier, force=force)


class Outputs:
    """Writes and shows annotated frames.

    Args:
        source: of the frames.
        save: the video to write.
        snapshots: folder of the best face of each track.
        blur: whose faces are blurred in what is shown and written.
        unknown: a stranger's label.
        window: shows annotated frames.
        page: serves them.
        font_size: height of the labels, in pixels; None: by the size of the face.
        show_distance: write the distance to the nearest person on the labels.
    """

    def __init__(
        self, source: VideoSource, save: Path | None, snapshots: Path | None, blur: Blur | None,
        *, unknown: str, window: Window | None, page: LivePage | None, font_size: int | None = None,
        show_distance: bool = False,
    ) -> None:  # fmt: skip
        self._source, self._save, self._snapshots = source, save, snapshots
        self._blur, self._unknown, self._window, self._page = blur, unknown, window, page
        self._writer: VideoWriter | None = None
        self._font_size, self._show_distance = font_size, show_distance
        self._best: dict[int, float] = {}
        self.unwritten = Unwritten()

    def take(
        self, frame: TimedFrame, recognizer: VideoRecognizer, people: People, caption: str
    ) -> bool:
        """Output a processed frame; whether to go on.

        Args:
            caption: written at the frame's lower edge.
        """
        self._keep_best(frame, recognizer)
        if self._save is None and self._window is None and self._page is None:
            return True
        drawn = self._drawn(frame, recognizer, caption)
        if self._save is not None:
            self._write(drawn, frame)
        if self._page is not None:
            self._page.show(drawn)
        if self._window is None:
            return True
        return self._window.show(drawn, frame, recognizer.tracks, people)

    def close(self) -> None:
        """Finish the files, close the window and the page."""
        if self._window is not None:
            self._window.close()
        if self._page is not None:
            self._page.close()
        if self._writer is not None and self._writer.close():
            for remark in self._writer.remarks:
                say(f"{self._save}: {remark}")
            say(f"saved {self._save}")
        if self._snapshots is not None:
            say_saved(len(self._best), "face", self._snapshots)
        self.unwritten.say_count("image")

    def _drawn(self, frame: TimedFrame, recognizer: VideoRecognizer, caption: str) -> Image:
        from facerec.imaging.draw import Label, annotate, blur_boxes, write_caption

        tracks = recognizer.tracks
        image = frame.image
        if self._blur is not None:
            hidden = [
                track.face.box
                for track in recognizer.possible
                if self._blur is Blur.ALL or track.name is None
            ]
            image = blur_boxes(image, hidden)
        labels = [
            Label(track.face.box, self._text(track, recognizer), known=track.name is not None)
            for track in tracks
        ]
        drawn = annotate(image, labels, font_size=self._font_size)
        return write_caption(drawn, caption) if caption else drawn

    def _text(self, track: Track, recognizer: VideoRecognizer) -> str:
        if self._window is not None and self._window.asks(track):
            return "name?"
        from facerec.faces import face_label

        name, vector = face_label(track.name, self._unknown), track.vector()
        if not self._show_distance or vector is None:
            return name
        (match,) = recognizer.matcher.match(vector[None])
        if match.nearest is None:
            return name
        return f"{name} {match.nearest.distance:.3f} {percent(match.probability)}".rstrip()

    def _write(self, drawn: Image, frame: TimedFrame) -> None:
        from facerec.video.film import FileSource
        from facerec.video.writing import VideoWriter

        assert self._save is not None
        if self._writer is None:
            film = self._source.path if isinstance(self._source, FileSource) else None
            self._writer = VideoWriter(self._save, rate=self._source.rate, sound=film)
        self._writer.write(replace(frame, image=drawn))

    def _keep_best(self, frame: TimedFrame, recognizer: VideoRecognizer) -> None:
        """Replace a track's snapshot when a better view has just been embedded."""
        if self._snapshots is None:
            return
        from facerec.alignment.warp import crop_box
        from facerec.imaging.draw import write_image

        for track in recognizer.tracks:
            if track.embedded == frame.seconds and track.quality > self._best.get(track.number, 0):
                chip = crop_box(frame.image, track.face, 224, 0.3)
                with self.unwritten.passed_over():
                    write_image(self._snapshots / f"track-{track.number:04}.jpg", chip)
                    self._best[track.number] = track.quality
