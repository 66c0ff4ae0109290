// "Is this Anna?": one face or group after the other, answered by keys.

import { chipOf, get } from "./api.js";
import { accept, reject } from "./decide.js";
import { announce } from "./dialogs.js";
import { button, called, count, day, element } from "./elements.js";
import { showPhoto } from "./photo.js";

const AHEAD = 30; // suggestions asked for at a time

const keyOf = ({ group, faces, person }) => `${group ?? "face"} ${group ?? faces[0]} ${person.id}`;

export function askView({ id }) {
  const skipped = new Set(); // for as long as this view lasts
  const answered = []; // with the step of each, which undo asks again; the last one last
  let queue = [], current = null, busy = false;
  let after = null, complete = false; // which people were looked at

  const question = element("h1", { id: "question", tabIndex: -1 }, "Looking for suggestions …");
  const unknown = element("div", { className: "faces", role: "group", "aria-label": "In question" });
  const when = element("figcaption", {});
  const known = element("div", { className: "faces", role: "group" });
  const knownCaption = element("figcaption", {});
  const answer = (text, key, act, className = "") => {
    const made = button(text, act, { className, "aria-keyshortcuts": key });
    made.append(element("kbd", { "aria-hidden": "true" }, key));
    return made;
  };
  const choices = element("div", { className: "answers", hidden: true },
    answer("Yes", "a", () => decide(accept), "main"), answer("No", "r", () => decide(reject)),
    answer("Skip", "s", () => skip()),
    answer("Photo", "p", () => showPhoto(current.photo, current.faces[0])));
  const body = element("div", { className: "pair", hidden: true },
    element("figure", {}, unknown, when), element("figure", {}, known, knownCaption));
  const node = element("section", { className: "ask", "aria-labelledby": "question" },
    question, body, choices);

  // Asks about one person after the other, until there is something to ask.
  async function fill() {
    while (!queue.length && !complete) {
      const values = { limit: AHEAD + skipped.size };
      if (id !== null) values.person = id;
      else if (after !== null) values.after = after;
      const found = await get("suggestions", values);
      queue = found.items.filter((one) => !skipped.has(keyOf(one)));
      complete = found.complete && !queue.length;
      // Who had questions is asked about again: each answer tells more.
      if (!queue.length) after = found.last;
    }
  }

  async function next() {
    await fill();
    current = queue.shift() ?? null;
    show();
  }

  const pictures = (faces) =>
    faces.map((face) => element("img", { src: chipOf(face), alt: "" }));

  function show() {
    body.hidden = choices.hidden = !current;
    if (!current) {
      question.textContent = skipped.size ? "Nothing left but what was skipped" : "No suggestions";
    } else {
      const name = called(current.person), many = current.count > 1;
      question.textContent = many ? `Are these ${name}?` : `Is this ${name}?`;
      unknown.classList.toggle("one", !many);
      unknown.replaceChildren(...pictures(current.faces));
      when.textContent = [many ? count(current.count, "face") : day(current.taken),
        `similarity ${current.similarity.toFixed(2)}`,
        current.probability === null ? "" : `probability ${percent(current.probability)}`,
      ].filter(Boolean).join(" · ");
      known.setAttribute("aria-label", `Faces of ${name}`);
      known.classList.toggle("one", current.examples.length === 1);
      known.replaceChildren(...pictures(current.examples));
      knownCaption.textContent = name;
    }
    // So that Space skips, and a screen reader reads the next question.
    question.focus({ preventScroll: true });
  }

  async function decide(act) {
    if (!current || busy) return;
    busy = true;
    try {
      const done = await act(current);
      if (done) {
        if (done.step !== null) answered.push({ question: current, step: done.step });
        // Who is in a photo is there once.
        if (act === accept) queue = queue.filter((one) => one.photo !== current.photo);
        await next();
      } else await restart();
    } finally {
      busy = false;
    }
  }

  function skip() {
    if (!current || busy) return;
    skipped.add(keyOf(current));
    announce("Skipped");
    return next();
  }

  function restart() {
    queue = [];
    after = null;
    complete = false;
    return next();
  }

  return {
    node, title: "Suggestions", start: restart, stop() {},
    // An answer goes on by itself; what was taken back is asked again.
    changed(path, done) {
      if (path !== "undo") return;
      const place = answered.findIndex(({ step }) => step === done?.step);
      if (place < 0) return restart();
      if (current) queue.unshift(current);
      current = answered[place].question;
      answered.length = place;
      show();
    },
    keys: { a: () => decide(accept), r: () => decide(reject), s: skip, " ": skip,
      p: () => current && showPhoto(current.photo, current.faces[0]) },
  };
}

/** A probability, never as certain. */
function percent(share) {
  if (share >= 0.9995) return "> 99.9 %";
  return share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
}
