"""Who is in a video: detection now and then, tracks in between, one decision per track."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from facerec.card import distance_to_similarity
from facerec.engine.engine import Engine
from facerec.faces import Face, Match
from facerec.gallery.match import Matcher
from facerec.profile.loading import Profile
from facerec.registry import DETECTORS
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
"""Decisions in a row that change a name, or give one that is not clear."""
_KEPT = 1.12
"""Times the threshold up to which a name is kept once it is given; by as much another one must be
nearer. Looks between the default model's thresholds on LFW for one false acceptance in a thousand
and for ten (0.0850 and 0.0952) say little against somebody who is known to be there; further off,
too many are strangers."""
_WEAK = 0.75
"""Share of the detector's last threshold that keeps a track alive."""
_APART = 0.1
"""Overlap (IoU) from which a weak detection belongs to another face of the frame."""
_MOST_BETWEEN = 12
_EARLY = 0.4
"""Share of the usual wait after which a face that was lost is looked for, a decision is confirmed,
and a picture that flashes is looked into again."""
_RECENT = 9
"""Detections whose median cost is the measured one: neither the first, which warms up, nor one that
had to wait for the processor counts for long."""
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
    if not DETECTORS.fact(section.name, "cascade"):
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
        self._costs: deque[float] = deque(maxlen=_RECENT)
        self._since = math.inf
        self._steady = math.inf
        self._urgent = False
        self._blind = False
        self._count = 0

    @property
    def tracks(self) -> list[Track]:
        """What is in the newest frame."""
        return [track for track in self._tracks if track.held]

    @property
    def lately(self) -> list[Track]:
        """And what was in it a moment ago: where a face may still be."""
        return [track for track in self._tracks if not track.adrift]

    @property
    def whereabouts(self) -> list[Track]:
        """And what was there before a cut that is not looked into yet: a flash moves nobody."""
        return self._tracks if self._blind else self.lately

    def feed(self, frame: TimedFrame) -> list[Event]:
        """Take in the next frame; `tracks` is then what is in it."""
        self.spent.frames += 1
        self._since += 1
        self._steady += 1
        interval = 1 if self._every_frame else self._interval()
        cut = self._flow.look(frame.image)
        due = (cut and self._scatter(interval)) or self._is_due(interval)
        if not due:
            self._urgent |= self._follow(self.lately)
            due = self._is_due(interval)
        events = self._detect(frame) if due else []
        return events + self._forget(frame.seconds)

    def _scatter(self, interval: int) -> bool:
        """At a cut nothing is where it was; whether the picture was steady until then."""
        for track in self._tracks:
            track.held, track.adrift = False, True
        steady, self._steady = self._steady, 0
        self._urgent = self._blind = True
        return steady > interval

    def _is_due(self, interval: int) -> bool:
        return self._since >= interval * (_EARLY if self._urgent else 1)

    def _follow(self, tracks: Sequence[Track]) -> bool:
        """Move what was there lately to where it is now; whether something held was lost."""
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

    def _matches(self) -> list[tuple[Track, Match]]:
        """The decision of each track by all that was seen of it; nobody twice.

        Whoever was missed a moment ago keeps their name from the others.
        """
        known = [track for track in self.lately if track.evidence is not None]
        if not known:
            return []
        means = np.stack([mean for track in known if (mean := track.mean()) is not None])
        names = [track.name for track in known]
        lead = self._cosine() - self._cosine(_KEPT)
        return list(zip(known, self.matcher.match(means, names, lead), strict=True))

    def _cosine(self, times: float = 1.0) -> float:
        """The threshold, or a multiple of it, as a cosine."""
        return distance_to_similarity(times * self.matcher.threshold, self.matcher.metric)

    def _interval(self) -> int:
        """Frames from one detection to the next, by what detection has cost so far."""
        if not self._costs:
            return 1
        cost = statistics.median(self._costs)
        return min(max(math.ceil(cost * self._rate / _SHARE), 1), _MOST_BETWEEN)

    def _detect(self, frame: TimedFrame) -> list[Event]:
        started = time.perf_counter()
        (found,) = self._engine.detect([frame.image])
        self._costs.append(time.perf_counter() - started)
        self.spent.detecting += self._costs[-1]
        self.spent.detections += 1
        self._urgent = self._blind = False
        self._since = 0
        for track in self._tracks:
            track.held = False
        events = []
        stayed = list(self._tracks)
        fresh = self._link([face for face in found if face.score >= self._strong], frame.seconds)
        # What was not where it was in the frame before may have moved on since.
        self._follow(self._missing())
        fresh = self._link(fresh, frame.seconds)
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
        unseen = self._missing()
        left = []
        for face, place in zip(faces, join(unseen, faces), strict=True):
            if place is None:
                left.append(face)
            else:
                track = unseen[place]
                track.face, track.seen, track.held = face, seconds, True
        return left

    def _missing(self) -> list[Track]:
        return [track for track in self.lately if not track.held]

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
            track.learn(vector, _quality(track.face), frame.seconds)

    def _recall(self, track: Track) -> Track:
        """A new track under its old number, if it was there before, here or elsewhere."""
        vector = track.vector()
        away = [*self._lost, *(other for other in self._tracks if not other.held)]
        before = None if vector is None else find_again(away, vector, self._cosine())
        if before is None:
            return track
        (self._lost if before in self._lost else self._tracks).remove(before)
        before.take_over(track)
        self._tracks[self._tracks.index(track)] = before
        return before

    def _decide(self, seconds: float) -> list[Event]:
        events = []
        matches = self._matches()
        for track, match in matches:
            if not track.held:
                continue
            if match.name == track.name:
                track.pending = (None, 0)
                continue
            waited = track.pending[1] + 1 if track.pending[0] == match.name else 1
            track.pending = (match.name, waited)
            if waited < _CONFIRM and not (track.name is None and self._is_clear(match)):
                self._urgent = True
                continue
            for other, its in matches:
                if other.name == match.name != its.name:
                    events.append(self._rename(other, None, its, seconds))
            if track.name is not None:
                track.begin_anew()
            events.append(self._rename(track, match.name, match, seconds))
        return events

    def _rename(self, track: Track, name: str | None, match: Match, seconds: float) -> Event:
        kind: Kind = "identified" if track.name is None else "changed"
        track.name, track.pending = name, (None, 0)
        return self._event(kind, seconds, track, match)

    def _is_clear(self, match: Match) -> bool:
        """Whether it would still be so if the face were further off by what a name is kept for."""
        return match.nearest is not None and match.nearest.similarity >= self._cosine(2 - _KEPT)

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
    """How much a picture tells of a face: its score, less below 112 pixels and turned away.

    A head's turn is told by how far its nose is from between the eyes, the nose lying about half an
    eye distance before them: its tangent is twice that distance, and its cosine what is left.
    """
    left, right, nose = face.landmarks[:3]
    across = right - left
    apart = max(float(np.hypot(*across)), 1e-6)
    aside = float((nose - (left + right) / 2) @ across) / apart**2
    return float(face.score) * min(face.size / 112, 1.0) / math.hypot(1.0, 2 * aside)
