// "Is this Anna?": one face after the other, answered by keys.

import { chipOf, get } from "./api.js";
import { accept, reject } from "./decide.js";
import { announce } from "./dialogs.js";
import { button, called, day, element } from "./elements.js";
import { showPhoto } from "./photo.js";

const AHEAD = 30; // suggestions asked for at a time

const keyOf = (one) => `${one.face} ${one.person.id}`;

export function askView({ id }) {
  const skipped = new Set(); // for as long as this view lasts
  const answered = []; // that undo asks again, the last one last
  let queue = [], current = null, busy = false, complete = false;

  const question = element("h1", { id: "question", tabIndex: -1 }, "");
  const face = element("img", { className: "large", alt: "The face in question" });
  const when = element("figcaption", {});
  const known = element("div", { className: "known", role: "group" });
  const knownCaption = element("figcaption", {});
  const answer = (text, key, act, className = "") =>
    button(text, act, { className, "aria-keyshortcuts": key });
  const yes = answer("Yes", "a", () => decide(accept), "main");
  const no = answer("No", "r", () => decide(reject));
  const later = answer("Skip", "s", () => skip());
  for (const [one, key] of [[yes, "a"], [no, "r"], [later, "s"]])
    one.append(element("kbd", { "aria-hidden": "true" }, key));
  const photo = button("Photo", () => showPhoto(current.photo, current.face));
  const body = element("div", { className: "pair" },
    element("figure", {}, face, when), element("figure", {}, known, knownCaption));
  const choices = element("div", { className: "answers" }, yes, no, later, photo);
  const node = element("section", { className: "ask", "aria-labelledby": "question" },
    question, body, choices);

  async function fill() {
    const values = { limit: AHEAD + skipped.size };
    if (id !== null) values.person = id;
    const { items } = await get("suggestions", values);
    complete = items.length < values.limit;
    queue = items.filter((one) => !skipped.has(keyOf(one)));
  }

  async function next() {
    if (!queue.length && !complete) await fill();
    current = queue.shift() ?? null;
    show();
  }

  function show() {
    body.hidden = choices.hidden = !current;
    if (!current) {
      question.textContent = skipped.size ? "Nothing left but what was skipped" : "No suggestions";
    } else {
      const name = called(current.person);
      question.textContent = `Is this ${name}?`;
      face.src = chipOf(current.face);
      when.textContent = [day(current.taken), `similarity ${current.similarity.toFixed(2)}`]
        .filter(Boolean).join(" · ");
      known.setAttribute("aria-label", `Faces of ${name}`);
      known.replaceChildren(...current.examples.map((one) =>
        element("img", { src: chipOf(one), alt: "" })));
      knownCaption.textContent = name;
    }
    // So that Space skips, and a screen reader reads the next question.
    question.focus({ preventScroll: true });
  }

  async function decide(act) {
    if (!current || busy) return;
    busy = true;
    const asked = current;
    try {
      if (await act(asked.face, asked.person)) {
        answered.push(asked);
        // Whose face it is answers every other question about it.
        if (act === accept) queue = queue.filter((one) => one.face !== asked.face);
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

  async function restart() {
    complete = false;
    await fill();
    current = queue.shift() ?? null;
    show();
  }

  return {
    node, title: "Suggestions", start: restart, stop() {},
    // An answer goes on by itself; what was taken back is asked again.
    changed(path) {
      if (path !== "undo") return;
      if (!answered.length) return restart();
      if (current) queue.unshift(current);
      current = answered.pop();
      show();
    },
    keys: { a: () => decide(accept), r: () => decide(reject), s: skip, " ": skip,
      p: () => current && showPhoto(current.photo, current.face) },
  };
}
