"""Who is in a video: detection now and then, tracks in between, one decision per track."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from facerec.card import distance_to_similarity
from facerec.engine import Engine
from facerec.faces import Face, Match
from facerec.gallery.match import Matcher
from facerec.profile import Profile
from facerec.video.sources import TimedFrame
from facerec.video.tracks import Flow, Track, apart, find_again, join

Kind = Literal["appeared", "identified", "changed", "left"]
_FORGET = 0.7
"""Seconds without a detection after which a track has left."""
_REMEMBER = 5.0
"""Seconds for which somebody who left can come back as the same track."""
_REFRESH = 1.0
"""Seconds after which a track is embedded again."""
_BETTER = 1.2
"""How much better a picture must be to be embedded before that."""
_CONFIRM = 2
"""Decisions in a row that change a name."""
_WEAK = 0.75
"""Share of the detector's last threshold that keeps a track alive."""
_APART = 0.1
"""Overlap (IoU) from which a weak detection belongs to another face of the frame."""
_MOST_BETWEEN = 12
_EARLY = 0.4
"""Share of the usual wait after which a face that was lost is looked for."""
_SHARE = 0.25
"""Share of the time between frames that detection may take."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to a track.

    Attributes:
        kind: what.
        seconds: when, since the video's beginning.
        track: its number.
        box: `x1, y1, x2, y2` pixels.
        name: who it is; None for a stranger.
        similarity: to that person, or to the nearest.
    """

    kind: Kind
    seconds: float
    track: int
    box: tuple[float, ...]
    name: str | None
    similarity: float | None


@dataclass(slots=True)
class Spent:
    """Seconds spent so far, and how often."""

    frames: int = 0
    detections: int = 0
    detecting: float = 0.0
    embeddings: int = 0
    embedding: float = 0.0


def with_weak_faces(profile: Profile) -> tuple[Profile, float]:
    """The profile with a detector that also tells of weak faces, and what score is not weak."""
    section = profile.detector
    if not section.name.startswith("mtcnn"):
        return profile, 0.0
    first, second, strong = section.thresholds
    lower = section.model_copy(update={"thresholds": (first, second, _WEAK * strong)})
    return profile.model_copy(update={"detector": lower}), strong


