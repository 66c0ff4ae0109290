"""Plain lists of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from facerec.errors import UsageError
from facerec.evaluation.protocols.pairs import Pair, PairProtocol, build_protocol
from facerec.evaluation.protocols.rows import image_key, read_rows
from facerec.files.text import decode_text
from facerec.imaging.belonging import levels_of, make_rule
from facerec.registry import PROTOCOLS

_YES_NO = {"1": True, "0": False, "-1": False, "true": True, "false": False}
# pandas writes whole numbers so where one is missing.
_YES_NO |= {"1.0": True, "0.0": False, "-1.0": False}


@PROTOCOLS.register(
    "pairs",
    help="Any list: two images a line, and 1 for the same person or 0.",
    lists=("pairs.txt", "pairs.csv"),
    by_folder=True,
)
def read_pair_list(
    data: bytes, where: str, name: str = "pairs", level: str = "auto"
) -> PairProtocol:
    """Lines `image1 image2` or `image1 image2 same`, separated by tabs, commas or spaces.

    Without the third column the images' folders say whether they show one person, as in
    `person/photo.jpg`, see `facerec.imaging.belonging`. Comments and a heading are skipped, see
    `read_rows`.

    Args:
        level: which folder names a person, see `data.person_level`.

    Raises:
        UsageError: a line has another form.
    """
    rows: list[tuple[str, str, bool | None]] = []
    for row in read_rows(decode_text(data, where), where):
        parts = [*map(image_key, row.columns[:2]), *row.columns[2:]]
        if len(parts) == 3 and parts[2].lower() in _YES_NO:
            rows.append((parts[0], parts[1], _YES_NO[parts[2].lower()]))
        elif len(parts) != 2:
            raise UsageError(f"{row.where}: expected 'image1 image2 [0|1]', not {row.line[:60]!r}")
        elif not all("/" in part for part in parts):
            raise UsageError(
                f"{row.where}: two columns need person/photo paths; add a third, 1 for one person"
            )
        else:
            rows.append((parts[0], parts[1], None))
    same = _same_people([(one, two) for one, two, known in rows if known is None], level)
    pairs = [Pair(one, two, next(same) if known is None else known) for one, two, known in rows]
    return build_protocol(name, pairs, None, where)


def _same_people(pairs: Sequence[tuple[str, str]], level: str) -> Iterator[bool]:
    rule = make_rule(level, levels_of([key for pair in pairs for key in pair]), packed=True)

    def person(key: str) -> str | None:
        *folders, file = key.split("/")
        return rule.name(folders, file)

    return (person(one) == person(two) for one, two in pairs)
