"""What the page asks for: people, faces, photos, suggestions. All by number, nothing by path."""

from __future__ import annotations

from dataclasses import asdict

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from facerec.album.faces import read_chip, read_faces
from facerec.album.photos import read_photo
from facerec.album.records import StoredPhoto, lasting_id
from facerec.album.store import Album
from facerec.album.web.answers import (
    asker_of,
    describe,
    describe_step,
    id_of,
    library_of,
    number_of,
    page_of,
    person_of,
)
from facerec.album.web.pictures import make_picture
from facerec.files.text import readable


def _state(request: Request) -> Response:
    library = library_of(request)
    with library.reading() as album:
        step = describe_step(album)
    return JSONResponse({**library.counts(), "step": step})


def _people(request: Request) -> Response:
    asked = request.query_params
    offset, limit = page_of(request)
    found = library_of(request).find(asked.get("find", ""), asked.get("kind", "all"))
    shown = [describe(one) for one in found[offset : offset + limit]]
    return JSONResponse({"total": len(found), "items": shown})


def _who(request: Request) -> Response:
    found = library_of(request).find_one(request.query_params.get("name", ""))
    return JSONResponse({"person": None if found is None else describe(found)})


def _person(request: Request) -> Response:
    return JSONResponse(describe(person_of(request)))


def _faces(request: Request) -> Response:
    person = id_of(request, "person") if request.path_params else None
    total, faces = library_of(request).faces(person, *page_of(request))
    return JSONResponse({"total": total, "items": faces})


def _suggestions(request: Request) -> Response:
    person = number_of(request, "person")
    limit = page_of(request)[1]
    asker = asker_of(request)
    if person is not None:
        asked = asker.about(person, limit)
    else:
        asked = asker.after(number_of(request, "after"), limit)
    return JSONResponse(asdict(asked))


def _photo(request: Request) -> Response:
    with library_of(request).reading() as album:
        photo = _photo_of(request, album)
        faces = [
            {
                "face": face.id,
                "box": face.box,
                "id": face.person,
                "person": None if face.person is None else lasting_id(face.person),
                "name": face.name,
                "confirmed": face.confirmed,
            }
            for face in read_faces(album, photo=photo.id)
        ]
    return JSONResponse(
        {
            "photo": photo.id,
            "width": photo.width,
            "height": photo.height,
            "taken": photo.taken,
            "places": [readable(path) for path in photo.paths],
            "faces": faces,
        }
    )


def _picture(request: Request) -> Response:
    with library_of(request).reading() as album:
        picture = make_picture(album, _photo_of(request, album))
    return Response(picture, media_type="image/jpeg")


def _photo_of(request: Request, album: Album) -> StoredPhoto:
    photo = read_photo(album, id_of(request, "photo"))
    if photo is None:
        raise HTTPException(404, "there is no such photo")
    return photo


def _chip(request: Request) -> Response:
    with library_of(request).reading() as album:
        jpeg = read_chip(album, id_of(request, "face"))
    if jpeg is None:
        raise HTTPException(404, "there is no such face")
    return Response(jpeg, media_type="image/jpeg")


READING = (
    Route("/api/state", _state),
    Route("/api/people", _people),
    Route("/api/who", _who),
    Route("/api/people/{person}", _person),
    Route("/api/people/{person}/faces", _faces),
    Route("/api/loose", _faces),
    Route("/api/suggestions", _suggestions),
    Route("/api/photos/{photo}", _photo),
    Route("/faces/{face}.jpg", _chip),
    Route("/photos/{photo}.jpg", _picture),
)
