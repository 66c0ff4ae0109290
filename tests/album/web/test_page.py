"""`facerec album web` in a real browser."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")

from facerec.album.decisions import (
    confirm_faces,
    merge_people,
    name_person,
    read_decisions,
)
from facerec.album.faces import read_faces
from facerec.album.journal import undo_step
from facerec.album.people import read_people
from facerec.album.store import open_album
from tests.album.made import Group, make_album, real_photo
from tests.album.web.conftest import Open, served

GROUPS = (Group(60, "Anna"), Group(25, "Ben"), Group(9, "Zoë"), Group(7), Group(3, nobody=True))

PHONE = {"viewport": {"width": 360, "height": 700}, "has_touch": True, "is_mobile": True}


@pytest.fixture
def album(tmp_path: Path) -> Path:
    return make_album(tmp_path / "album.db", GROUPS)


@pytest.fixture
def address(album: Path) -> Iterator[str]:
    with served(album) as url:
        yield url


def people(album: Path) -> dict[str, int]:
    with open_album(album, write=False) as opened:
        return {one.label: one.faces for one in read_people(opened)}


def card(page: Any, name: str) -> Any:
    return page.get_by_role("option", name=re.compile(f"^{name},"))


def focused(page: Any, name: str) -> None:
    """Waits until the focus is on a card."""
    page.locator(f".card:focus[aria-label^='{name},']").wait_for()


def until(page: Any, holds: str) -> None:
    """Waits for JavaScript to hold; the page's own policy forbids `wait_for_function`."""
    end = time.monotonic() + 20
    while not page.evaluate(holds):
        assert time.monotonic() < end, holds
        page.wait_for_timeout(20)


def said(page: Any, text: str) -> None:
    """Waits until a screen reader would be told."""
    page.get_by_role("status").filter(has_text=text).wait_for()


def test_people_are_shown_by_number_of_faces_and_found_by_name(address: str, tab: Open):
    page = tab(address)
    card(page, "Anna").wait_for()
    assert page.get_by_role("option").evaluate_all("all => all.map(one => one.ariaLabel)") == [
        "Anna, 60 faces, 2001–2020", "Ben, 25 faces, 2001–2020", "Zoë, 9 faces, 2007–2015",
        "person-0004, 7 faces, 2001–2020",
    ]  # fmt: skip
    until(page, "document.querySelector('.card img').naturalWidth > 0")
    page.get_by_role("searchbox").fill("zoe")
    card(page, "Anna").wait_for(state="detached")
    assert page.get_by_role("option").count() == 1
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Zoë").wait_for()
    assert page.get_by_role("option").count() == 9


def test_somebody_is_named_by_keyboard_and_unnamed_again(address: str, tab: Open, album: Path):
    page = tab(address + "#/unnamed")
    card(page, "person-0004").wait_for()
    page.keyboard.press("n")
    page.get_by_role("dialog", name="Who is person-0004?").wait_for()
    page.keyboard.type("Dörte")
    page.keyboard.press("Enter")
    said(page, "person-0004 is now Dörte")
    assert people(album)["Dörte"] == 7
    page.get_by_text("Nobody here yet").wait_for()
    page.keyboard.press("Control+z")
    said(page, "Taken back: name person-0004 Dörte")
    card(page, "person-0004").wait_for()
    assert people(album) == {"Anna": 60, "Ben": 25, "Zoë": 9, "person-0004": 7}


def test_a_name_that_is_somebody_s_asks_whether_they_are_one(address: str, tab: Open, album: Path):
    page = tab(address + "#/person/4")
    page.get_by_role("button", name="Name", exact=True).click()
    page.keyboard.type("Anna")
    page.keyboard.press("Enter")
    asked = page.get_by_role("dialog", name="Merge into Anna?")
    asked.wait_for()
    page.keyboard.press("Escape")
    asked.wait_for(state="detached")
    assert people(album)["Anna"] == 60
    page.keyboard.press("n")
    page.keyboard.type("Anna")
    page.keyboard.press("Enter")
    asked.get_by_role("button", name="Merge").click()
    said(page, "person-0004 merged into Anna")
    assert people(album) == {"Anna": 67, "Ben": 25, "Zoë": 9}
    page.get_by_role("heading", name="Anna").wait_for()


