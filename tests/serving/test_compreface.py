"""CompreFace's REST API: what its documentation says of each request, and what clients send."""

from __future__ import annotations

import base64
import io
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image as Pillow
from PIL import ImageFilter

from tests.serving.conftest import MakeClient

API = "/api/v1"
FACES, SUBJECTS = f"{API}/recognition/faces", f"{API}/recognition/subjects"
HOPPER, COLLINS = "grace_hopper", "eileen_collins"


def form(photo: bytes, field: str = "file", name: str = "photo.jpg") -> dict:
    return {field: (name, photo, "image/jpeg")}


@pytest.fixture
def client(make_client: MakeClient, tmp_path: Path):
    """A server whose gallery does not exist yet."""
    return make_client(tmp_path / "g.h5")


@pytest.fixture
def enrolled(client, portrait_bytes):
    """The same with one face of each person; and the ids by person."""
    ids = {}
    for name, photo in portrait_bytes.items():
        answer = client.post(FACES, params={"subject": name}, files=form(photo))
        assert answer.status_code == 201
        assert answer.json()["subject"] == name
        ids[name] = answer.json()["image_id"]
        assert str(uuid.UUID(ids[name])) == ids[name]
    return client, ids


@pytest.fixture(scope="session")
def two_faces(picture: Path) -> bytes:
    return picture.read_bytes()


@pytest.fixture(scope="session")
def no_face() -> bytes:
    stream = io.BytesIO()
    Pillow.new("RGB", (200, 200), (90, 120, 90)).save(stream, "JPEG")
    return stream.getvalue()


# ---- recognition


def test_faces_are_recognised_the_largest_first_with_similarities_around_a_half(
    enrolled, two_faces
):
    client, _ = enrolled
    answer = client.post(f"{API}/recognition/recognize", files=form(two_faces))
    assert answer.status_code == 200
    result = answer.json()["result"]
    assert set(answer.json()) == {"result"}
    assert {face["subjects"][0]["subject"] for face in result} == {HOPPER, COLLINS}
    areas = []
    for face in result:
        assert set(face) == {"box", "subjects"}
        (best,) = face["subjects"]
        assert 0.8 < best["similarity"] <= 1
        box = face["box"]
        assert set(box) == {"probability", "x_max", "y_max", "x_min", "y_min"}
        assert all(isinstance(box[side], int) for side in set(box) - {"probability"})
        areas.append((box["x_max"] - box["x_min"]) * (box["y_max"] - box["y_min"]))
    assert areas == sorted(areas, reverse=True)


def test_options_say_which_faces_count_and_what_is_told(enrolled, two_faces, engines):
    client, _ = enrolled
    answer = client.post(
        f"{API}/recognition/recognize?limit=1&prediction_count=2&det_prob_threshold=0.5"
        "&face_plugins=landmarks,calculator,age,gender,mask,pose&status=true",
        files=form(two_faces),
    )
    (face,) = answer.json()["result"]
    assert len(face["subjects"]) == 2
    first, second = (one["similarity"] for one in face["subjects"])
    assert first > 0.5 > second
    assert len(face["landmarks"]) == 5 and all(len(point) == 2 for point in face["landmarks"])
    assert len(face["embedding"]) == engines.plain.card.embedding_size
    assert face["execution_time"]["detector"] > 0
    assert set(answer.json()["plugins_versions"]) == {"detector", "calculator"}
    assert not {"age", "gender", "mask", "pose"} & set(face)


def test_a_photo_may_come_as_base64_in_json(enrolled, portrait_bytes):
    client, _ = enrolled
    encoded = base64.b64encode(portrait_bytes[HOPPER]).decode()
    answer = client.post(f"{API}/recognition/recognize", json={"file": encoded})
    (face,) = answer.json()["result"]
    (subject,) = face["subjects"]
    assert 0.99 < subject.pop("probability") <= 1
    assert subject == {"subject": HOPPER, "similarity": 1.0}


