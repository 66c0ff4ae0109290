"""Photos' metadata: XMP beside and in photos, Picasa's lists."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from random import Random

from PIL import Image as Pillow

from tests.fuzz.cases import Action, Kind, Seed
from tests.fuzz.mutations import BINARY, TEXT

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="{_RDF}"><rdf:Description rdf:about=""
 xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"
 xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#"
 xmlns:stDim="http://ns.adobe.com/xap/1.0/sType/Dimensions#"
 xmlns:MP="http://ns.microsoft.com/photo/1.2/" xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#"
 xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:digiKam="http://www.digikam.org/ns/1.0/">
<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:AppliedToDimensions stDim:w="60" stDim:h="40"
 stDim:unit="pixel"/><mwg-rs:RegionList><rdf:Bag><rdf:li rdf:parseType="Resource"><mwg-rs:Area
 stArea:x="0.2" stArea:y="0.3" stArea:w="0.2" stArea:h="0.4" stArea:unit="normalized"/>
<mwg-rs:Name>Ann</mwg-rs:Name><mwg-rs:Type>Face</mwg-rs:Type></rdf:li></rdf:Bag>
</mwg-rs:RegionList></mwg-rs:Regions><MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag>
<rdf:li MPReg:Rectangle="0.1, 0.1, 0.2, 0.4" MPReg:PersonDisplayName="Ben"/></rdf:Bag></MPRI:Regions>
</MP:RegionInfo><dc:subject><rdf:Bag><rdf:li>beach</rdf:li></rdf:Bag></dc:subject>
<digiKam:TagsList><rdf:Seq><rdf:li>People/Carl</rdf:li></rdf:Seq></digiKam:TagsList>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()
_PICASA = (
    b"[a.png]\nfaces=rect64(3f845bcb59418507),8e62398ebda8c1a5;rect64(1),ff\nrotate=rotate(1)\n"
    b"[Contacts2]\n8e62398ebda8c1a5=Ann;;\n"
)
_HEAD = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'


def _texts(_: Path) -> Mapping[str, Seed]:
    hostile = {
        "bomb": b'<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>' + _HEAD + b"&b;",
        "file": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + _HEAD + b"&a;",
        "deep": _HEAD + b"<a>" * 100_000,
        "wide": _HEAD + b"<a/>" * 400_000,
        "long": b"x" * (17 << 20),
        "nul": b"\0" * 1000,
        "utf16": _XMP.decode().encode("utf-16"),
        "nothing": b"",
        "loop": _XMP.replace(b'rdf:about=""', b'rdf:about="" rdf:nodeID="a"'),
        "types": _XMP.replace(b"Ann", b'type="Struct" Ann'),
    }
    seeds = {"a.png.xmp": Seed(_XMP), ".picasa.ini": Seed(_PICASA)}
    for name, data in hostile.items():
        for suffix in ("xmp", "ini"):
            seeds[f"{name}.{suffix}"] = Seed(data, hostile=True)
    return seeds


def _read_text(path: Path, dice: Random) -> Action:
    place = path.with_name("a.png.xmp" if path.suffix == ".xmp" else ".picasa.ini")
    path.rename(place)
    return _both(place.with_name("a.png"), dice)


def _photos(_: Path) -> Mapping[str, Seed]:
    kinds = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tif", "AVIF": "avif"}
    return {f"a.{suffix}": Seed(_photo(kind)) for kind, suffix in kinds.items()}


def _photo(kind: str) -> bytes:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    more = {} if kind == "PNG" else {"xmp": _XMP}
    Pillow.new("RGB", (60, 40), "red").save(file, kind, exif=exif.tobytes(), **more)
    return file.getvalue()


def _both(photo: Path, dice: Random) -> Action:
    """Read its names, and write one into it or beside it."""
    from facerec.album.metadata.photo import read_metadata, write_regions
    from facerec.album.metadata.regions import Region

    where = dice.choice(("sidecar", "embedded"))

    def act() -> object:
        read_metadata(photo)
        return write_regions(photo, [Region("Zoe", (0.1, 0.1, 0.3, 0.5))], where)  # type: ignore[arg-type]

    return act


def _stage(folder: Path) -> None:
    (folder / "a.png").write_bytes(_photo("PNG"))


KINDS = (
    Kind("names", _texts, _read_text, TEXT, stage=_stage),
    Kind("named photos", _photos, _both, BINARY),
)
