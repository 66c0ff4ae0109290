"""What a request can ask: one `Service` over an engine, a gallery and a profile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from facerec.alignment.warp import only_central_face
from facerec.card import Metric, ModelCard
from facerec.engine.building import build_detector, open_model
from facerec.engine.engine import Engine
from facerec.engine.pool import Select
from facerec.engine.second_look import with_second_look
from facerec.errors import FacerecError, InputError, UsageError
from facerec.faces import Face, Floats, Image, Match
from facerec.gallery.base import GalleryStore, Where
from facerec.gallery.certainty import Certainty
from facerec.gallery.enrol import Enrolment
from facerec.gallery.entries import mean_vector
from facerec.gallery.match import comparing, decision_threshold
from facerec.gallery.outcomes import judge
from facerec.gallery.points import record_points
from facerec.gallery.remarks import remark_on_others
from facerec.imaging.portraits import portrait_files
from facerec.profile.loading import Profile
from facerec.serving.audit import Audit
from facerec.serving.batching import Analysis, Batcher
from facerec.serving.directory import Directory, usable_name
from facerec.serving.entries import ID, SCHEME, entries_of, new_meta, rows_of
from facerec.serving.failures import RequestError
from facerec.serving.people import People

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Upload:
    """A photo that a request brought.

    Attributes:
        name: what answers and errors call it.
        data: its encoded bytes.
        problem: why it could not be had; raised where its faces are asked for.
    """

    name: str
    data: bytes
    problem: FacerecError | None = None


class Engines(NamedTuple):
    """Two engines that share their detector and networks.

    Attributes:
        plain: for detection and recognition.
        turning: for enrolment and comparison: looks at the photo turned too, as the commands do.
    """

    plain: Engine
    turning: Engine


class Comparison(NamedTuple):
    """Two faces' vectors and what decides about them; see `records.comparison_record`."""

    vectors: tuple[Floats, Floats]
    metric: Metric
    threshold: float
    certainty: Certainty | None


class Enrolled(NamedTuple):
    """What an enrolment did.

    Attributes:
        report: the photos by outcome.
        person: as the name is stored.
        ids: of each photo that is enrolled now, in order.
        faces: the person's, now.
    """

    person: str
    report: Enrolment
    ids: list[str]
    faces: int