def test_people_are_merged_by_drag_and_taken_apart_by_undo(address: str, tab: Open, album: Path):
    page = tab(address)
    card(page, "person-0004").drag_to(card(page, "Ben"))
    page.get_by_role("dialog", name="Merge into Ben?").get_by_role("button", name="Merge").click()
    said(page, "person-0004 merged into Ben")
    card(page, "person-0004").wait_for(state="detached")
    assert people(album)["Ben"] == 32
    page.get_by_role("button", name="Undo").last.click()
    card(page, "person-0004").wait_for()
    assert people(album)["Ben"] == 25


def test_people_are_merged_by_keyboard_alone(address: str, tab: Open, album: Path):
    page = tab(address)
    focused(page, "Anna")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("End")
    page.keyboard.press("Space")
    page.keyboard.press("m")
    asked = page.get_by_role("dialog", name="Merge 2 people: who stays?")
    assert asked.get_by_role("radio").first.is_checked()
    page.keyboard.press("Enter")
    said(page, "person-0004 merged into Ben")
    assert people(album) == {"Anna": 60, "Ben": 32, "Zoë": 9}
    focused(page, "Zoë")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("m")
    page.get_by_role("dialog", name="Merge Ben into whom?").wait_for()
    page.keyboard.type("zoë")
    page.keyboard.press("Enter")
    said(page, "Ben merged into Zoë")
    assert people(album) == {"Anna": 60, "Zoë": 41}


def test_faces_are_confirmed_rejected_and_split_off(address: str, tab: Open, album: Path):
    page = tab(address + "#/person/4")
    page.get_by_role("option").nth(6).wait_for()
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    page.get_by_text("2 selected").wait_for()
    page.keyboard.press("c")
    said(page, "2 faces confirmed")
    page.get_by_role("option", name="confirmed").nth(1).wait_for()
    page.get_by_role("option").nth(3).click(modifiers=["Control"])
    page.get_by_role("button", name="Not this person").click()
    said(page, "1 face not person-0004")
    page.get_by_role("option").nth(6).wait_for(state="detached")
    page.get_by_role("option").nth(4).click(modifiers=["Control"])
    page.get_by_role("button", name="Split off").click()
    said(page, "1 face is now")
    assert people(album)["person-0004"] == 5
    for _ in range(3):
        before = page.get_by_role("button", name="Undo").first.get_attribute("aria-label")
        page.keyboard.press("u")
        until(page, f"document.getElementById('undo').ariaLabel !== {before!r}")
    page.get_by_role("option").nth(6).wait_for()
    assert people(album) == {"Anna": 60, "Ben": 25, "Zoë": 9, "person-0004": 7}
    with open_album(album, write=False) as opened:
        assert not any(face.confirmed for face in read_faces(opened, [4]))
    assert page.locator("#undo").is_disabled()


def test_a_screen_reader_finds_views_people_and_what_is_selected(address: str, tab: Open):
    page = tab(address)
    focused(page, "Anna")
    page.keyboard.press("Space")
    told = page.locator("body").aria_snapshot()
    for line in (
        '- link "Skip to content"', '- navigation "Views"', '- link "People"',
        '- searchbox "Find people by name"', '- button "Nothing to undo" [disabled]',
        "- main", '- heading "People" [level=1]', '- listbox "People"',
        '- option "Anna, 60 faces, 2001–2020" [selected]', '- option "Ben, 25 faces, 2001–2020"',
        '- button "Merge"', "- status",
    ):  # fmt: skip
        assert line in told, told
    place = page.get_by_role("option", selected=True)
    assert place.get_attribute("aria-setsize") == "4"
    assert place.get_attribute("aria-posinset") == "1"
    assert place.evaluate("one => one === document.activeElement")


def test_what_another_program_did_is_taken_back_only_when_asked(
    address: str, tab: Open, album: Path
):
    with open_album(album) as opened:
        name_person(opened, 4, "Carl")
    page = tab(address)
    focused(page, "Anna")
    page.keyboard.press("u")
    asked = page.get_by_role("dialog", name="Take back an earlier step?")
    asked.get_by_text("name person-0004 Carl").wait_for()
    page.keyboard.press("Escape")
    asked.wait_for(state="detached")
    assert people(album)["Carl"] == 7
    page.keyboard.press("u")
    asked.get_by_role("button", name="Undo").click()
    said(page, "Taken back: name person-0004 Carl")
    assert people(album)["person-0004"] == 7


