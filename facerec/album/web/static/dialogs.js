// Questions in a modal dialog, and what was done in a line below with its undo.

import { get } from "./api.js";
import { button, called, count, element } from "./elements.js";

const DIALOG = "dialog"; // state of the place in the history that an open dialog is
let number = 0;
let left = Promise.resolve(); // once the last dialog's place is left

// Opens a modal dialog, which is a place in the history: going back closes it, and that alone.
// Resolves when it is closed and its place left. Focus returns to where it was.
export async function openDialog(dialog) {
  const before = document.activeElement;
  await left;
  history.pushState(DIALOG, "");
  document.body.append(dialog);
  dialog.showModal();
  left = new Promise((resolve) => {
    window.addEventListener("popstate", () => {
      dialog.close();
      resolve();
    }, { once: true });
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (before?.isConnected) before.focus({ preventScroll: true });
      if (history.state === DIALOG) history.back();
    });
  });
  await left;
}

// Resolves to what `answer()` gives, or null if it was cancelled.
export async function ask({ title, body = [], accept, answer = () => true, refused = "Cancel" }) {
  const id = `dialog-${++number}`;
  let result = null;
  const submit = (event) => {
    event.preventDefault();
    result = answer();
    if (result !== null) dialog.close();
  };
  const main = element("button", { type: "submit", className: "main" }, accept);
  const dialog = element("dialog", { "aria-labelledby": id },
    element("form", { method: "dialog", onsubmit: submit },
      element("h2", { id }, title), ...body,
      element("div", { className: "choices" },
        refused && button(refused, () => dialog.close()), main)));
  // What gets the focus as it opens.
  (dialog.querySelector("input") ?? main).autofocus = true;
  await openDialog(dialog);
  return result;
}

// A text field that offers the people there are.
function nameField(label, value) {
  const list = element("datalist", { id: `names-${++number}` });
  const input = element("input", {
    type: "text", value, required: true, maxLength: 200, autocomplete: "off", spellcheck: false,
    autofocus: true,
  });
  input.setAttribute("list", list.id);
  let asked = 0;
  input.addEventListener("input", async () => {
    const turn = ++asked;
    const found = input.value.trim();
    if (!found) return list.replaceChildren();
    const answer = await get("people", { find: found, limit: 8 });
    if (turn === asked)
      list.replaceChildren(...answer.items.map((person) =>
        element("option", { value: called(person) }, count(person.faces, "face"))));
  });
  return { input, label: element("label", {}, label, input, list) };
}

export async function askName(person) {
  const field = nameField("Name", person.name ?? "");
  const title = person.name ? `Rename ${person.name}` : `Who is ${person.person}?`;
  return ask({
    title, body: [field.label], accept: "Name",
    answer: () => field.input.value.trim() || null,
  });
}

export async function askPerson(title, label, accept) {
  const field = nameField(label, "");
  return ask({
    title, body: [field.label], accept, answer: () => field.input.value.trim() || null,
  });
}

// Which of several people the others become; null if cancelled.
export function askKept(people) {
  const order = [...people].sort((a, b) => (b.name !== null) - (a.name !== null) || b.faces - a.faces);
  const choices = order.map((person, index) => {
    const input = element("input", { type: "radio", name: "kept", value: String(person.id) });
    input.checked = index === 0;
    return { person, input };
  });
  return ask({
    title: `Merge ${people.length} people: who stays?`,
    body: [element("fieldset", {}, element("legend", {}, "All their faces become"),
      ...choices.map(({ person, input }) => element("label", { className: "choice" }, input,
        `${called(person)}, ${count(person.faces, "face")}`)))],
    accept: "Merge",
    answer: () => choices.find(({ input }) => input.checked).person,
  });
}

const toast = document.getElementById("toast");
const live = document.getElementById("live");
let hiding;

export function announce(text) {
  // The same text twice is read again only if the node changes.
  live.textContent = "";
  setTimeout(() => { live.textContent = text; }, 30);
}

// Says what happened, on the page and to a screen reader.
export function tell(text, undo = null) {
  const [line, back] = toast.children;
  line.textContent = text;
  back.hidden = !undo;
  back.onclick = undo;
  toast.hidden = false;
  announce(text);
  clearTimeout(hiding);
  hiding = setTimeout(hide, 10000);
}

function hide() {
  // Not under the pointer or the focus.
  if (toast.matches(":hover, :focus-within")) hiding = setTimeout(hide, 3000);
  else toast.hidden = true;
}

