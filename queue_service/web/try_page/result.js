// Shows the result of a job by its content type, and never as HTML.

import { action, copyButton, make } from "../chat/dom.js";
import { PICTURES, playerOf, sizeOf } from "./files.js";

// More is offered as a download.
const MOST_SHOWN_BYTES = 2_000_000, MOST_FETCHED_BYTES = 25_000_000;
const LONG_TEXT = 600, MOST_ITEMS = 200;
const SUFFIXES = {
  "application/json": "json", "text/plain": "txt", "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp",
  "image/gif": "gif", "audio/wav": "wav", "audio/mpeg": "mp3", "video/mp4": "mp4", "application/zip": "zip",
};
const TEXTS = /^text\/(plain|csv|markdown|x-[\w-]+)$/;
const DATA_URL = /^data:((?:image|audio|video)\/[\w.+-]+)(?:;[\w=.%+-]*)*;base64,/;

// Return a node that shows an answer of the service.
export async function resultNode(answer, { serviceName }) {
  const type = (answer.headers.get("Content-Type") ?? "").split(";")[0].trim().toLowerCase();
  const blob = await answer.blob();
  const name = `${serviceName}-result.${SUFFIXES[type] ?? "bin"}`;
  return frame(await contentOf(blob, type, name), { type, size: blob.size, name, blob });
}

async function contentOf(blob, type, name) {
  const player = playerFor(blob, type, name);
  if (player) return { node: player };
  if (blob.size > MOST_SHOWN_BYTES) return { node: note("This is too large to be shown here.") };
  const isJson = type === "application/json" || type.endsWith("+json");
  if (!isJson && !TEXTS.test(type)) return { node: note("This page does not show this type of file.") };
  const text = await blob.text();
  if (!text) return { node: note("The result is empty.") };
  if (isJson) {
    try {
      const value = JSON.parse(text);
      if (typeof value === "string" && !DATA_URL.test(value)) return { node: textNode(value), text: value };
      return { node: make("div", { className: "tree" }, jsonNode(value, 0)), text: JSON.stringify(value, null, 2) };
    } catch { /* shown as text */ }
  }
  return { node: textNode(text), text };
}

function playerFor(blob, type, name) {
  // Only these types: a browser would run what is in some others.
  if (!PICTURES.test(type) && !/^(audio|video)\//.test(type)) return null;
  return playerOf({ type }, URL.createObjectURL(new Blob([blob], { type })), name);
}

function frame({ node, text }, { type, size, name, blob }) {
  const caption = make("figcaption", {}, make("span", {}, `${type || "unknown type"}, ${sizeOf(size)}`));
  const actions = make("span", { className: "actions" });
  if (text !== undefined) actions.append(copyButton(() => text));
  actions.append(action("Download", () => save(blob, name)));
  caption.append(actions);
  return make("figure", { className: node.matches("img, video, audio") ? "media" : "" }, caption, node);
}

// As bytes: a browser must not open what a job has made as a page of ours.
function save(blob, name) {
  const url = URL.createObjectURL(new Blob([blob], { type: "application/octet-stream" }));
  const link = make("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function note(text) {
  return make("p", { className: "about inside" }, text);
}

function textNode(text) {
  return make("pre", { tabIndex: 0, className: "wrap" }, text);
}

// JSON as a tree: lists and objects can be folded, files inside are shown.
function jsonNode(value, depth) {
  if (Array.isArray(value) || (value && typeof value === "object")) return branch(value, depth);
  if (typeof value === "string") return stringNode(value);
  return make("span", { className: value === null ? "none" : typeof value }, String(value));
}

function branch(value, depth) {
  const isList = Array.isArray(value);
  const entries = isList ? value.map((one, at) => [at, one]) : Object.entries(value);
  if (!entries.length) return make("span", { className: "none" }, isList ? "[ ]" : "{ }");
  if (isList && entries.length <= 24 && value.every((one) => typeof one === "number")) {
    return make("span", { className: "number" }, `[${value.join(", ")}]`);
  }
  const word = isList ? "item" : "field";
  const summary = make("summary", {}, `${entries.length} ${word}${entries.length === 1 ? "" : "s"}`);
  const list = make("ul", {});
  const node = make("details", { open: depth < 2 && entries.length <= 30 }, summary, list);
  let shown = 0;
  const more = () => {
    for (const [name, one] of entries.slice(shown, shown + MOST_ITEMS)) {
      list.append(make("li", {}, make("span", { className: "key" }, String(name)), jsonNode(one, depth + 1)));
    }
    shown += MOST_ITEMS;
    if (shown < entries.length) {
      const item = make("li", {}, action(`Show ${Math.min(MOST_ITEMS, entries.length - shown)} more`, () => { item.remove(); more(); }));
      list.append(item);
    }
  };
  // Made when it is first opened: a result may have a hundred thousand values.
  if (node.open) more();
  else node.addEventListener("toggle", () => { if (!shown) more(); });
  return node;
}

function stringNode(text) {
  const found = DATA_URL.exec(text);
  const player = found && text.length < MOST_FETCHED_BYTES ? playerOf({ type: found[1] }, text, "file in the result") : null;
  if (player) return player;
  if (text.length <= LONG_TEXT) return make("span", { className: "string" }, text);
  const node = make("span", { className: "string" }, `${text.slice(0, LONG_TEXT)}…`);
  const all = action(`Show all ${text.length.toLocaleString("en")} characters`, () => {
    node.textContent = text;
    all.remove();
  });
  all.className = "quiet";
  return make("span", {}, node, " ", all);
}

// The artifacts of a job, as they arrive.  fetchOne: gets an artifact's response.
export class Artifacts {
  constructor(place, fetchOne) {
    Object.assign(this, { place, fetchOne, cards: new Map(), known: new Map() });
  }

  clear() {
    this.cards.clear();
    this.known.clear();
    this.place.replaceChildren();
  }

  // A later one of the same name takes the place of the first.
  add(artifact) {
    const known = this.known.get(artifact.name);
    if (known === artifact.sha256) return;
    this.known.set(artifact.name, artifact.sha256);
    const card = make("li", {});
    const caption = make("div", { className: "row" },
      make("div", { className: "name" }, make("span", { className: "cut" }, artifact.name), make("span", { className: "tag" }, sizeOf(artifact.bytes))));
    const button = action("Download", async () => save(await (await this.fetchOne(artifact)).blob(), artifact.name));
    button.className = "quiet";
    button.setAttribute("aria-label", `Download ${artifact.name}`);
    caption.append(button);
    card.append(caption);
    const before = this.cards.get(artifact.name);
    if (before) before.replaceWith(card);
    else this.place.append(card);
    this.cards.set(artifact.name, card);
    this.preview(artifact, card);
  }

  async preview(artifact, card) {
    const type = artifact.content_type;
    if (artifact.bytes > MOST_FETCHED_BYTES) return;
    try {
      if (PICTURES.test(type) || /^(audio|video)\//.test(type)) {
        const shown = playerFor(await (await this.fetchOne(artifact)).blob(), type, artifact.name);
        if (shown) card.prepend(shown);
      } else if (TEXTS.test(type) && artifact.bytes <= 4000) {
        card.prepend(textNode(await (await this.fetchOne(artifact)).text()));
      }
    } catch { /* its job has gone, or another attempt has begun: the name stays */ }
  }
}
