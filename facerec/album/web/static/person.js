// A person's faces by time, or the faces that are nobody's yet.

import { chipOf, get } from "./api.js";
import {
  confirmFaces, confirmPerson, mergeNamed, moveFaces, namePerson, rejectFaces, splitFaces,
} from "./decide.js";
import { tell } from "./dialogs.js";
import { button, called, count, day, element, years } from "./elements.js";
import { Grid } from "./grid.js";
import { Pages } from "./pages.js";
import { showPhoto } from "./photo.js";

const HINT = "Arrow keys move, Shift extends, Space selects, Enter shows the photo.";

function show(card, face) {
  const date = day(face.taken) || "undated";
  card.picture.src = chipOf(face.face);
  card.classList.toggle("confirmed", face.confirmed);
  card.words.replaceChildren(element("span", {}, date,
    element("b", { className: "mark" }, face.confirmed ? " ✓" : "")));
  card.setAttribute("aria-label", face.confirmed ? `Face, ${date}, confirmed` : `Face, ${date}`);
}

export function personView({ scroller, id }) {
  const loose = id === null;
  const source = new Pages(loose ? "loose" : `people/${id}/faces`);
  const grid = new Grid({
    scroller, source, smallest: 104, caption: 24, show, label: "Faces by time", hint: HINT,
    keyOf: (face) => face.face,
    open: (face) => showPhoto(face.photo, face.face),
  });
  const title = element("h1", {}, loose ? "Ungrouped" : "");
  const note = element("span", { className: "note" });
  const chosen = element("span", { className: "note" });
  const faces = () => [...grid.selected.keys()];
  let person = null;
  let shown = true; // until another view takes its place

  const name = button("Name", () => namePerson(person), { className: "main" });
  const about = element("div", { className: "tools", hidden: true });
  const each = element("div", { className: "tools", hidden: true });
  const split = button("Split off", () => splitFaces(faces()), { title: "They are one new person" });
  const move = button("Who is this?", () => moveFaces(faces()));
  if (loose) each.append(chosen, split, move);
  else {
    about.append(
      name,
      button("Merge into", () => mergeNamed(person)),
      button("Confirm all", () => confirmPerson(person)),
      element("a", { href: `#/ask/${id}`, className: "button" }, "Suggestions"));
    each.append(chosen,
      button("Confirm", () => confirmFaces(faces(), person)),
      button("Not this person", () => rejectFaces(faces(), person)), split, move);
  }
  each.append(button("Clear", () => { grid.clear(); grid.focus(); }));
  const nothing = element("p", { className: "nothing", hidden: true },
    loose ? "Every face is in a group." : "No faces.");
  const node = element("section", {},
    element("div", { className: "bar" }, title, note, about, each), grid.host, nothing);

  grid.selecting = (chosenFaces) => {
    each.hidden = !chosenFaces.length;
    about.hidden = !person || chosenFaces.length > 0;
    chosen.textContent = `${chosenFaces.length} selected`;
  };
  const layout = source.changed;
  source.changed = () => {
    nothing.hidden = source.total > 0;
    grid.host.hidden = source.total === 0;
    if (loose) note.textContent = count(source.total, "face");
    layout();
  };
  async function read() {
    if (loose) return;
    person = await get(`people/${id}`);
    if (!shown) return;
    // Merged: the id means another by now.
    if (person.id !== id) return location.replace(`#/person/${person.id}`);
    title.textContent = title.title = called(person);
    about.hidden = grid.selected.size > 0;
    name.textContent = person.name === null ? "Name" : "Rename";
    document.title = `${called(person)} – facerec album`;
    const parts = [count(person.faces, "face"), `${person.confirmed.toLocaleString()} confirmed`,
      years(person.first, person.last)];
    note.textContent = parts.filter(Boolean).join(" · ");
  }
  // Of somebody who is not there, or has no face left, as before the step that was taken back.
  function leave(error) {
    if (error.status !== 404) throw error;
    if (shown) location.replace("#/people");
  }
  return {
    node, title: title.textContent, grid,
    async start() {
      try {
        await Promise.all([read(), grid.start()]);
      } catch (error) {
        leave(error);
        tell(error.message);
      }
    },
    stop() {
      shown = false;
      grid.stop();
    },
    async changed() {
      grid.clear();
      try {
        await read();
      } catch (error) {
        return leave(error);
      }
      if (shown) await grid.refresh();
    },
    keys: {
      n: () => (loose ? faces().length && moveFaces(faces()) : person && namePerson(person)),
      m: () => person && mergeNamed(person),
      c: () => person && faces().length && confirmFaces(faces(), person),
      r: () => person && faces().length && rejectFaces(faces(), person),
      x: () => faces().length && splitFaces(faces()),
    },
  };
}