def test_single_letters_can_be_switched_off(address: str, tab: Open):
    page = tab(address)
    card(page, "Anna").wait_for()
    page.get_by_role("button", name="Keys and help").click()
    page.get_by_label("single-letter keys").uncheck()
    page.get_by_role("button", name="Close").click()
    card(page, "Anna").focus()
    page.keyboard.press("n")
    assert page.get_by_role("dialog").count() == 0
    page.get_by_role("button", name="Keys and help").click()
    page.get_by_label("single-letter keys").check()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for(state="detached")
    card(page, "Anna").focus()
    page.keyboard.press("n")
    page.get_by_role("dialog", name="Rename Anna").wait_for()


@pytest.mark.slow
def test_five_thousand_people_are_scrolled_with_few_elements(tmp_path: Path, tab: Open):
    path = make_album(tmp_path / "album.db", [Group(n) for n in (60, 50, 40, *[1] * 4997)])
    with served(path) as address:
        page = tab(address)
        card(page, "person-0001").wait_for()
        main = page.locator("#main")
        seen = set()
        for step in range(12):
            main.evaluate("(main, to) => { main.scrollTop = to * main.scrollHeight; }", step / 11)
            page.wait_for_timeout(50)  # for the event of scrolling, which comes with a frame
            until(page, "!document.querySelector('.leaping, .card.empty')")
            seen.add(page.locator(".card b").last.inner_text())
            assert page.locator("#main *").count() < 1200
        assert len(seen) == 12
        card(page, "person-5000").wait_for()
        until(
            page, "[...document.querySelectorAll('.card img')].every(one => one.naturalWidth > 0)"
        )
        card(page, "person-5000").focus()
        page.keyboard.press("Home")
        card(page, "person-0001").wait_for()
        page.locator("#main").evaluate("main => { main.scrollTop = 20000; }")
        page.wait_for_timeout(200)
        page.set_viewport_size({"width": 700, "height": 900})
        page.wait_for_timeout(200)
        focused(page, "person-0001")  # out of sight
        page.keyboard.press("ArrowRight")
        focused(page, "person-0002")
        page.keyboard.press("PageDown")
        assert page.locator(":focus").get_attribute("aria-posinset") not in (None, "1")
        page.close()


def test_a_phone_and_who_wants_no_motion_get_the_same_page(address: str, tab: Open):
    page = tab(address, **PHONE, reduced_motion="reduce", color_scheme="dark")
    card(page, "Anna").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.get_by_role("option").first.bounding_box()["width"] > 100
    card(page, "Anna").tap()
    page.get_by_role("heading", name="Anna").wait_for()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"