class Service(Directory):
    """One engine, warm, and the people of a gallery.

    Args:
        engines: of the profile.
        profile: how people are matched and enrolled.
        audit: told of each change of the gallery.
        gallery: its address; None: people are neither enrolled nor recognised.
        observe: called with the size of each batch that the engine takes.

    """

    def __init__(
        self,
        engines: Engines,
        profile: Profile,
        gallery: str | None,
        audit: Audit,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._engine, self._turning = engines
        super().__init__(People(gallery, self._engine.card, profile.recognize), audit)
        self.profile = profile
        self.gallery = gallery
        runtime = profile.runtime
        self._batcher = Batcher(
            batch=max(1, runtime.batch // 4),
            workers=runtime.workers,
            max_pixels=runtime.max_pixels,
            observe=observe,
        )

    @property
    def card(self) -> ModelCard:
        """Of the engine's vectors."""
        return self._engine.card

    @property
    def waiting(self) -> int:
        """Photos that are being answered."""
        return self._batcher.admitted

    async def warm_up(self) -> None:
        """Detect and embed once, and read the gallery: the first request is as fast as any."""
        portrait = next(iter(portrait_files().values())).read_bytes()
        await self.faces(Upload("a portrait", portrait), embed=True)
        if self.gallery is not None:
            await self._people.read(lambda store: store.counts())

    async def faces(self, upload: Upload, *, embed: bool) -> Analysis:
        """All faces of a photo.

        Args:
            embed: with their vectors.

        Raises:
            InputError: it is no image, damaged, or has too many pixels.
            RequestError: too many photos are waiting.
        """
        if upload.problem is not None:
            raise upload.problem
        return await self._batcher.analyse(upload.name, upload.data, self._engine, embed=embed)

    async def recognize(self, upload: Upload) -> tuple[Analysis, list[Match]]:
        """All faces of a photo, and who they are.

        Raises:
            InputError: it is no image, damaged, or has too many pixels.
            RequestError: too many photos are waiting, or there is no gallery.
        """
        _ = self._people.address
        found = await self.faces(upload, embed=True)
        return found, await self._people.match(found.faces)

    async def compare(self, first: Upload | str, second: Upload | str) -> Comparison:
        """Compare two photos, or a photo with a person, or two people.

        Args:
            first: a photo, of which the largest and most central face counts, or a person's name.
            second: likewise.

        Raises:
            InputError: one is no image, or shows no face.
            RequestError: a person is unknown.
        """
        asked = await asyncio.gather(self._vector(first), self._vector(second))
        card = self.card
        if isinstance(first, str) or isinstance(second, str):
            card = (await self._people.deciding())[1].card
        (one, of_one), (other, of_other) = asked
        decided = comparing(card, self.profile.recognize, max(of_one, of_other))
        return Comparison((one, other), *decided)

    async def model_record(self) -> dict[str, Any]:
        """The model's card as JSON values, and what decides whether two faces are one person's;
        the threshold is null where none is known."""
        card, section = self.card, self.profile.recognize
        try:
            if self.gallery is not None:
                _, matcher = await self._people.deciding()
                metric, threshold = matcher.metric, matcher.threshold
            else:
                metric, threshold = decision_threshold(card, section)
        except UsageError:
            metric, threshold = section.metric or card.metric, None
        return {
            "name": card.name,
            "arithmetic": self._engine.arithmetic,
            "fingerprint": card.fingerprint(),
            "detector": self.profile.detector.name,
            "metric": metric,
            "threshold": threshold,
            "card": card.model_dump(mode="json"),
        }

    async def enrol(
        self,
        person: str,
        uploads: Sequence[Upload],
        meta: Where | None = None,
        *,
        alone_from: float | None = None,
    ) -> Enrolled:
        """Enrol photos of a person; they are on disk when this returns.

        A photo that is enrolled for them already, by content, is skipped.

        Args:
            meta: metadata of the faces.
            alone_from: least score of a face that counts, of which a photo must show exactly one;
                None: `gallery.faces` says which face counts where a photo shows several.

        Raises:
            InputError: the only photo is no image, or shows no face or too many.
            RequestError: the name or the metadata cannot be used; or there is no gallery.
        """
        _ = self._people.address
        person = usable_name(person)
        report = Enrolment()
        usable = await self._usable_photos(uploads, report, alone_from)
        given = [(found, new_meta(meta)) for found in usable]

        def add(store: GalleryStore) -> Enrolled:
            ids = []
            for found, facts in given:
                if store.holds(person, found.sha256):
                    report.skipped += 1
                    entries = entries_of(store, person)
                    ids.append(next(one.id for one in entries if one.sha256 == found.sha256))
                    continue
                record_points(store, [self._turning.points()])
                store.add(person, found.faces, f"{SCHEME}{facts[ID]}", found.sha256, facts)
                report.enrolled += 1
                report.faces += len(found.faces)
                known = (face.quality for face in found.faces)
                report.qualities += [quality for quality in known if quality is not None]
                ids.append(facts[ID])
            count = len(store.person(person)) if ids else 0
            return Enrolled(person, report, ids, count)

        def note(done: Enrolled) -> None:
            new = [facts[ID] for _, facts in given if facts[ID] in done.ids]
            if new:
                self._audit.note("enrol", person, ids=new, faces=report.faces)

        if not given:
            return Enrolled(person, report, [], 0)
        return await self._people.change(add, note)

    def close(self) -> None:
        """Answer what is waiting, then end the threads."""
        self._batcher.close()
        self._people.close()

    async def _vector(self, which: Upload | str) -> tuple[Floats, int]:
        """Of a photo's central face, or a person's mean vector; and of how many faces it is."""
        if isinstance(which, str):
            where = self.profile.recognize.where
            rows = await self._people.read(lambda store: rows_of(store, which, where))
            return mean_vector(rows.embeddings), len(rows)
        found = await self._analyse_turned(which, only_central_face)
        if not found.faces:
            raise RequestError(422, "no_face", f"{which.name}: no face found")
        vector = found.faces[0].embedding
        assert vector is not None, "it was asked for"
        return vector, 1

    async def _analyse_turned(self, upload: Upload, select: Select | None) -> Analysis:
        if upload.problem is not None:
            raise upload.problem
        return await self._batcher.analyse(
            upload.name, upload.data, self._turning, embed=True, select=select
        )

    async def _usable_photos(
        self, uploads: Sequence[Upload], report: Enrolment, alone_from: float | None
    ) -> list[Analysis]:
        """The photos whose faces can be enrolled; the others go into the report.

        Raises:
            FacerecError: it is the only one.
        """
        profile, select = _enrolment_rules(self.profile, alone_from)
        outcomes = await asyncio.gather(
            *(self._analyse_turned(upload, select) for upload in uploads), return_exceptions=True
        )
        usable = []
        for upload, found in zip(uploads, outcomes, strict=True):
            problem: FacerecError | None = None
            if isinstance(found, InputError) or (found is upload.problem is not None):
                problem = found
                report.failed[upload.name] = str(found)
            elif isinstance(found, BaseException):
                raise found
            else:
                verdict = judge(found.faces, profile)
                report.note(upload.name, verdict)
                if verdict.reason:
                    told = f"{upload.name}: {verdict.told}"
                    problem = RequestError(422, verdict.reason, told)
                else:
                    usable.append(replace(found, faces=verdict.kept))
                    if (shown := verdict.kept[0].among) > len(found.faces):
                        report.remarks.append(remark_on_others(upload.name, shown))
            if problem is not None and len(uploads) == 1:
                raise problem
        return usable


def _enrolment_rules(profile: Profile, alone_from: float | None) -> tuple[Profile, Select | None]:
    """The profile that judges a photo's faces, and which of them it gets to see."""
    if alone_from is None:
        return profile, only_central_face if profile.gallery.faces == "central" else None
    section = profile.gallery.model_copy(update={"faces": "refuse"})

    def strong(_: Image, faces: Sequence[Face]) -> list[Face]:
        return [face for face in faces if face.score >= alone_from]

    return profile.model_copy(update={"gallery": section}), strong


def open_engines(profile: Profile) -> Engines:
    """The engines of a profile.

    Raises:
        MissingError: weights, a package or the device is missing.
    """
    detector, model = build_detector(profile), open_model(profile)
    turning = profile.looking_again("turns")
    plain, turned = (
        Engine(
            with_second_look(detector, one.detector),
            model,
            batch=one.runtime.batch,
            profile=one,
        )
        for one in (profile, turning)
    )
    return Engines(plain, turned)