class VideoRecognizer:
    """Feeds on frames, keeps tracks.

    Args:
        engine: detects and embeds.
        matcher: knows the people.
        rate: frames per second that should be kept up with.
        every_frame: detect and embed in each frame: slower, and the same however fast the machine.
        strong: least score of a detection that is a face by itself; a weaker one only says that a
            track goes on (Zhang et al. 2022, ByteTrack).
    """

    def __init__(
        self, engine: Engine, matcher: Matcher, *, rate: float, every_frame: bool = False,
        strong: float = 0.0,
    ) -> None:  # fmt: skip
        self.matcher = matcher
        self.spent = Spent()
        self._tracks: list[Track] = []
        self._engine, self._rate, self._every_frame = engine, rate, every_frame
        self._strong = strong
        self._lost: list[Track] = []
        self._flow = Flow()
        self._least = distance_to_similarity(matcher.threshold, matcher.metric)
        self._since = math.inf
        self._count = 0

    @property
    def tracks(self) -> list[Track]:
        """What is in the newest frame."""
        return [track for track in self._tracks if track.held]

    @property
    def lately(self) -> list[Track]:
        """And what was in it a moment ago: where a face may still be."""
        return [track for track in self._tracks if not track.adrift]

    def feed(self, frame: TimedFrame) -> list[Event]:
        """Take in the next frame; `tracks` is then what is in it."""
        self.spent.frames += 1
        self._since += 1
        cut = self._flow.look(frame.image)
        if cut:
            for track in self._tracks:
                track.held, track.adrift = False, True
        interval = 1 if self._every_frame or cut else self._interval()
        # A face that the flow lost is worth an early look, though not each time.
        early = self._follow() and self._since >= interval * _EARLY
        events = self._detect(frame) if early or self._since >= interval else []
        return events + self._forget(frame.seconds)

    def _follow(self) -> bool:
        """Move what was there lately to where it is now; whether something held was lost."""
        tracks = self.lately
        moved = self._flow.follow([track.face for track in tracks])
        lost = False
        for track, face in zip(tracks, moved, strict=True):
            if face is not None:
                track.face = face
            elif track.held:
                track.held, lost = False, True
        return lost

    def finish(self, seconds: float) -> list[Event]:
        """The video is over: everybody leaves."""
        events = [self._event("left", seconds, track) for track in self._tracks]
        self._tracks = []
        return events

    def matches(self) -> list[Match]:
        """The decision of each track in the frame, by all that was seen of it; nobody twice."""
        known = [track for track in self.tracks if track.evidence is not None]
        vectors = [track.vector() for track in known]
        if not vectors:
            return [Match(None)] * len(self.tracks)
        decided = self.matcher.match(np.stack(vectors))  # type: ignore[arg-type]
        by_track = {id(track): match for track, match in zip(known, decided, strict=True)}
        return [by_track.get(id(track), Match(None)) for track in self.tracks]

    def _interval(self) -> int:
        """Frames from one detection to the next, by what detection has cost so far."""
        if not self.spent.detections:
            return 1
        cost = self.spent.detecting / self.spent.detections
        return min(max(math.ceil(cost * self._rate / _SHARE), 1), _MOST_BETWEEN)

    def _detect(self, frame: TimedFrame) -> list[Event]:
        started = time.perf_counter()
        (found,) = self._engine.detect([frame.image])
        self.spent.detecting += time.perf_counter() - started
        self.spent.detections += 1
        self._since = 0
        for track in self._tracks:
            track.held = False
        events = []
        stayed = list(self._tracks)
        fresh = self._link([face for face in found if face.score >= self._strong], frame.seconds)
        for face in fresh:
            self._count += 1
            self._tracks.append(Track(self._count, face, frame.seconds))
        seen = self.tracks
        # A second, weaker box at a face would move another track onto that face.
        weak = [face for face in found if face.score < self._strong]
        self._link(apart(weak, [track.face for track in seen], _APART), frame.seconds)
        self._embed(frame, seen)
        for track in self._tracks[len(self._tracks) - len(fresh) :]:
            known = self._recall(track)
            if known not in stayed:
                events.append(self._event("appeared", frame.seconds, known))
        return events + self._decide(frame.seconds)

    def _link(self, faces: list[Face], seconds: float) -> list[Face]:
        """Move the tracks that were not seen in this frame yet; the faces that are left over."""
        unseen = [track for track in self._tracks if not (track.held or track.adrift)]
        left = []
        for face, place in zip(faces, join(unseen, faces), strict=True):
            if place is None:
                left.append(face)
            else:
                track = unseen[place]
                track.face, track.seen, track.held = face, seconds, True
        return left

    def _embed(self, frame: TimedFrame, tracks: list[Track]) -> None:
        """Those tracks that have no name, are better seen, or were not embedded for long."""
        due = [
            track
            for track in tracks
            if self._every_frame
            or track.name is None
            or track.embedded is None
            or frame.seconds - track.embedded >= _REFRESH
            or _quality(track.face) > _BETTER * track.quality
        ]
        if not due:
            return
        started = time.perf_counter()
        chips = self._engine.align(frame.image, [track.face for track in due])
        vectors = self._engine.embed_chips(chips)
        self.spent.embedding += time.perf_counter() - started
        self.spent.embeddings += len(due)
        for track, vector in zip(due, vectors, strict=True):
            quality = _quality(track.face)
            weighted = vector * np.float32(quality)
            track.evidence = weighted if track.evidence is None else track.evidence + weighted
            track.quality = max(track.quality, quality)
            track.embedded = frame.seconds

    def _recall(self, track: Track) -> Track:
        """A new track under its old number, if it was there before, or before a cut."""
        vector = track.vector()
        adrift = [other for other in self._tracks if other.adrift]
        before = None if vector is None else find_again([*self._lost, *adrift], vector, self._least)
        if before is None:
            return track
        place = self._tracks.index(track)
        before.face, before.seen, before.embedded = track.face, track.seen, track.embedded
        before.held, before.adrift = True, False
        if before.evidence is not None and track.evidence is not None:
            before.evidence = before.evidence + track.evidence
        self._tracks[place] = before
        gone = self._lost if before in self._lost else self._tracks
        gone.remove(before)
        return before

    def _decide(self, seconds: float) -> list[Event]:
        events = []
        for track, match in zip(self.tracks, self.matches(), strict=True):
            if match.name == track.name:
                track.pending = (None, 0)
                continue
            waited = track.pending[1] + 1 if track.pending[0] == match.name else 1
            track.pending = (match.name, waited)
            # A first name is told at once; another one must come twice.
            if track.name is not None and waited < _CONFIRM:
                continue
            kind: Kind = "identified" if track.name is None else "changed"
            track.name, track.pending = match.name, (None, 0)
            events.append(self._event(kind, seconds, track, match))
        return events

    def _forget(self, seconds: float) -> list[Event]:
        gone = [track for track in self._tracks if seconds - track.seen > _FORGET]
        self._tracks = [track for track in self._tracks if track not in gone]
        self._lost = [track for track in self._lost if seconds - track.seen <= _REMEMBER] + gone
        return [self._event("left", seconds, track) for track in gone]

    def _event(self, kind: Kind, seconds: float, track: Track, match: Match | None = None) -> Event:
        near = match.nearest if match is not None else None
        return Event(
            kind,
            round(seconds, 3),
            track.number,
            tuple(round(float(side), 1) for side in track.face.box),
            track.name,
            round(near.similarity, 4) if near is not None else None,
        )


def _quality(face: Face) -> float:
    """How much a picture tells of a face: its score, less below a size of 112 pixels."""
    return float(face.score) * min(face.size / 112, 1.0)