def test_a_cropped_face_is_one_face(enrolled, two_faces):
    client, _ = enrolled
    url = f"{API}/recognition/recognize?detect_faces=false"
    assert len(client.post(url, files=form(two_faces)).json()["result"]) == 1


def test_an_empty_collection_knows_nobody(client, portrait_bytes):
    answer = client.post(f"{API}/recognition/recognize", files=form(portrait_bytes[HOPPER]))
    assert [face["subjects"] for face in answer.json()["result"]] == [[]]


def test_detection_needs_no_gallery(make_client, two_faces):
    client = make_client(None)
    answer = client.post(f"{API}/detection/detect?face_plugins=calculator", files=form(two_faces))
    assert answer.status_code == 200
    assert all(set(face) == {"box", "embedding"} for face in answer.json()["result"])
    answer = client.post(f"{API}/recognition/recognize", files=form(two_faces))
    assert (answer.status_code, answer.json()["code"]) == (404, 10)


def test_verification_compares_one_face_with_all_of_another_photo(
    make_client, two_faces, portrait_bytes
):
    client = make_client(None)
    photos = {
        **form(portrait_bytes[HOPPER], "source_image"),
        **form(two_faces, "target_image"),
    }
    answer = client.post(f"{API}/verification/verify?status=true", files=photos)
    (found,) = answer.json()["result"]
    assert set(found) == {"source_image_face", "face_matches", "plugins_versions"}
    similarities = sorted(match["similarity"] for match in found["face_matches"])
    assert len(similarities) == 2 and similarities[0] < 0.5 < similarities[1]
    encoded = {name: base64.b64encode(photo[1]).decode() for name, photo in photos.items()}
    again = client.post(f"{API}/verification/verify", json=encoded)
    assert [match["similarity"] for match in again.json()["result"][0]["face_matches"]] == [
        match["similarity"] for match in found["face_matches"]
    ]
    swapped = {"source_image": photos["target_image"], "target_image": photos["source_image"]}
    answer = client.post(f"{API}/verification/verify", files=swapped)
    assert (answer.status_code, answer.json()["code"]) == (400, 31)


def test_a_photo_is_verified_against_an_example(enrolled, two_faces):
    client, ids = enrolled
    answer = client.post(f"{FACES}/{ids[HOPPER]}/verify", files=form(two_faces))
    result = answer.json()["result"]
    assert {face["subject"] for face in result} == {HOPPER}
    assert sum(face["similarity"] > 0.5 for face in result) == 1
    answer = client.post(f"{FACES}/{uuid.uuid4()}/verify", files=form(two_faces))
    assert (answer.status_code, answer.json()["code"]) == (404, 44)


def test_embeddings_are_recognised_verified_and_compared(enrolled, portrait_bytes, engines):
    client, ids = enrolled
    vectors = {}
    for name, photo in portrait_bytes.items():
        url = f"{API}/detection/detect?face_plugins=calculator"
        (face,) = client.post(url, files=form(photo)).json()["result"]
        vectors[name] = face["embedding"]
    # Of any length: CompreFace's own are not unit vectors.
    both = [[3 * value for value in vectors[name]] for name in (HOPPER, COLLINS)]
    answer = client.post(f"{API}/recognition/embeddings/recognize", json={"embeddings": both})
    best = [row["similarities"] for row in answer.json()["result"]]
    assert [row[0]["subject"] for row in best] == [HOPPER, COLLINS]
    assert [row["embedding"] for row in answer.json()["result"]] == both

    url = f"{API}/recognition/embeddings/faces/{ids[COLLINS]}/verify"
    rows = client.post(url, json={"embeddings": both}).json()["result"]
    assert [row["embedding"] for row in rows] == both[::-1]
    assert rows[0]["similarity"] == 1.0 and rows[1]["similarity"] < 0.5

    url = f"{API}/verification/embeddings/verify"
    rows = client.post(url, json={"source": both[0], "targets": both}).json()["result"]
    assert [row["similarity"] > 0.5 for row in rows] == [True, False]
    for wrong in ([1.0, 2.0], [0.0] * engines.plain.card.embedding_size):
        answer = client.post(url, json={"source": wrong, "targets": both})
        assert (answer.status_code, answer.json()["code"]) == (400, 36)


