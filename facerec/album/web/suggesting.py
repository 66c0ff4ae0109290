"""Suggestions for the page: "is this Anna?", one person after the other."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from facerec.album.decisions import read_decisions
from facerec.album.faces import read_columns
from facerec.album.known import NOBODY, Known
from facerec.album.records import FaceColumns, lasting_id
from facerec.album.regroup import known_of
from facerec.album.store import Album
from facerec.album.suggesting import Suggestion, suggestions
from facerec.album.web.answers import id_of  # noqa: F401
from facerec.album.web.library import Library

_SECONDS = 1.0
"""After which an answer goes out without more people looked at."""
_SHOWN = 6
"""Faces of a person, or of a group in question."""
