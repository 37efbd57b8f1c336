// Files of a form: dropped, pasted or chosen; shown before they are sent.

import { action, make } from "../chat/dom.js";
import { Wrong } from "./fields.js";

// Pictures that a browser draws without running anything.
export const PICTURES = /^image\/(png|jpeg|gif|webp|avif|bmp)$/;
const WORDS = { "image/*": "a picture", "audio/*": "a sound", "video/*": "a video" };
// A smaller file travels inside the input.
const SMALL_BYTES = 32 * 1024;

const controls = new Set();

// A control for one file.  Its value is the File itself; `sendable` makes JSON of it.
export function fileControl(field, path) {
  const noun = WORDS[field.accept] ?? "a file";
  let file = null;
  const input = make("input", { type: "file", className: "unseen" });
  if (field.accept) input.accept = field.accept;
  const choose = make("span", { className: "choose" }, "Choose a file");
  const hint = make("span", {}, `Drop ${noun} here, paste it, or `, choose);
  const empty = make("div", { className: "empty" }, hint);
  const preview = make("div", { className: "preview", hidden: true });
  const node = make("div", { className: "drop" }, input, empty, preview);
  empty.addEventListener("click", () => input.click());

  function set(next) {
    file = next;
    for (const shown of preview.querySelectorAll("[src]")) URL.revokeObjectURL(shown.src);
    preview.replaceChildren(...(file ? previewOf(file, () => { set(null); input.focus(); }) : []));
    preview.hidden = !file;
    empty.hidden = Boolean(file);
    node.dispatchEvent(new Event("input", { bubbles: true }));
  }
  input.addEventListener("change", () => {
    if (input.files[0]) set(input.files[0]);
    input.value = "";
  });
  node.addEventListener("dragover", (event) => {
    event.preventDefault();
    node.classList.add("over");
  });
  node.addEventListener("dragleave", () => node.classList.remove("over"));
  node.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    node.classList.remove("over");
    if (event.dataTransfer.files[0]) set(event.dataTransfer.files[0]);
  });
  const control = {
    node, labelled: input,
    show: () => set(null),
    accepts: (one) => !field.accept || one.type.startsWith(field.accept.replace("*", "")),
    isEmpty: () => node.isConnected && !file,
    hasFocus: () => node.contains(document.activeElement),
    take: set,
    read: () => {
      if (file) return { value: file };
      if (field.isRequired && !field.isNullable) throw new Wrong(path(), `expected ${noun}`);
      return field.isRequired ? { value: null } : {};
    },
  };
  controls.add(control);
  return control;
}

export function forgetFileControls() {
  controls.clear();
}

// A file that is pasted or dropped anywhere goes to the field that has the focus, or to the first empty
// one that accepts it.
export function takeAnywhere(files) {
  const [file] = files;
  const open = [...controls].filter((one) => one.node.isConnected);
  const found = open.find((one) => one.hasFocus()) ?? open.find((one) => one.isEmpty() && one.accepts(file))
    ?? open.find((one) => one.isEmpty()) ?? (open.length === 1 ? open[0] : null);
  found?.take(file);
  return Boolean(found);
}

function previewOf(file, onRemove) {
  const about = make("div", { className: "name" }, make("span", { className: "cut" }, file.name || "pasted file"),
    make("span", { className: "tag" }, sizeOf(file.size)));
  const remove = action("Remove", onRemove);
  remove.className = "quiet";
  const row = make("div", { className: "row" }, about, remove);
  const shown = playerOf(file, URL.createObjectURL(file), file.name);
  return shown ? [shown, row] : [row];
}

// Return a node that shows a picture, a sound or a video; null for other types.
export function playerOf({ type }, url, name) {
  if (PICTURES.test(type)) return make("img", { src: url, alt: name });
  const kind = { audio: "audio", video: "video" }[type.split("/")[0]];
  if (!kind) return null;
  const player = make(kind, { src: url, controls: true, preload: "metadata" });
  player.setAttribute("aria-label", name);
  return player;
}

export function sizeOf(bytes) {
  const units = ["bytes", "KB", "MB", "GB"];
  let at = 0, size = bytes;
  while (size >= 1000 && at < units.length - 1) { size /= 1000; at += 1; }
  return `${at && size < 10 ? size.toFixed(1) : Math.round(size)} ${units[at]}`;
}

export function filesIn(value) {
  if (value instanceof File) return [value];
  if (Array.isArray(value)) return value.flatMap(filesIn);
  return value && typeof value === "object" ? Object.values(value).flatMap(filesIn) : [];
}

// Return the value with something else in the place of each file; `make` may be asynchronous.
export async function withoutFiles(value, replaced) {
  if (value instanceof File) return replaced(value);
  if (Array.isArray(value)) return Promise.all(value.map((one) => withoutFiles(one, replaced)));
  if (!value || typeof value !== "object") return value;
  const pairs = Object.entries(value).map(async ([name, one]) => [name, await withoutFiles(one, replaced)]);
  return Object.fromEntries(await Promise.all(pairs));
}

// Return the value as JSON can have it.  Large files are uploaded, if the service keeps files, and
// `uploaded` gets their ids.  onProgress: called with a share from 0 to 1.
export async function sendable(value, jobs, { onProgress, signal, uploaded }) {
  const large = filesIn(value).filter((file) => file.size > SMALL_BYTES);
  const total = large.reduce((sum, file) => sum + file.size, 0);
  const sent = new Map();
  const refs = new Map();
  for (const file of large) {
    const id = await upload(file, jobs, signal, (bytes) => {
      sent.set(file, bytes);
      onProgress([...sent.values()].reduce((sum, one) => sum + one, 0) / total);
    });
    if (id === null) break;
    uploaded.push(id);
    refs.set(file, { $file: id });
  }
  return withoutFiles(value, (file) => refs.get(file) ?? dataUrlOf(file));
}

// Upload a file and return its id; null if the service keeps no files.
function upload(file, jobs, signal, onBytes) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    const query = new URLSearchParams({ purpose: "user_data", filename: file.name || "file", "expires_after[seconds]": "3600" });
    request.open("POST", jobs.url(`v1/files?${query}`));
    for (const [name, value] of Object.entries(jobs.headers)) request.setRequestHeader(name, value);
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    request.upload.addEventListener("progress", (event) => onBytes(event.loaded));
    request.addEventListener("load", () => {
      let body = {};
      try { body = JSON.parse(request.responseText); } catch { /* not JSON: the status is known */ }
      if (request.status < 300) done(body.id);
      else if (request.status === 501) done(null);
      else failed(jobs.refused(request.status, body));
    });
    request.addEventListener("error", () => failed(new TypeError("the upload failed")));
    request.addEventListener("abort", () => failed(new DOMException("stopped", "AbortError")));
    signal?.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

function dataUrlOf(file) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => {
      // A browser names no type for some files, and the worker needs one.
      const [, data] = reader.result.split(",", 2);
      const named = file.name ? `;name=${encodeURIComponent(file.name)}` : "";
      done(`data:${file.type || "application/octet-stream"}${named};base64,${data ?? ""}`);
    });
    reader.addEventListener("error", () => failed(new Wrong("", `${file.name} cannot be read`)));
    reader.readAsDataURL(file);
  });
}
