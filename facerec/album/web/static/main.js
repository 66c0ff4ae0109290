// Which view is shown, and keys.

import { Refused } from "./api.js";
import { askView } from "./ask.js";
import { readState, undo, whenChanged } from "./decide.js";
import { ask, tell } from "./dialogs.js";
import { element } from "./elements.js";
import { peopleView } from "./people.js";
import { personView } from "./person.js";

const main = document.getElementById("main");
const find = document.getElementById("find");
let view = null;
const places = new Map(); // where each view was scrolled to

function make() {
  const [name = "people", id] = location.hash.replace(/^#\/?/, "").split("/");
  const scroller = main;
  const number = /^\d+$/.test(id ?? "") ? Number(id) : null;
  if (name === "person" && number !== null) return personView({ scroller, id: number });
  if (name === "ask") return askView({ id: number });
  if (name === "loose") return personView({ scroller, id: null });
  const kind = name === "unnamed" ? "unnamed" : "all";
  return peopleView({ scroller, kind, find: kind === "all" ? find.value.trim() : "" });
}

function markNavigation() {
  const shown = location.hash.replace(/^#\/?/, "").split("/")[0] || "people";
  for (const link of document.querySelectorAll("nav a"))
    if (link.dataset.view === shown) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
}

let shownPlace = "";

async function show({ focus = true } = {}) {
  if (view) {
    places.set(shownPlace, { top: main.scrollTop, current: view.grid?.current ?? 0 });
    view.stop();
  }
  shownPlace = location.hash + "?" + find.value;
  view = make();
  const mine = view;
  markNavigation();
  document.title = `${view.title || "facerec album"} – facerec album`;
  main.replaceChildren(view.node);
  main.scrollTop = 0;
  await view.start();
  const kept = places.get(shownPlace);
  if (view !== mine) return;
  if (kept && view.grid) {
    view.grid.current = kept.current;
    main.scrollTop = kept.top;
    view.grid.draw(true);
  }
  if (!focus) return;
  if (view.grid?.source.total) view.grid.go(kept?.current ?? 0);
  else if (view.grid) main.focus({ preventScroll: true });
}

function failed(error) {
  if (error?.name === "AbortError") return;
  if (!(error instanceof Refused)) console.error(error);
  tell(error?.message ?? "failed");
}

const guarded = (work) => async (...values) => {
  try {
    await work(...values);
  } catch (error) {
    failed(error);
  }
};

whenChanged((path, done) => view.changed(path, done));
window.addEventListener("hashchange", guarded(() => show()));
window.addEventListener("unhandledrejection", (event) => {
  failed(event.reason);
  event.preventDefault();
});

let typing;
find.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(guarded(async () => {
    if (/^#\/(people)?$|^$/.test(location.hash)) await show({ focus: false });
    else location.hash = "#/people";
    find.focus();
  }), 150);
});
find.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "Enter") {
    event.preventDefault();
    view.grid?.focus();
  }
});
document.getElementById("undo").addEventListener("click", guarded(undo));

// Single letters can be switched off, for who speaks to the computer (WCAG 2.2, 2.1.4).
const LETTERS = "facerec-album-letters";
const lettersOn = () => localStorage.getItem(LETTERS) !== "off";

const KEYS = [
  ["Arrows, Page, Home, End", "move; with Shift select"], ["Enter", "open a person or a photo"],
  ["Space", "select; in suggestions skip"], ["Escape", "clear the selection"],
  ["n", "name"], ["m", "merge the selected, or into another by name"],
  ["a / r / s", "suggestions: accept, reject, skip"], ["p", "suggestions: the photo"],
  ["c / r / x", "faces: confirm, not this person, split off"],
  ["u, Ctrl+Z", "undo"], ["/", "find"], ["?", "this list"],
];

async function help() {
  const on = element("input", { type: "checkbox" });
  on.checked = lettersOn();
  const list = element("dl", { className: "keys" });
  for (const [key, what] of KEYS)
    list.append(element("dt", {}, element("kbd", {}, key)), element("dd", {}, what));
  await ask({
    title: "Keys", accept: "Close", refused: "",
    body: [list, element("label", { className: "choice" }, on, "single-letter keys")],
  });
  localStorage.setItem(LETTERS, on.checked ? "on" : "off");
}
document.getElementById("keys").addEventListener("click", guarded(help));

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
  const field = event.target.matches("input, textarea, select");
  const command = event.ctrlKey || event.metaKey;
  if (command && event.key === "z" && !event.shiftKey && !field) {
    event.preventDefault();
    return void guarded(undo)();
  }
  if (field || command || event.altKey || !lettersOn()) return;
  // A button, a link: Space is its own.
  if (event.key === " " && event.target.matches("button, a")) return;
  const action = { u: undo, "/": () => find.focus(), "?": help, ...view?.keys }[event.key];
  if (!action) return;
  event.preventDefault();
  guarded(action)();
});

await guarded(async () => {
  await Promise.all([readState(), show()]);
})();
