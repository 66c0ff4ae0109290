"""Recognition in video: detection every few frames, tracking between, one decision per track."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from facerec.card import distance_to_similarity
from facerec.engine.engine import Engine
from facerec.faces import Face, Floats, Match
from facerec.gallery.match import Matcher
from facerec.profile.loading import Profile
from facerec.registry import DETECTORS
from facerec.video.frames import TimedFrame
from facerec.video.tracks import Flow, Track, assign, reidentify, without_duplicates

Kind = Literal["appeared", "identified", "changed", "left", "unknown"]
"""`unknown` is told by `facerec serve` alone: a track that stays without a name."""
_LEAVE_SECONDS = 0.7
"""Seconds after its last detection from which a track ends at one that does not find it: detections
may lie further apart than these."""
_REIDENTIFY_SECONDS = 5.0
"""Seconds within which an ended track can be re-identified."""
_REFRESH_SECONDS = 1.0
"""Seconds after which a track with a name is embedded again."""
_BETTER_QUALITY = 1.2
"""Ratio of qualities from which a better view is embedded before that."""
_CONFIRMATIONS = 2
"""Decisions in a row that change a name, or assign one near the threshold."""
_GOOD_VIEW = 0.8
"""Fraction of a track's best quality from which a view tells whether somebody took its place."""
_HYSTERESIS = 1.12
"""Hysteresis: a name, once assigned, is kept up to this multiple of the threshold, and another
person must be nearer by as much. Distances between the default model's thresholds at FAR 1e-3 and
1e-2 on LFW (0.0850 and 0.0952) are weak evidence against somebody who is known to be there; beyond,
too many are strangers'."""
_WEAK_SCORE = 0.75
"""Fraction of the detector's last threshold: weaker detections cannot continue a track."""
_DUPLICATE_IOU = 0.1
"""IoU above which a weak detection is a duplicate of another face of the frame."""
_MAX_INTERVAL = 12
_URGENT_SHARE = 0.4
"""Fraction of the detection interval after which a lost face is searched for, a decision is
confirmed, and a flashing video is detected in again."""
_MEDIAN_WINDOW = 9
"""Window of the median detection time, which discards the warm-up and waits for the CPU."""
_SPARSE_SECONDS = 0.25
"""Seconds between a source's frames from which each is detected in: a face may come and go between
two detections, and has moved too far for optical flow."""
_DETECTION_SHARE = 0.25
"""Fraction of the time that detection may take."""


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a track.

    Attributes:
        seconds: time since the video's beginning.
        track: its number.
        box: `x1, y1, x2, y2` pixels.
        name: the person; None for a stranger.
        similarity: cosine to that person; of a stranger, to the nearest.
        probability: that it is that person, see `facerec.gallery.certainty`; None where the card
            tells none.
    """

    kind: Kind
    seconds: float
    track: int
    box: tuple[float, ...]
    name: str | None
    similarity: float | None
    probability: float | None

    def to_record(self) -> dict[str, Any]:
        """The event as JSON values."""
        return {
            "event": self.kind,
            "time": self.seconds,
            "track": self.track,
            "name": self.name,
            "similarity": self.similarity,
            "probability": self.probability,
            "box": list(self.box),
        }


@dataclass(slots=True)
class Timings:
    """Counts of frames, detections and embeddings, and seconds timings on them."""

    frames: int = 0
    detections: int = 0
    detecting: float = 0.0
    embeddings: int = 0
    embedding: float = 0.0


def with_weak_faces(profile: Profile) -> tuple[Profile, float]:
    """The profile with a lower last detector threshold, and the score of a strong detection."""
    section = profile.detector
    if not DETECTORS.fact(section.name, "cascade"):
        return profile, 0.0
    first, second, strong = section.thresholds
    lower = section.model_copy(update={"thresholds": (first, second, _WEAK_SCORE * strong)})
    return profile.model_copy(update={"detector": lower}), strong


class VideoRecognizer:
    """Tracks and recognises the faces of a video, frame by frame.

    Args:
        engine: detects and embeds.
        matcher: of the gallery.
        rate: frames per second to keep up with.
        every_frame: detect and embed in each frame: slower, and independent of the machine's speed.
        strong: least score of a detection that begins a track; a weaker one only continues one
            (Zhang et al. 2022, ByteTrack).
        first: number of the first track.

    Attributes:
        next_number: of the next new track.
    """

    def __init__(
        self, engine: Engine, matcher: Matcher, *, rate: float, every_frame: bool = False,
        strong: float = 0.0, first: int = 1,
    ) -> None:  # fmt: skip
        self.matcher = matcher
        self.timings = Timings()
        self.next_number = first
        self._tracks: list[Track] = []
        self._engine, self._rate, self._every_frame = engine, rate, every_frame
        self._strong = strong
        self._lost: list[Track] = []
        self._flow = Flow()
        self._costs: deque[float] = deque(maxlen=_MEDIAN_WINDOW)
        self._since = math.inf
        self._steady = math.inf
        self._urgent = False
        self._blind = False
        self._before: tuple[int, float] | None = None

    @property
    def tracks(self) -> list[Track]:
        """Tracks whose face is located in the newest frame."""
        return [track for track in self._tracks if track.located]

    @property
    def recent(self) -> list[Track]:
        """Also those that were lost a moment ago: a face may still be there."""
        return [track for track in self._tracks if not track.before_cut]

    @property
    def possible(self) -> list[Track]:
        """Also those from before a cut until the next detection: a flash looks like a cut."""
        return self._tracks if self._blind else self.recent

    def feed(self, frame: TimedFrame) -> list[Event]:
        """Process the next frame; `tracks` are then those in it."""
        self.timings.frames += 1
        self._since += 1
        self._steady += 1
        interval = 1 if self._every_frame else self._interval()
        if self._is_sparse(frame):
            self._since = math.inf
        cut = self._flow.look(frame.image)
        due = (cut and self._handle_cut(interval)) or self._is_due(interval)
        if not due:
            self._urgent |= self._follow(self.recent)
            due = self._is_due(interval)
        # Between detections nobody looks for those that optical flow has lost or still follows.
        return self._detect(frame) + self._end_lost(frame.seconds) if due else []

    def _handle_cut(self, interval: int) -> bool:
        """Invalidate all locations at a cut; whether there was no other cut just before."""
        for track in self._tracks:
            track.located, track.before_cut = False, True
        steady, self._steady = self._steady, 0
        self._urgent = self._blind = True
        return steady > interval

    def _is_sparse(self, frame: TimedFrame) -> bool:
        """Whether the source itself, dropped frames counted, left a gap before the frame."""
        before, self._before = self._before, (frame.index, frame.seconds)
        if before is None:
            return False
        steps = max(frame.index - before[0], 1)
        return (frame.seconds - before[1]) / steps >= _SPARSE_SECONDS

    def _is_due(self, interval: int) -> bool:
        return self._since >= interval * (_URGENT_SHARE if self._urgent else 1)

    def _follow(self, tracks: Sequence[Track]) -> bool:
        """Move tracks by optical flow; whether a located one was lost."""
        moved = self._flow.follow([track.face for track in tracks])
        lost = False
        for track, face in zip(tracks, moved, strict=True):
            if face is not None:
                track.face = face
            elif track.located:
                track.located, lost = False, True
        return lost

    def finish(self, seconds: float) -> list[Event]:
        """End of the video: every track ends."""
        events = [self._event("left", seconds, track) for track in self._tracks]
        self._tracks = []
        return events

    def _matches(self) -> list[tuple[Track, Match]]:
        """One decision per track by its evidence; each person at most once.

        A track that was lost a moment ago keeps its person from the others.
        """
        known = [track for track in self.recent if track.evidence is not None]
        if not known:
            return []
        means = np.stack([mean for track in known if (mean := track.mean()) is not None])
        names = [track.name for track in known]
        lead = self._cosine() - self._cosine(_HYSTERESIS)
        return list(zip(known, self.matcher.match(means, names, lead), strict=True))

    def _cosine(self, times: float = 1.0) -> float:
        """A multiple of the threshold as a cosine."""
        return distance_to_similarity(times * self.matcher.threshold, self.matcher.metric)

    def _interval(self) -> int:
        """Frames from one detection to the next, by the median detection time."""
        if not self._costs:
            return 1
        cost = statistics.median(self._costs)
        return min(max(math.ceil(cost * self._rate / _DETECTION_SHARE), 1), _MAX_INTERVAL)

    def _detect(self, frame: TimedFrame) -> list[Event]:
        started = time.perf_counter()
        (found,) = self._engine.detect([frame.image])
        self._costs.append(time.perf_counter() - started)
        self.timings.detecting += self._costs[-1]
        self.timings.detections += 1
        self._urgent = self._blind = False
        self._since = 0
        self._lost = [
            track for track in self._lost if frame.seconds - track.seen <= _REIDENTIFY_SECONDS
        ]
        for track in self._tracks:
            track.located = False
        events = []
        stayed = list(self._tracks)
        fresh = self._link([face for face in found if face.score >= self._strong], frame.seconds)
        # Optical flow may find a face whose box has moved away from its track's.
        self._follow(self._missing())
        fresh = self._link(fresh, frame.seconds)
        for face in fresh:
            self._tracks.append(Track(self.next_number, face, frame.seconds))
            self.next_number += 1
        seen = self.tracks
        # A weak duplicate of a face would move another track onto it.
        weak = [face for face in found if face.score < self._strong]
        self._link(
            without_duplicates(weak, [track.face for track in seen], _DUPLICATE_IOU), frame.seconds
        )
        self._embed(frame, seen)
        for track in self._tracks[len(self._tracks) - len(fresh) :]:
            known = self._reidentify(track)
            if known not in stayed:
                events.append(self._event("appeared", frame.seconds, known))
        return events + self._decide(frame.seconds)

    def _link(self, faces: list[Face], seconds: float) -> list[Face]:
        """Assign faces to the tracks that have none in this frame; returns the unassigned faces."""
        unseen = self._missing()
        left = []
        for face, place in zip(faces, assign(unseen, faces), strict=True):
            if place is None:
                left.append(face)
            else:
                track = unseen[place]
                track.face, track.seen, track.located = face, seconds, True
        return left

    def _missing(self) -> list[Track]:
        return [track for track in self.recent if not track.located]

    def _embed(self, frame: TimedFrame, tracks: list[Track]) -> None:
        """Embed tracks without a name, with a better view, or with an old embedding."""
        due = [
            track
            for track in tracks
            if self._every_frame
            or track.name is None
            or track.embedded is None
            or track.unlike
            or frame.seconds - track.embedded >= _REFRESH_SECONDS
            or _quality(track.face) > _BETTER_QUALITY * track.quality
        ]
        if not due:
            return
        started = time.perf_counter()
        chips = self._engine.align(frame.image, [track.face for track in due])
        vectors = self._engine.embed_chips(chips)
        self.timings.embedding += time.perf_counter() - started
        self.timings.embeddings += len(due)
        for track, vector in zip(due, vectors, strict=True):
            self._learn(track, vector, frame.seconds)

    def _learn(self, track: Track, vector: Floats, seconds: float) -> None:
        """Add an embedding. The second good view in a row that is unlike a named track's evidence
        is of somebody who took its place: what was before would keep the name for seconds."""
        quality = _quality(track.face)
        known = track.mean_before() if track.unlike else track.mean()
        good = track.name is not None and quality >= _GOOD_VIEW * track.quality
        unlike = good and known is not None and float(known @ vector) < self._cosine(_HYSTERESIS)
        track.learn(vector, quality, seconds)
        track.unlike = track.unlike + 1 if unlike else 0
        if track.unlike:
            self._urgent = True
        if track.unlike >= _CONFIRMATIONS:
            track.keep_newest()

    def _reidentify(self, track: Track) -> Track:
        """Re-identify a new track: the earlier track of the same face, or itself."""
        vector = track.vector()
        away = [*self._lost, *(other for other in self._tracks if not other.located)]
        before = None if vector is None else reidentify(away, vector, self._cosine())
        if before is None:
            return track
        (self._lost if before in self._lost else self._tracks).remove(before)
        before.absorb(track)
        self._tracks[self._tracks.index(track)] = before
        return before

    def _decide(self, seconds: float) -> list[Event]:
        events = []
        matches = self._matches()
        for track, match in matches:
            if not track.located:
                continue
            if match.name == track.name:
                track.pending = (None, 0)
                continue
            waited = track.pending[1] + 1 if track.pending[0] == match.name else 1
            track.pending = (match.name, waited)
            if waited < _CONFIRMATIONS and not (track.name is None and self._is_clear(match)):
                self._urgent = True
                continue
            for other, its in matches:
                if other.name == match.name != its.name:
                    events.append(self._rename(other, None, its, seconds))
            if track.name is not None:
                track.keep_newest()
            events.append(self._rename(track, match.name, match, seconds))
        return events

    def _rename(self, track: Track, name: str | None, match: Match, seconds: float) -> Event:
        kind: Kind = "identified" if track.name is None else "changed"
        track.name, track.pending = name, (None, 0)
        return self._event(kind, seconds, track, match)

    def _is_clear(self, match: Match) -> bool:
        """Whether the match holds with a margin as wide as the hysteresis."""
        return match.nearest is not None and match.nearest.similarity >= self._cosine(
            2 - _HYSTERESIS
        )

    def _end_lost(self, seconds: float) -> list[Event]:
        gone = [track for track in self._tracks if seconds - track.seen > _LEAVE_SECONDS]
        self._tracks = [track for track in self._tracks if track not in gone]
        self._lost += gone
        return [self._event("left", seconds, track) for track in gone]

    def _event(self, kind: Kind, seconds: float, track: Track, match: Match | None = None) -> Event:
        near = match.nearest if match is not None else None
        probability = match.probability if match is not None else None
        return Event(
            kind,
            round(seconds, 3),
            track.number,
            tuple(round(float(side), 1) for side in track.face.box),
            track.name,
            round(near.similarity, 4) if near is not None else None,
            round(probability, 6) if probability is not None else None,
        )


def _quality(face: Face) -> float:
    """Quality of a view: the score, lowered below 112 pixels and by the yaw's cosine.

    The nose lies about half an eye distance before the eyes, so the tangent of the yaw is twice the
    nose's offset from the middle of the eyes, in eye distances.
    """
    left, right, nose = face.landmarks[:3]
    across = right - left
    apart = max(float(np.hypot(*across)), 1e-6)
    aside = float((nose - (left + right) / 2) @ across) / apart**2
    return float(face.score) * min(face.size / 112, 1.0) / math.hypot(1.0, 2 * aside)