# ---- the collection


def test_faces_are_listed_by_page_and_subject(enrolled, portrait_bytes):
    client, ids = enrolled
    listed = client.get(FACES).json()
    assert listed == {
        "faces": [{"image_id": face, "subject": name} for name, face in ids.items()],
        "page_number": 0,
        "page_size": 20,
        "total_pages": 1,
        "total_elements": 2,
    }
    second = client.get(FACES, params={"page": 1, "size": 1}).json()
    assert (second["faces"], second["total_pages"]) == (listed["faces"][1:], 2)
    of_one = client.get(FACES, params={"subject": COLLINS.upper()}).json()
    assert [face["subject"] for face in of_one["faces"]] == [COLLINS]
    assert client.get(FACES, params={"subject": "nobody"}).json()["total_elements"] == 0
    assert client.get(f"{FACES}/{ids[HOPPER]}/img").content == b""


def test_a_photo_that_is_there_already_keeps_its_id(enrolled, portrait_bytes):
    client, ids = enrolled
    again = client.post(FACES, params={"subject": HOPPER}, files=form(portrait_bytes[HOPPER]))
    assert (again.status_code, again.json()["image_id"]) == (201, ids[HOPPER])


def test_the_one_face_that_is_strong_enough_is_enrolled_if_it_is_not_the_largest(
    client, portrait_bytes
):
    large, small = (Pillow.open(io.BytesIO(portrait_bytes[name])) for name in (COLLINS, HOPPER))
    large = large.convert("RGB").resize((round(2.4 * large.width), round(2.4 * large.height)))
    both = Pillow.new("RGB", (large.width + small.width, max(large.height, small.height)))
    both.paste(large.filter(ImageFilter.GaussianBlur(14)), (0, 0))
    both.paste(small, (large.width, 0))
    stream = io.BytesIO()
    both.save(stream, "PNG")
    photo = form(stream.getvalue())
    found = client.post(f"{API}/detection/detect", files=photo).json()["result"]
    blurred, sharp = (face["box"]["probability"] for face in found)
    assert blurred < sharp
    least = {"subject": "one", "det_prob_threshold": (blurred + sharp) / 2}
    assert client.post(FACES, params=least, files=photo).status_code == 201
    named = client.post(f"{API}/recognition/recognize", files=form(portrait_bytes[HOPPER])).json()
    assert named["result"][0]["subjects"][0]["similarity"] > 0.5
    least["det_prob_threshold"] = blurred / 2
    answer = client.post(FACES, params=least, files=photo)
    assert (answer.status_code, answer.json()["code"]) == (400, 31)


def test_faces_are_deleted_by_id_several_ids_and_subject(enrolled):
    client, ids = enrolled
    gone = client.delete(f"{FACES}/{ids[HOPPER]}")
    assert gone.json() == {"image_id": ids[HOPPER], "subject": HOPPER}
    again = client.delete(f"{FACES}/{ids[HOPPER]}")
    assert (again.status_code, again.json()["code"]) == (404, 44)
    # A subject without faces is none.
    assert client.get(SUBJECTS).json() == {"subjects": [COLLINS]}
    several = client.post(f"{FACES}/delete", json=[ids[HOPPER], ids[COLLINS], "no-id"])
    assert several.json() == [{"image_id": ids[COLLINS], "subject": COLLINS}]
    assert client.delete(FACES, params={"subject": COLLINS}).json() == {"deleted": 0}


def test_the_faces_of_a_subject_or_all_are_deleted(enrolled):
    client, _ = enrolled
    for lost in ("", " "):
        answer = client.delete(FACES, params={"subject": lost})
        assert (answer.status_code, answer.json()["code"]) == (400, 26)
    assert client.delete(f"{SUBJECTS}/").status_code == 405
    assert client.get(FACES).json()["total_elements"] == 2
    assert client.delete(FACES, params={"subject": HOPPER}).json() == {"deleted": 1}
    assert client.delete(FACES).json() == {"deleted": 1}
    assert client.get(SUBJECTS).json() == {"subjects": []}


