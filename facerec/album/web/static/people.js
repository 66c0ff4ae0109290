// The grid of people, named and unnamed.

import { chipOf } from "./api.js";
import { mergeAsked, mergeNamed, mergeSelected, namePerson } from "./decide.js";
import { button, called, count, element, years } from "./elements.js";
import { Grid } from "./grid.js";
import { Pages } from "./pages.js";

const HINT = "Arrow keys move, Enter opens, Space selects, n names, m merges.";

function show(card, person) {
  const faces = count(person.faces, "face"), time = years(person.first, person.last);
  card.picture.src = chipOf(person.face);
  card.classList.toggle("unnamed", person.name === null);
  card.words.replaceChildren(
    element("b", {}, called(person)),
    element("span", {}, faces, element("i", {}, time && ` · ${time}`)));
  card.setAttribute("aria-label", [called(person), faces, time].filter(Boolean).join(", "));
}

export function peopleView({ scroller, kind, find }) {
  const source = new Pages("people", { kind, find });
  const grid = new Grid({
    scroller, source, smallest: innerWidth < 640 ? 108 : 128, caption: 46, show, draggable: true,
    label: kind === "unnamed" ? "Unnamed people" : "People", hint: HINT,
    keyOf: (person) => person.id,
    open: (person) => { location.hash = `#/person/${person.id}`; },
  });
  const title = element("h1", {}, kind === "unnamed" ? "Unnamed" : "People");
  const number = element("span", { className: "note" });
  const chosen = element("span", { className: "note" });
  const merge = button("Merge", () => mergeSelected([...grid.selected.values()]));
  const clear = button("Clear", () => { grid.clear(); grid.focus(); });
  const tools = element("div", { className: "tools", hidden: true }, chosen, merge, clear);
  const nothing = element("p", { className: "nothing", hidden: true },
    find ? `Nobody is called “${find}”.` : "Nobody here yet: facerec album scan, then group.");
  const node = element("section", {},
    element("div", { className: "bar" }, title, number, tools), grid.host, nothing);

  grid.selecting = (people) => {
    tools.hidden = !people.length;
    merge.disabled = people.length < 2;
    chosen.textContent = `${people.length} selected`;
  };
  grid.dropped = (from, onto) => {
    const several = grid.selected.has(from.id) ? [...grid.selected.values()] : [from];
    return mergeAsked(several.filter((person) => person.id !== onto.id), onto);
  };
  const layout = source.changed;
  source.changed = () => {
    number.textContent = source.total.toLocaleString();
    nothing.hidden = source.total > 0;
    grid.host.hidden = source.total === 0;
    layout();
  };
  const current = () => source.at(grid.current);
  return {
    node, title: title.textContent, grid,
    async start() {
      await grid.start();
    },
    stop: () => grid.stop(),
    async changed() {
      grid.clear();
      await grid.refresh();
    },
    keys: {
      n: () => current() && namePerson(current()),
      m: () => {
        const people = [...grid.selected.values()];
        if (people.length > 1) return mergeSelected(people);
        const one = people[0] ?? current();
        return one && mergeNamed(one);
      },
    },
  };
}
