"""Names that other programs wrote, read from one photo."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.album.metadata.writers import exiftool, needs_exiftool, picture, save

pytest.importorskip("exiv2")

from facerec.album.metadata.photo import read_metadata, read_regions
from facerec.album.metadata.regions import Region, match_boxes, overlap, to_stored, to_upright
from facerec.errors import InputError

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


def sidecar(folder: Path, body: str, name: str = "photo.jpg.xmp") -> Path:
    """A photo with a sidecar that holds these properties."""
    photo = folder / "photo.jpg"
    if not photo.exists():
        save(photo)
    (folder / name).write_text(
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}"><rdf:Description '
        'rdf:about="" xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/" '
        'xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#" '
        'xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#" '
        'xmlns:MP="http://ns.microsoft.com/photo/1.2/" '
        'xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#" '
        'xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#" '
        'xmlns:digiKam="http://www.digikam.org/ns/1.0/" '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/">{body}</rdf:Description></rdf:RDF>'
        "</x:xmpmeta>",
        encoding="utf-8",
    )
    return photo


def mwg(name: str, area: str, kind: str = "Face") -> str:
    """One region as RDF."""
    return (
        '<rdf:li rdf:parseType="Resource"><mwg-rs:Area rdf:parseType="Resource">'
        + "".join(
            f"<stArea:{key}>{value}</stArea:{key}>"
            for key, value in (part.split("=") for part in area.split())
        )
        + f"</mwg-rs:Area><mwg-rs:Name>{name}</mwg-rs:Name><mwg-rs:Type>{kind}</mwg-rs:Type>"
        "</rdf:li>"
    )


def listed(*regions: str) -> str:
    return (
        '<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:AppliedToDimensions stDim:w="60" '
        'stDim:h="40" stDim:unit="pixel"/><mwg-rs:RegionList><rdf:Bag>'
        + "".join(regions)
        + "</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>"
    )


def microsoft(name: str, more: str) -> str:
    """A list of one of Microsoft's regions as RDF.

    Args:
        more: elements beside its name.
    """
    return (
        '<MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag><rdf:li'
        f' rdf:parseType="Resource">{more}<MPReg:PersonDisplayName>{name}'
        "</MPReg:PersonDisplayName></rdf:li></rdf:Bag></MPRI:Regions></MP:RegionInfo>"
    )


ANNA_BY_EXIFTOOL = (
    "-XMP-mwg-rs:RegionInfo={AppliedToDimensions={W=60,H=40,Unit=pixel},RegionList=["
    "{Area={X=0.2,Y=0.3,W=0.2,H=0.4,Unit=normalized},Name=Anna,Type=Face}]}"
)
BEN_BY_EXIFTOOL = (
    "-XMP-MP:RegionInfoMP={Regions=[{PersonDisplayName=Ben,Rectangle=0.6|, 0.1|, 0.2|, 0.4}]}"
)


@needs_exiftool
@pytest.mark.parametrize("orientation", range(1, 9))
def test_regions_by_exiftool_are_read_upright(tmp_path: Path, orientation: int) -> None:
    photo = save(tmp_path / "photo.jpg", orientation=orientation)
    exiftool("-overwrite_original", ANNA_BY_EXIFTOOL, BEN_BY_EXIFTOOL, photo)
    found = {region.name: region for region in read_regions(photo)}
    assert found["Anna"].box == pytest.approx(to_upright((0.1, 0.1, 0.3, 0.5), orientation))
    assert found["Ben"].box == pytest.approx(to_upright((0.6, 0.1, 0.8, 0.5), orientation))
    assert (found["Anna"].source, found["Ben"].source) == ("mwg", "microsoft")


@needs_exiftool
@pytest.mark.parametrize("suffix", ["avif", "heic", "webp", "tif", "png"])
def test_every_format_says_its_orientation(tmp_path: Path, suffix: str) -> None:
    photo = tmp_path / f"photo.{suffix}"
    if suffix == "heic":
        pytest.importorskip("pillow_heif").from_pillow(picture(60, 40)).save(photo)
    else:
        picture(60, 40).save(photo)
    exiftool("-overwrite_original", "-Orientation#=6", ANNA_BY_EXIFTOOL, photo)
    (region,) = read_regions(photo)
    assert region.box == pytest.approx(to_upright((0.1, 0.1, 0.3, 0.5), 6))


def test_a_turn_and_its_inverse_give_the_box_back() -> None:
    box = (0.1, 0.2, 0.4, 0.9)
    for orientation in range(1, 9):
        assert to_stored(to_upright(box, orientation), orientation) == pytest.approx(box)


@pytest.mark.parametrize("unit", ["normalized", "pixel"])
@pytest.mark.parametrize(
    ("orientation", "upright"),
    [*((n, False) for n in range(1, 9)), *((n, True) for n in range(5, 9))],
)
def test_areas_of_the_upright_picture_are_known_by_their_dimensions(
    tmp_path: Path, orientation: int, unit: str, upright: bool
) -> None:
    """Where EXIF exchanges the sides of an image of 60 by 40 pixels."""
    photo = save(tmp_path / "photo.jpg", orientation=orientation)
    width, height = (40, 60) if upright else (60, 40)
    across, down = (width, height) if unit == "pixel" else (1, 1)
    area = f"x={0.2 * across} y={0.3 * down} w={0.2 * across} h={0.4 * down} unit={unit}"
    body = listed(mwg("Anna", area)).replace('w="60"', f'w="{width}"')
    sidecar(tmp_path, body.replace('h="40"', f'h="{height}"'))
    (region,) = read_regions(photo)
    box = (0.1, 0.1, 0.3, 0.5)
    assert region.box == pytest.approx(box if upright else to_upright(box, orientation))


@pytest.mark.parametrize("width", ["", "0", "much", "-1"])
def test_dimensions_that_say_nothing_leave_the_stored_image(tmp_path: Path, width: str) -> None:
    photo = save(tmp_path / "photo.jpg", orientation=6)
    body = listed(mwg("Anna", "x=0.2 y=0.3 w=0.2 h=0.4 unit=normalized"))
    sidecar(tmp_path, body.replace('w="60"', f'w="{width}"'))
    (region,) = read_regions(photo)
    assert region.box == pytest.approx(to_upright((0.1, 0.1, 0.3, 0.5), 6))


@pytest.mark.parametrize(
    ("size", "placed"),
    [
        ((6000, 4000), True), ((6048, 4024), True), ((61, 40), True), ((40, 60), True),
        ((1920, 1080), False), ((40, 40), False), ((1080, 1920), False),
    ],
)  # fmt: skip
def test_regions_of_a_picture_cropped_since_have_no_place(
    tmp_path: Path, size: tuple[int, int], placed: bool
) -> None:
    """Of an image of 60 by 40 pixels: another size is no crop, another shape is."""
    area = "x=0.2 y=0.3 w=0.2 h=0.4 unit=normalized"
    rex = mwg("Rex", "x=0.7 y=0.3 w=0.2 h=0.4 unit=normalized", "Pet")
    body = listed(mwg("Anna", area), rex)
    ben = (
        '<MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag><rdf:li MPReg:Rectangle='
        '"0.6, 0.1, 0.2, 0.4" MPReg:PersonDisplayName="Ben"/></rdf:Bag></MPRI:Regions>'
        "</MP:RegionInfo>"
    )
    body = body.replace('w="60"', f'w="{size[0]}"').replace('h="40"', f'h="{size[1]}"')
    found = read_regions(sidecar(tmp_path, body + ben))
    assert [(one.name, one.kind) for one in found] == [
        ("Anna", "Face"), ("Rex", "Pet"), ("Ben", "Face")]  # fmt: skip
    assert [one.box is not None for one in found] == [placed] * 3


def test_digikams_layout_is_read_with_people_that_have_no_place(tmp_path: Path) -> None:
    photo = sidecar(
        tmp_path,
        listed(mwg("Anna", "x=0.2 y=0.3 w=0.2 h=0.4 unit=normalized"))
        + "<digiKam:TagsList><rdf:Seq><rdf:li>People/Anna</rdf:li><rdf:li>People/Family/Ben"
        "</rdf:li><rdf:li>People/Unknown</rdf:li><rdf:li>Places/Rome</rdf:li></rdf:Seq>"
        "</digiKam:TagsList>",
    )
    assert read_regions(photo) == [
        Region("Anna", pytest.approx((0.1, 0.1, 0.3, 0.5)), "Face", "mwg"),  # type: ignore[arg-type]
        Region("Ben", None, "Face", "digikam"),
    ]


def test_picasas_list_is_read(tmp_path: Path) -> None:
    photo = save(tmp_path / "Photo.JPG", format="JPEG")
    (tmp_path / ".picasa.ini").write_text(
        "\ufeff[Photo.jpg]\r\nbackuphash=1\r\n"
        "faces=rect64(199a199a4ccd8000),8e62398ebda8c1a5;rect64(199a80004ccdc000),d10a;"
        "rect64(80008000c000c000),ffffffffffffffff\r\n"
        "[Contacts2]\r\n8e62398ebda8c1a5=Änna;;\r\nD10A=Ben;ben@example.org;\r\n",
        encoding="utf-8",
    )
    anna, ben = read_regions(photo)
    assert (anna.name, ben.name, anna.source) == ("Änna", "Ben", "picasa")
    assert anna.box == pytest.approx((0.1, 0.1, 0.3, 0.5), abs=1e-4)


def test_picasas_short_rectangles_have_zeros_in_front(tmp_path: Path) -> None:
    photo = save(tmp_path / "a.jpg")
    (tmp_path / ".picasa.ini").write_text("[a.jpg]\nfaces=rect64(40008000c000),1\n[Contacts2]\n1=A")
    assert [region.box for region in read_regions(photo)] == [(0.0, 0.25, 0.5, 0.75)]


def test_a_sidecar_is_believed_before_the_photo_and_both_names_are_read(tmp_path: Path) -> None:
    area = "x=0.2 y=0.3 w=0.2 h=0.4 unit=normalized"
    sidecar(tmp_path, listed(mwg("Ben", "x=0.7 y=0.3 w=0.2 h=0.4 unit=normalized")), "photo.xmp")
    photo = sidecar(tmp_path, listed(mwg("Anna", area)))
    (tmp_path / ".picasa.ini").write_text(
        "[photo.jpg]\nfaces=rect64(199a199a4ccd8000),1\n[Contacts2]\n1=Somebody else"
    )
    assert [region.name for region in read_regions(photo)] == ["Anna", "Ben"]


def test_pixels_of_a_picture_without_size_lie_nowhere(tmp_path: Path) -> None:
    regions = listed(
        mwg("Lost", "x=12 y=12 w=12 h=16 unit=pixel"), mwg("Kept", "x=0.5 y=0.5 w=0.2 h=0.2")
    )
    photo = sidecar(tmp_path, regions.replace('stDim:w="60"', 'stDim:w="0"'))
    found = read_regions(photo)
    assert [(region.name, region.box is None) for region in found] == [
        ("Kept", False), ("Lost", True)]  # fmt: skip


def test_pixels_commas_and_missing_units_are_understood(tmp_path: Path) -> None:
    photo = sidecar(
        tmp_path,
        listed(
            mwg("Pixels", "x=12 y=12 w=12 h=16 unit=pixel"),
            mwg("Commas", "x=0,7 y=0,3 w=0,2 h=0,4"),
        ),
    )
    pixels, commas = read_regions(photo)
    assert pixels.box == pytest.approx((0.1, 0.1, 0.3, 0.5))
    assert commas.box == pytest.approx((0.6, 0.1, 0.8, 0.5))


@pytest.mark.parametrize(
    "area",
    [
        "x=nan y=0 w=1 h=1", "x=0 y=0 w=0 h=1", "x=9e99 y=0 w=1 h=1", "x=0.5 y=0.5",
        "x=0.5 y=0.5 w=-1 h=-1", "x=zz y=1 w=1 h=1", "x=0.5 y=0.5 d=0", "",
    ],
)  # fmt: skip
def test_areas_that_are_none_lie_nowhere(tmp_path: Path, area: str) -> None:
    photo = sidecar(tmp_path, listed(mwg("Anna", area), mwg("", area)))
    assert read_regions(photo) == [Region("Anna", None)]


@pytest.mark.parametrize("area", ["x=0.3 y=0.5 d=0.2", "x=18 y=20 d=12 unit=pixel"])
def test_a_circle_is_as_wide_and_high_as_its_diameter(tmp_path: Path, area: str) -> None:
    (anna,) = read_regions(sidecar(tmp_path, listed(mwg("Anna", area))))
    high = 0.1 if "pixel" not in area else 6 / 40
    assert anna.box == pytest.approx((0.2, 0.5 - high, 0.4, 0.5 + high))


@pytest.mark.parametrize("rectangle", [None, "", "0.1, 0.2, 0.3", "0.1, 0.2, 0, 0.3"])
def test_microsofts_people_without_a_rectangle_lie_nowhere(
    tmp_path: Path, rectangle: str | None
) -> None:
    place = "" if rectangle is None else f"<MPReg:Rectangle>{rectangle}</MPReg:Rectangle>"
    photo = sidecar(tmp_path, microsoft("Anna", place))
    assert read_regions(photo) == [Region("Anna", None, source="microsoft")]


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><x:xmpmeta xmlns:x="adobe:ns:meta/">&c;</x:xmpmeta>'
)
FETCH = (
    '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">&a;</x:xmpmeta>'
)


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (BOMB, "declares a document type or entities"),
        (FETCH, "declares a document type or entities"),
        ('<x:xmpmeta xmlns:x="adobe:ns:meta/">' + "<a>" * 5000, "nested too deeply"),
        ('<x:xmpmeta xmlns:x="adobe:ns:meta/">' + "<a/>" * 300_000, "too many elements"),
        ('<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF', "damaged"),
        ("not XML at all", "damaged"),
        (b"\xff\xfe\x00", "damaged|no UTF-8"),
        (b"\x80\x81", "no UTF-8"),
        ("x" * (16 << 20) + "x", "bytes of XMP"),
    ],
)
def test_hostile_xmp_is_one_line(tmp_path: Path, packet: str | bytes, reason: str) -> None:
    photo = save(tmp_path / "photo.jpg")
    data = packet if isinstance(packet, bytes) else packet.encode()
    (tmp_path / "photo.jpg.xmp").write_bytes(data)
    with pytest.raises(InputError, match=reason) as caught:
        read_regions(photo)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "photo.jpg.xmp"))
    assert read_metadata(photo).regions == ()


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_photo_is_one_line(tmp_path: Path, suffix: str) -> None:
    photo = save(tmp_path / f"photo.{suffix}")
    whole = photo.read_bytes()
    for length in (0, 3, 20, 60, 120):
        photo.write_bytes(whole[:length])
        try:
            read_metadata(photo)
        except InputError as error:
            assert "\n" not in str(error)


def test_overlap_and_matching() -> None:
    a, b, far = (0.1, 0.1, 0.3, 0.3), (0.12, 0.1, 0.32, 0.3), (0.6, 0.6, 0.8, 0.8)
    assert overlap(a, a) == 1.0
    assert overlap(a, far) == 0.0
    assert match_boxes([a, far], [None, far, b]) == {0: 2, 1: 1}
    # A square around the head, as Lightroom draws it, against one around the features.
    assert match_boxes([a], [(0.05, 0.04, 0.35, 0.34)]) == {0: 0}
    # Two heads side by side are two.
    assert match_boxes([a], [(0.28, 0.1, 0.48, 0.3)]) == {}