def test_subjects_are_listed_renamed_merged_and_deleted(enrolled):
    client, ids = enrolled
    assert client.get(SUBJECTS).json() == {"subjects": list(ids)}
    assert client.get(f"{SUBJECTS}/").json() == client.get(SUBJECTS).json()
    renamed = client.put(f"{SUBJECTS}/{HOPPER}", json={"subject": "Grace", "api_endpoint": HOPPER})
    assert renamed.json() == {"updated": True}
    assert client.put(f"{SUBJECTS}/Grace", json={"subject": "Grace"}).json() == {"updated": False}
    # A name that is taken: the subjects are merged.
    assert client.put(f"{SUBJECTS}/Grace", json={"subject": COLLINS}).json() == {"updated": True}
    assert client.get(SUBJECTS).json() == {"subjects": [COLLINS]}
    assert client.get(FACES).json()["total_elements"] == 2
    assert client.delete(f"{SUBJECTS}/{COLLINS}").json() == {"subject": COLLINS}
    unknown = client.delete(f"{SUBJECTS}/{COLLINS}")
    assert (unknown.status_code, unknown.json()["code"]) == (404, 42)


def test_a_subject_may_be_added_before_its_faces(client, portrait_bytes):
    added = client.post(SUBJECTS, json={"subject": "Zoë Ünal"})
    assert (added.status_code, added.json()) == (201, {"subject": "Zoë Ünal"})
    again = client.post(SUBJECTS, json={"subject": "zoë ünal"})
    assert (again.status_code, again.json()["code"]) == (400, 43)
    assert client.get(SUBJECTS).json() == {"subjects": ["Zoë Ünal"]}
    assert client.put(f"{SUBJECTS}/Zoë Ünal", json={"subject": "Zoë"}).json() == {"updated": True}
    assert client.get(SUBJECTS).json() == {"subjects": ["Zoë"]}
    client.post(FACES, params={"subject": "Zoë"}, files=form(portrait_bytes[HOPPER]))
    client.post(SUBJECTS, json={"subject": "Nobody yet"})
    assert client.delete(SUBJECTS).json() == {"deleted": 2}
    assert client.get(SUBJECTS).json() == {"subjects": []}


def test_a_subject_without_faces_is_found_in_another_spelling(client, portrait_bytes):
    client.post(SUBJECTS, json={"subject": "Ann"})
    photo = form(portrait_bytes[HOPPER])
    added = client.post(FACES, params={"subject": "ANN"}, files=photo).json()
    assert added["subject"] == "Ann"
    assert client.get(SUBJECTS).json() == {"subjects": ["Ann"]}
    client.post(SUBJECTS, json={"subject": "Zoë"})
    assert client.put(f"{SUBJECTS}/zoë", json={"subject": "ZOË"}).json() == {"updated": True}
    assert client.get(SUBJECTS).json() == {"subjects": ["Ann", "ZOË"]}
    assert client.put(f"{SUBJECTS}/ann", json={"subject": "zoë"}).json() == {"updated": True}
    assert client.get(SUBJECTS).json() == {"subjects": ["ZOË"]}
    assert client.delete(FACES, params={"subject": "Zoë"}).json() == {"deleted": 1}
    assert client.get(SUBJECTS).json() == {"subjects": []}


def test_subjects_without_faces_are_not_remembered_without_end(client, monkeypatch):
    monkeypatch.setattr("facerec.serving.compreface.collection._MOST_EMPTY", 2)
    added = [client.post(SUBJECTS, json={"subject": name}).status_code for name in "abc"]
    assert added == [201, 201, 429]


# ---- errors


