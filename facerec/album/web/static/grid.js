// A grid of cards of which only those near the window are in the document.
//
// To assistive technology it is a listbox: one stop for Tab, arrows move, Space selects, Enter
// opens; each option says its place among all.

import { element } from "./elements.js";

const OVERSCAN = 2; // rows above and below the window
const GAP = 12;
const SETTLE = 90; // ms without scrolling, after a leap, until pictures are asked for

export class Grid {
  // host: an element in `scroller`; `show(card, item)` fills a card; `keyOf(item)` is its identity.
  constructor({ scroller, label, hint, source, smallest, caption, show, keyOf, open, draggable }) {
    Object.assign(this, { scroller, source, smallest, caption, show, keyOf, open, draggable });
    this.host = element("div", {
      className: "grid", role: "listbox", "aria-multiselectable": "true",
      "aria-label": label, "aria-description": hint,
    });
    this.cards = new Map();
    this.spare = [];
    this.selected = new Map();
    this.current = 0;
    this.selecting = () => {};
    this.dropped = null;
    source.changed = () => this.layout();
    this.resized = new ResizeObserver(() => this.layout());
    this.scrolled = () => this.draw();
    this.listen();
  }

  start() {
    this.resized.observe(this.host.parentElement);
    this.scroller.addEventListener("scroll", this.scrolled, { passive: true });
    this.layout();
    return this.fetch();
  }

  stop() {
    this.resized.disconnect();
    this.scroller.removeEventListener("scroll", this.scrolled);
    clearTimeout(this.settling);
    this.source.changed = () => {};
  }

  layout() {
    const width = this.host.clientWidth;
    if (!width) return;
    this.columns = Math.max(2, Math.floor((width + GAP) / (this.smallest + GAP)));
    this.side = Math.floor((width - GAP * (this.columns - 1)) / this.columns);
    this.pitch = this.side + this.caption + GAP;
    const rows = Math.ceil(this.source.total / this.columns);
    this.host.style.height = `${rows * this.pitch}px`;
    this.host.style.setProperty("--side", `${this.side}px`);
    this.current = Math.min(this.current, Math.max(this.source.total - 1, 0));
    this.drawn = null;
    this.draw(true);
  }

  // First and last index near the window.
  range() {
    const top = this.scroller.getBoundingClientRect().top - this.host.getBoundingClientRect().top;
    const first = Math.floor(top / this.pitch) - OVERSCAN;
    const rows = Math.ceil(this.scroller.clientHeight / this.pitch) + 2 * OVERSCAN;
    const last = Math.min((first + rows + 1) * this.columns, this.source.total) - 1;
    return [Math.max(first * this.columns, 0), last];
  }

  draw(again = false) {
    if (!this.pitch) return;
    const [first, last] = this.range();
    if (!again && this.drawn?.[0] === first && this.drawn[1] === last) return;
    // Past all that was shown: pictures wait until the scrolling stops.
    const leapt = this.drawn && (first > this.drawn[1] || last < this.drawn[0]);
    this.drawn = [first, last];
    let lost = false;
    for (const [index, card] of this.cards) {
      const kept = index === this.current && card.contains(document.activeElement);
      if ((index < first || index > last) && !(kept && index < this.source.total)) {
        lost ||= card.contains(document.activeElement);
        this.cards.delete(index);
        card.remove();
        this.spare.push(card);
      }
    }
    for (let index = first; index <= last; index++) this.place(index, again);
    // Out of sight it keeps the focus, so it keeps its place.
    if (this.cards.has(this.current)) this.place(this.current, again);
    if (this.source.total && !this.cards.has(this.current)) this.reachable(first);
    // The card that had the focus is no more, as after a merge.
    if (lost) this.cards.get(this.current)?.focus({ preventScroll: true });
    clearTimeout(this.settling);
    if (leapt) {
      this.host.classList.add("leaping");
      this.settling = setTimeout(() => this.fetch(), SETTLE);
    } else this.fetch();
  }

  place(index, again) {
    let card = this.cards.get(index);
    if (card && !again) return;
    if (!card) {
      card = this.spare.pop() ?? this.make();
      card.index = index;
      card.item = undefined;
      this.cards.set(index, card);
      this.insert(card, index);
    }
    const row = Math.floor(index / this.columns), column = index % this.columns;
    card.style.transform = `translate(${column * (this.side + GAP)}px, ${row * this.pitch}px)`;
    card.setAttribute("aria-posinset", index + 1);
    card.setAttribute("aria-setsize", this.source.total);
    card.tabIndex = index === this.current ? 0 : -1;
    this.fill(card, this.source.at(index));
  }

  // In the document's order, which is the order of reading.
  insert(card, index) {
    for (const other of this.host.children)
      if (other.index > index) return void this.host.insertBefore(card, other);
    this.host.append(card);
  }

  make() {
    const card = element("div", { className: "card", role: "option", draggable: Boolean(this.draggable) });
    card.picture = element("img", { alt: "", decoding: "async", draggable: false });
    card.check = element("span", { className: "check", "aria-hidden": "true" });
    card.words = element("span", { className: "words" });
    card.append(card.picture, card.check, card.words);
    return card;
  }