CONTRAST = """() => {
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [[r, 0.2126], [g, 0.7152], [b, 0.0722]].map(([value, weight]) => {
    const share = value / 255;
    return weight * (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
  }).reduce((sum, one) => sum + one);
  const ground = one => {
    for (; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
  };
  return [...document.querySelectorAll('a, button, h1, h2, p, b, span, label, dt, dd, legend')]
    .filter(one => one.offsetParent && one.innerText.trim() && !one.matches(':disabled, .unseen'))
    .map(one => {
      const [a, b] = [light(parse(getComputedStyle(one).color)), light(ground(one))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.outerHTML.slice(0, 80)];
    }).sort((one, other) => one[0] - other[0])[0];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", ["people", "person/1", "person/4", "ask", "loose"])
def test_text_contrasts_with_its_ground(address: str, tab: Open, scheme: str, view: str):
    page = tab(f"{address}#/{view}", color_scheme=scheme)
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_timeout(200)
    assert page.evaluate(CONTRAST)[0] >= 4.5, page.evaluate(CONTRAST)
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    assert page.evaluate(CONTRAST)[0] >= 4.5, page.evaluate(CONTRAST)


def test_a_name_is_text_whatever_it_says(tmp_path: Path, tab: Open):
    name = "<img src=x onerror=alert(1)>\"'&amp; שרה"
    with served(make_album(tmp_path / "album.db", [Group(3, name)])) as address:
        page = tab(address)
        page.get_by_text(name).wait_for()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name=name).wait_for()
        page.close()


def test_a_photo_is_looked_at_with_its_boxes(album: Path, tmp_path: Path, tab: Open):
    real_photo(tmp_path / "photo.jpg", album, 1)
    with served(album) as address:
        page = tab(address + "#/person/1")
        page.get_by_role("option", name="Face, 2002-02-15").click()
        shown = page.get_by_role("dialog", name="Photo")
        shown.get_by_role("img", name="Photo with Anna").wait_for()
        until(page, "document.querySelector('.frame img').naturalWidth === 1600")
        photo, box = (shown.locator(one).bounding_box() for one in (".frame", ".box.current"))
        scale = photo["width"] / 2400
        assert abs(box["x"] - photo["x"] - 200 * scale) < 1
        assert abs(box["y"] - photo["y"] - 100 * scale) < 1
        assert abs(box["height"] - 120 * scale) < 1
        assert photo["width"] <= 1200
        shown.get_by_role("link", name="Anna").click()
        shown.wait_for(state="detached")
        page.close()


def test_going_back_closes_a_photo_alone(album: Path, tmp_path: Path, tab: Open):
    real_photo(tmp_path / "photo.jpg", album, 1)
    with served(album) as address:
        page = tab(address, **PHONE)
        card(page, "Anna").tap()
        face = page.get_by_role("option", name="Face, 2002-02-15")
        shown = page.get_by_role("dialog")
        for _ in range(2):
            face.tap()
            shown.wait_for()
            page.go_back()
            shown.wait_for(state="detached")
            assert page.url == address + "#/person/1"
            page.get_by_role("heading", name="Anna").wait_for()
        face.tap()
        shown.get_by_role("button", name="Close").tap()
        shown.wait_for(state="detached")
        until(page, "history.state === null")
        page.go_back()
        page.get_by_role("heading", name="People").wait_for()
        page.close()


def test_who_is_in_a_photo_takes_its_place_in_the_history(album: Path, tmp_path: Path, tab: Open):
    real_photo(tmp_path / "photo.jpg", album, 102)
    with served(album) as address:
        page = tab(address + "#/loose")
        page.get_by_role("option").first.wait_for()
        with open_album(album) as opened:
            confirm_faces(opened, [102], 1)
        asked = page.locator("main .card").evaluate_all("all => all.map(one => one.item?.photo)")
        page.get_by_role("option").nth(asked.index(102)).click()
        page.get_by_role("dialog").get_by_role("link", name="Anna").click()
        page.get_by_role("heading", name="Anna").wait_for()
        assert page.get_by_role("dialog").count() == 0
        page.go_back()
        page.get_by_role("heading", name="Ungrouped").wait_for()
        page.close()


def test_going_back_cancels_a_question(address: str, tab: Open, album: Path):
    page = tab(address)
    card(page, "Anna").click()
    page.get_by_role("heading", name="Anna").wait_for()
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("dialog").locator("input").fill("Somebody")
    page.go_back()
    page.get_by_role("dialog").wait_for(state="detached")
    assert page.url == address + "#/person/1"
    assert people(album)["Anna"] == 60


def test_a_long_name_leaves_room_for_the_faces_on_a_phone(tmp_path: Path, tab: Open):
    name = "Maximiliane " * 80
    with served(make_album(tmp_path / "album.db", [Group(30, name.strip())])) as address:
        page = tab(address + "#/person/1", **PHONE)
        page.get_by_role("option").first.wait_for()
        assert page.locator(".bar").bounding_box()["height"] < 250
        assert page.get_by_role("heading").get_attribute("title") == name.strip()
        page.close()


def test_nobody_s_address_leads_to_the_people(address: str, tab: Open):
    page = tab(address + "#/person/9999", refused=True)
    page.get_by_role("heading", name="People").wait_for()
    said(page, "there is no person-9999 with faces")
    assert page.url == address + "#/people"
    card(page, "Anna").click()
    page.get_by_role("heading", name="Anna").wait_for()


def test_who_has_moved_on_is_not_called_back(address: str, tab: Open, album: Path):
    with open_album(album) as opened:
        merge_people(opened, [4], 1)
    page = tab(address)
    card(page, "Anna").wait_for()
    slow = []
    page.route("**/api/people/4", lambda route: slow.append(route))
    page.evaluate("location.hash = '#/person/4'")
    page.get_by_role("option", name="Face").first.wait_for(state="detached")
    while not slow:
        page.wait_for_timeout(20)
    page.evaluate("location.hash = '#/unnamed'")
    page.get_by_role("heading", name="Unnamed").wait_for()
    with page.expect_response("**/api/people/4"):
        slow[0].continue_()
    page.wait_for_timeout(100)
    assert page.url == address + "#/unnamed"


def test_beyond_this_machine_the_printed_address_opens_the_page(album: Path, tab: Open):
    with served(album, token="abcdef") as address:
        page = tab(address + "?token=abcdef")
        card(page, "Anna").wait_for()
        assert page.url == address + "#/" or page.url == address
        page.reload()
        card(page, "Anna").wait_for()


@pytest.fixture
def asking(tmp_path: Path) -> Path:
    """Two faces of nobody and a group without a name that look like Anna."""
    alike = (Group(2, nobody=True, like=0), Group(5, like=0))
    return make_album(tmp_path / "album.db", (Group(9, "Anna"), Group(4, "Ben"), *alike))


def test_suggestions_are_accepted_rejected_and_skipped_by_keys(asking: Path, tab: Open):
    with served(asking) as address:
        page = tab(address + "#/ask")
        question = page.get_by_role("heading", level=1)
        question.filter(has_text="Anna?").wait_for()
        asked, answers = set(), {"Is this Anna?": ["a", "r"], "Are these Anna?": ["Space"]}
        for _ in range(3):
            asked.add(question.inner_text())
            before = page.locator("figcaption").first.inner_text()
            page.keyboard.press(answers[question.inner_text()].pop(0))
            until(
                page, f"document.querySelector('figcaption').innerText !== {before!r}"
                " || document.querySelector('h1').innerText.startsWith('Nothing')",
            )  # fmt: skip
        assert asked == set(answers)
        page.get_by_role("heading", name="Nothing left but what was skipped").wait_for()
        assert people(asking) == {"Anna": 10, "person-0004": 5, "Ben": 4}
        page.keyboard.press("u")
        said(page, "Taken back: reject face")
        question.filter(has_text="Is this Anna?").wait_for()
        page.keyboard.press("u")
        said(page, "Taken back: confirm face")
        assert people(asking)["Anna"] == 9
        page.close()


def test_a_group_that_is_somebody_joins_them_or_is_told_apart(asking: Path, tab: Open):
    with served(asking) as address:
        page = tab(address + "#/ask/1")
        while page.get_by_role("heading", level=1).inner_text() != "Are these Anna?":
            page.keyboard.press("s")
            page.wait_for_timeout(50)
        page.get_by_role("button", name="Yes").click()
        said(page, "Yes, Anna")
        assert people(asking) == {"Anna": 14, "Ben": 4}
        page.keyboard.press("u")
        page.get_by_role("heading", name="Are these Anna?").wait_for()
        page.get_by_role("button", name="No", exact=True).click()
        said(page, "Not Anna")
        assert people(asking) == {"Anna": 9, "person-0004": 5, "Ben": 4}
        with open_album(asking, write=False) as opened:
            assert read_decisions(opened).different == {(1, 4)}
        page.close()


def test_a_refused_undo_asks_nothing_again(asking: Path, tab: Open):
    with served(asking) as address:
        page = tab(address + "#/ask", refused=True)
        first = page.locator(".faces img").first
        first.wait_for()
        answered = first.get_attribute("src")
        page.keyboard.press("r")
        until(page, f"document.querySelector('.faces img').getAttribute('src') !== {answered!r}")
        with open_album(asking) as opened:
            name_person(opened, 2, "Benno")
        page.keyboard.press("u")
        said(page, "the album was changed meanwhile")
        page.wait_for_timeout(100)
        assert page.locator(".faces img").first.get_attribute("src") != answered
        with open_album(asking) as opened:
            undo_step(opened)
        page.reload()
        page.close()


def test_an_answer_that_was_taken_back_elsewhere_is_not_mistaken_for_another(
    asking: Path, tab: Open
):
    with served(asking) as address:
        page = tab(address + "#/ask", refused=True)
        first, questions = page.locator(".faces img").first, []
        for _ in range(2):
            first.wait_for()
            questions.append(first.get_attribute("src"))
            page.keyboard.press("r")
            said(page, "Not Anna")
            until(page, f"document.querySelector('img')?.getAttribute('src') !== {questions[-1]!r}")
        with open_album(asking) as opened:
            undo_step(opened)
        page.keyboard.press("u")
        said(page, "the album was changed meanwhile")
        page.keyboard.press("u")
        said(page, "Taken back")
        page.locator(f".faces img[src='{questions[0]}']").wait_for()
        page.close()