def test_errors_have_compreface_numbers(client, two_faces, no_face, portrait_bytes):
    def post(url: str, **sent: object) -> tuple[int, int]:
        answer = client.post(url, **sent)
        assert set(answer.json()) == {"message", "code"}, answer.text
        assert isinstance(answer.json()["message"], str)
        return answer.status_code, answer.json()["code"]

    recognize = f"{API}/recognition/recognize"
    assert post(recognize, files=form(no_face)) == (400, 28)
    assert post(f"{recognize}?det_prob_threshold=1", files=form(two_faces)) == (400, 28)
    assert post(recognize, files=form(b"no image")) == (400, 21)
    assert post(recognize, json={"file": "no base64!"}) == (400, 21)
    assert post(recognize, files=form(two_faces, "image")) == (400, 34)
    assert post(recognize, json={}) == (400, 34)
    assert post(f"{recognize}?limit=-1", files=form(two_faces)) == (400, 26)
    assert post(f"{recognize}?prediction_count=0", files=form(two_faces)) == (400, 26)
    assert post(f"{recognize}?det_prob_threshold=2", files=form(two_faces)) == (400, 26)
    assert post(f"{FACES}?subject=a", files=form(two_faces)) == (400, 31)
    assert post(f"{FACES}?subject=a", files=form(no_face)) == (400, 28)
    assert post(FACES, files=form(two_faces)) == (400, 33)
    assert post(f"{FACES}?subject=a/b", files=form(portrait_bytes[HOPPER])) == (400, 36)
    assert post(f"{FACES}?subject=", files=form(portrait_bytes[HOPPER])) == (400, 36)
    assert post(SUBJECTS, json={"subject": ""}) == (400, 36)
    assert post(SUBJECTS, json={}) == (400, 33)
    for text in (b"", b"[", b"null", b"[" * 100_000, b"\xff", b'{"subject": 1}', b"[1]"):
        status, number = post(SUBJECTS, content=text, headers={"Content-Type": "application/json"})
        assert (status, number) in [(400, 0), (400, 26)]
    # Double Take takes exactly this for a photo without a face.
    answer = client.post(recognize, files=form(no_face)).json()
    assert answer == {"message": "No face is found in the given image", "code": 28}


@pytest.mark.parametrize(
    ("method", "url"),
    [("POST", SUBJECTS), ("PUT", f"{SUBJECTS}/a"), ("POST", f"{FACES}/delete"),
     ("POST", f"{API}/recognition/embeddings/recognize"),
     ("POST", f"{API}/recognition/embeddings/faces/1/verify"),
     ("POST", f"{API}/verification/embeddings/verify")],
)  # fmt: skip
def test_a_body_is_counted_before_it_is_parsed(client, method, url):
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 100 << 20:
            sent += 1 << 16
            yield b" " * (1 << 16)

    answer = client.request(method, url, content=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, 0)


# ---- clients, as they send


def test_double_take_trains_recognises_and_removes(client, portrait_bytes, two_faces):
    """jakowenko/double-take, `api/src/util/detectors/compreface.js`: axios with form-data."""
    key = {"x-api-key": "00000000-0000-0000-0000-000000000002", "Accept": "*/*"}

    def send(method: str, url: str, photo: bytes = b"") -> dict:
        boundary = "--------------------------586216408571231297408113"
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n'
            "Content-Type: image/jpeg\r\n\r\n"
        )
        body = head.encode() + photo + f"\r\n--{boundary}--\r\n".encode() if photo else b""
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"} if photo else {}
        return client.request(method, url, content=body, headers={**key, **kind}).json()

    trained = send("POST", f"{FACES}?subject=Grace", portrait_bytes[HOPPER])
    assert trained["subject"] == "Grace"
    url = f"{API}/recognition/recognize?face_plugins=undefined&det_prob_threshold=0.8"
    data = send("POST", url, two_faces)
    # As it reads the answer: `similarity * 100` against 60 for a match and 40 for a stranger.
    confidences = [100 * face["subjects"][0]["similarity"] for face in data["result"]]
    assert sum(one >= 60 for one in confidences) == 1
    assert sum(one < 40 for one in confidences) == 1
    assert send("DELETE", f"{FACES}?subject=grace") == {"deleted": 1}
