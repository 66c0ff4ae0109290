// A whole photo with the boxes of its faces.

import { get, pictureOf } from "./api.js";
import { button, called, day, element } from "./elements.js";
import { openDialog, tell } from "./dialogs.js";

export async function showPhoto(id, face = null) {
  const place = location.hash;
  let photo;
  try {
    photo = await get(`photos/${id}`);
  } catch (error) {
    return tell(error.message);
  }
  // Asked for twice, or left meanwhile.
  if (document.querySelector("dialog[open]") || location.hash !== place) return;
  const close = () => dialog.close();
  const boxes = element("div", { className: "boxes" });
  const image = element("img", { alt: describe(photo), src: pictureOf(id) });
  const missing = element("p", { className: "nothing", hidden: true },
    "The photo cannot be read where the scan found it.");
  image.addEventListener("error", () => {
    image.hidden = true;
    boxes.hidden = true;
    missing.hidden = false;
  });
  for (const one of photo.faces) boxes.append(boxOf(photo, one, one.face === face, close));
  const frame = element("div", { className: "frame" }, image, boxes, missing);
  frame.style.aspectRatio = `${photo.width} / ${photo.height}`;
  frame.style.setProperty("--ratio", photo.width / photo.height);
  const dialog = element("dialog", { className: "photo", "aria-label": "Photo" },
    element("div", { className: "top" },
      element("span", {}, day(photo.taken) || "undated"), button("Close", close, { autofocus: true })),
    frame,
    element("ul", { className: "places" }, ...photo.places.map((place) => element("li", {}, place))));
  // Outside of the photo.
  dialog.addEventListener("click", (event) => { if (event.target === dialog) close(); });
  await openDialog(dialog);
}

function describe(photo) {
  const known = photo.faces.filter((one) => one.person !== null).map((one) => called(one));
  return known.length ? `Photo with ${known.join(", ")}` : "Photo";
}

function boxOf(photo, one, current, close) {
  const [x1, y1, x2, y2] = one.box;
  const text = one.person === null ? "nobody yet" : called(one);
  const href = one.person === null ? "#/loose" : `#/person/${one.id}`;
  const follow = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;  // in a tab of its own
    event.preventDefault();
    // Whom it shows takes the photo's place in the history.
    if (link.hash === location.hash) close();
    else location.replace(href);
  };
  const link = element("a", { href, className: "box", onclick: follow }, element("span", {}, text));
  link.classList.toggle("current", current);
  link.classList.toggle("named", one.name !== null);
  link.style.left = `${(100 * x1) / photo.width}%`;
  link.style.top = `${(100 * y1) / photo.height}%`;
  link.style.width = `${(100 * (x2 - x1)) / photo.width}%`;
  link.style.height = `${(100 * (y2 - y1)) / photo.height}%`;
  return link;
}
