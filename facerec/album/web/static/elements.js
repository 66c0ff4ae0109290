// Elements made from data. Text is never parsed as HTML.

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key in made && key !== "role") made[key] = value;
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export const button = (text, onclick, properties = {}) =>
  element("button", { type: "button", onclick, ...properties }, text);

export const count = (number, one, many = one + "s") =>
  `${number.toLocaleString()} ${number === 1 ? one : many}`;

export const day = (taken) => (taken ? taken.slice(0, 10) : "");

export function years(first, last) {
  if (!first) return "";
  const [from, to] = [first.slice(0, 4), last.slice(0, 4)];
  return from === to ? from : `${from}–${to}`;
}

export const called = (person) => person.name ?? person.person;