  fill(card, item) {
    card.classList.toggle("empty", !item);
    const selected = Boolean(item) && this.selected.has(this.keyOf(item));
    card.setAttribute("aria-selected", String(selected));
    if (card.item === item) return;
    card.item = item;
    if (item) this.show(card, item);
    else {
      card.picture.removeAttribute("src");
      card.words.replaceChildren();
      card.setAttribute("aria-label", "loading");
    }
  }

  async fetch() {
    this.host.classList.remove("leaping");
    const [first, last] = this.shown();
    this.source.leave(first, last);
    await this.source.need(first, last);
  }

  refresh() {
    return this.source.refresh(...this.shown());
  }

  // As `range`, and the first before it is known how many there are.
  shown() {
    const [first, last] = this.drawn ?? [0, 0];
    return [first, Math.max(first, last)];
  }

  // Where Tab enters, if the current card is not drawn.
  reachable(first) {
    for (const card of this.cards.values()) card.tabIndex = card.index === first ? 0 : -1;
  }

  async go(index, { select = false } = {}) {
    index = Math.max(0, Math.min(index, this.source.total - 1));
    const before = this.current;
    this.current = index;
    const row = Math.floor(index / this.columns);
    const top = this.host.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top;
    const from = top + row * this.pitch, height = this.scroller.clientHeight;
    // The bar that sticks to the top hides what is below it.
    const above = this.host.previousElementSibling?.offsetHeight ?? 0;
    if (from < above) this.scroller.scrollTop += from - above - GAP;
    else if (from + this.pitch > height) this.scroller.scrollTop += from + this.pitch - height;
    this.draw();
    if (!this.cards.has(index)) this.place(index);
    for (const card of this.cards.values()) card.tabIndex = card.index === index ? 0 : -1;
    this.cards.get(index).focus({ preventScroll: true });
    if (select) {
      await this.source.need(Math.min(before, index), Math.max(before, index));
      this.selectRange(before, index);
    }
  }

  focus() {
    if (this.source.total) this.go(this.current);
  }

  toggle(index) {
    const item = this.source.at(index);
    if (!item) return;
    const key = this.keyOf(item);
    if (!this.selected.delete(key)) this.selected.set(key, item);
    this.mark();
  }

  selectRange(one, other) {
    for (let index = Math.min(one, other); index <= Math.max(one, other); index++) {
      const item = this.source.at(index);
      if (item) this.selected.set(this.keyOf(item), item);
    }
    this.mark();
  }

  clear() {
    this.selected.clear();
    this.mark();
  }

  mark() {
    for (const card of this.cards.values())
      if (card.item)
        card.setAttribute("aria-selected", String(this.selected.has(this.keyOf(card.item))));
    this.host.classList.toggle("selecting", this.selected.size > 0);
    this.selecting([...this.selected.values()]);
  }

  listen() {
    const cardOf = (event) => event.target.closest?.(".card");
    this.host.addEventListener("click", (event) => {
      const card = cardOf(event);
      if (!card?.item) return;
      const before = this.current;
      const choosing = event.target === card.check || event.ctrlKey || event.metaKey
        || this.selected.size > 0;
      this.current = card.index;
      for (const other of this.cards.values()) other.tabIndex = other === card ? 0 : -1;
      if (event.shiftKey) this.selectRange(before, card.index);
      else if (choosing) this.toggle(card.index);
      else this.open(card.item);
    });
    this.host.addEventListener("keydown", (event) => this.pressed(event));
    this.host.addEventListener("focusin", (event) => {
      const card = cardOf(event);
      if (card) this.current = card.index;
    });
    if (this.draggable) this.listenToDrags(cardOf);
  }

  pressed(event) {
    if (event.altKey) return;
    const card = event.target.closest(".card");
    if (!card) return;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.pitch) - 1) * this.columns;
    const to = {
      ArrowRight: this.current + 1, ArrowLeft: this.current - 1,
      ArrowDown: this.current + this.columns, ArrowUp: this.current - this.columns,
      PageDown: this.current + page, PageUp: this.current - page,
      Home: 0, End: this.source.total - 1,
    }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      this.go(to, { select: event.shiftKey });
    } else if (event.key === " ") {
      event.preventDefault();
      this.toggle(card.index);
    } else if (event.key === "Enter" && card.item) {
      event.preventDefault();
      this.open(card.item);
    } else if (event.key === "Escape" && this.selected.size) {
      event.preventDefault();
      this.clear();
    }
  }

  listenToDrags(cardOf) {
    let dragged = null, target = null;
    const aim = (card) => {
      target?.classList.remove("target");
      target = card;
      target?.classList.add("target");
    };
    this.host.addEventListener("dragstart", (event) => {
      const card = cardOf(event);
      if (!card?.item) return event.preventDefault();
      dragged = card.item;
      event.dataTransfer.effectAllowed = "move";
      event.dataTransfer.setData("text/plain", String(this.keyOf(dragged)));
    });
    this.host.addEventListener("dragover", (event) => {
      const card = cardOf(event);
      const fits = dragged && card?.item && this.keyOf(card.item) !== this.keyOf(dragged);
      aim(fits ? card : null);
      if (fits) event.preventDefault();
    });
    this.host.addEventListener("drop", (event) => {
      const [from, onto] = [dragged, target?.item];
      event.preventDefault();
      aim(null);
      if (from && onto) this.dropped(from, onto);
    });
    this.host.addEventListener("dragend", () => {
      aim(null);
      dragged = null;
    });
  }
}
