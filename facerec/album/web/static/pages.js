// A long list on the server, of which pages are fetched as they are needed.

import { get } from "./api.js";

const SIZE = 120;

export class Pages {
  constructor(path, values = {}) {
    this.path = path;
    this.values = values;
    this.total = 0;
    this.pages = new Map();
    this.changed = () => {};
    this.era = 0;
  }

  at(index) {
    return this.pages.get(Math.floor(index / SIZE))?.items?.[index % SIZE];
  }

  // Loads what is missing of a range; `changed` is called as it comes.
  async need(first, last) {
    const wanted = [];
    for (let page = Math.floor(first / SIZE); page * SIZE <= last; page++)
      wanted.push(this.pages.get(page)?.loading ?? this.load(page));
    await Promise.all(wanted);
  }

  load(page) {
    const entry = { abort: new AbortController() };
    this.pages.set(page, entry);
    entry.loading = this.fetch(page, entry);
    return entry.loading;
  }

  async fetch(page, entry) {
    const era = this.era;
    try {
      const values = { ...this.values, offset: page * SIZE, limit: SIZE };
      const answer = await get(this.path, values, entry.abort.signal);
      if (era !== this.era) return;
      entry.items = answer.items;
      this.total = answer.total;
      this.changed();
    } catch (error) {
      if (this.pages.get(page) === entry) this.pages.delete(page);
      if (error.name !== "AbortError") throw error;
    }
  }

  // Forgets pages that were asked for and are no longer looked at.
  leave(first, last) {
    for (const [page, entry] of this.pages)
      if (!entry.items && ((page + 1) * SIZE <= first || page * SIZE > last)) entry.abort.abort();
  }

  // Asks again for what is shown, after a change; until it comes, the old is shown.
  async refresh(first, last) {
    const era = ++this.era;
    for (const entry of this.pages.values()) if (!entry.items) entry.abort.abort();
    const fresh = new Map();
    const ask = async (page) => {
      const values = { ...this.values, offset: page * SIZE, limit: SIZE };
      const answer = await get(this.path, values);
      fresh.set(page, { items: answer.items });
      return answer.total;
    };
    const numbers = [];
    for (let page = Math.floor(first / SIZE); page * SIZE <= last; page++) numbers.push(page);
    const totals = await Promise.all((numbers.length ? numbers : [0]).map(ask));
    if (era !== this.era) return;
    this.pages = fresh;
    this.total = totals[0];
    this.changed();
  }
}
