"""Lists that people and their tables write: rows of columns."""

from __future__ import annotations

import csv
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a list.

    Attributes:
        where: file and number of the line.
        line: the line itself, for a message.
        columns: at least one.
    """

    where: str
    line: str
    columns: list[str]


def read_rows(text: str, where: str) -> list[Row]:
    """The lines of a list, without empty ones, those that begin with `#`, and a heading.

    A heading, as tables are written with, is a first line that begins with no image where all
    others do.
    """
    rows = [
        Row(f"{where}:{number}", line.strip(), split_columns(line.strip()))
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]
    begins = [_is_path(row.columns[0]) for row in rows]
    return rows[1:] if len(rows) > 1 and not begins[0] and all(begins[1:]) else rows


def split_columns(line: str) -> list[str]:
    """The columns of a line: by tabs or commas, as in CSV, where it has some, else by spaces."""
    separator = next((mark for mark in ("\t", ",") if mark in line), None)
    if separator is None:
        return line.split()
    (columns,) = csv.reader([line], delimiter=separator, skipinitialspace=True)
    return [column.strip() for column in columns]


def image_key(column: str) -> str:
    """An image's name in a list; a path of Windows, without any `/`, gets it."""
    return column if "/" in column else column.replace("\\", "/")


def _is_path(column: str) -> bool:
    return "/" in image_key(column) or "." in column
