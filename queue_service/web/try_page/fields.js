// The controls of a form: one for each field of schema.js.
//
// A control is {node, read(), mark(errors), show(value)}.  `read` returns {value} or {} for nothing, and
// throws Wrong, with the path of the field, for what cannot be sent.

import { action, make } from "../chat/dom.js";
import { fileControl } from "./files.js";
import { boundsOf } from "./schema.js";

export class Wrong extends Error {
  constructor(path, message) {
    super(message);
    this.path = path;
  }
}

let numbers = 0;

// Return the control of a field.  path: where its value is in the payload, as a function, because the
// place of an item of a list changes.
export function controlOf(field, path = () => field.path) {
  const made = KINDS[field.kind](field, path);
  return made.isWhole ? made : framed(field, path, made);
}

// Put a label, a description and the place of its error around a control.
function framed(field, path, control) {
  const id = `field-${numbers += 1}`;
  const error = make("p", { className: "error", id: `${id}-error`, hidden: true });
  const about = make("p", { className: "about", id: `${id}-about` }, ...paragraph(field));
  const isSet = control.labelled === undefined;
  const label = make(isSet ? "span" : "label", { className: "label", id: `${id}-label` }, field.label);
  if (!field.isRequired && (field.initial === undefined || field.initial === null)) label.append(" ", make("span", { className: "tag" }, "optional"));
  const node = make("div", { className: `field ${field.kind}` });
  node.dataset.path = field.path;
  if (isSet) {
    node.setAttribute("role", "group");
    node.setAttribute("aria-labelledby", label.id);
  } else {
    control.labelled.id = id;
    label.htmlFor = id;
  }
  const target = control.labelled ?? node;
  target.setAttribute("aria-describedby", `${id}-about ${id}-error`);
  // The label of a flag is beside it.
  if (field.kind === "flag" && control.labelled?.type === "checkbox") {
    node.append(make("div", { className: "beside" }, control.node, label), about, error);
  } else {
    node.append(label, about, control.node, error);
  }
  about.hidden = !about.textContent;
  const clear = () => mark([]);
  node.addEventListener("input", clear);
  function mark(errors) {
    const own = errors.filter((one) => one.path === path());
    error.textContent = own.map((one) => sentence(one.detail)).join(" ");
    error.hidden = !own.length;
    node.classList.toggle("wrong", own.length > 0);
    if (control.labelled) control.labelled.setAttribute("aria-invalid", String(own.length > 0));
    const below = control.mark?.(errors) ?? [];
    return [...(own.length ? own.map((one) => ({ ...one, node: control.labelled ?? node })) : []), ...below];
  }
  return { ...control, node, mark };
}

function paragraph(field) {
  const parts = [field.about, boundsOf(field)].filter(Boolean);
  return parts.length ? [parts.map(sentence).join(" ")] : [];
}

export function sentence(text) {
  if (!text) return "";
  const begun = text[0].toUpperCase() + text.slice(1);
  return /[.!?:]$/.test(begun) ? begun : `${begun}.`;
}

const KINDS = {
  text: textControl, number: numberControl, flag: flagControl, choice: choiceControl,
  file: (field, path) => fileControl(field, path), group: groupControl, pair: pairControl,
  list: listControl, json: jsonControl,
};

function textControl(field) {
  const special = { date: "date", password: "password", email: "email", uri: "url" }[field.format];
  const box = special
    ? make("input", { type: special })
    : make("textarea", { rows: field.isLong ? 3 : 1, spellcheck: false });
  if (field.examples[0]) box.placeholder = field.examples[0];
  else if (field.format === "date-time") box.placeholder = "2026-01-31T12:00:00Z";
  box.autocomplete = "off";
  const fit = () => {
    if (special || !box.isConnected) return;
    box.style.height = "auto";
    box.style.height = `${box.scrollHeight + 2}px`;
  };
  box.addEventListener("input", fit);
  const show = (value) => { box.value = value ?? ""; fit(); };
  show(field.initial);
  return {
    node: box, labelled: box, show,
    read: () => (box.value !== "" ? { value: box.value } : nothing(field, "")),
  };
}

// Return what an empty control sends: nothing if it may be left out, else null or the empty value.
function nothing(field, empty) {
  if (!field.isRequired) return {};
  return { value: field.isNullable ? null : empty };
}

function numberControl(field, path) {
  const box = make("input", { type: "text", inputMode: field.isWhole ? "numeric" : "decimal", autocomplete: "off" });
  const slider = field.hasBounds ? make("input", { type: "range", min: field.least, max: field.most, step: field.step }) : null;
  slider?.setAttribute("aria-label", `${field.label}, as a slider`);
  slider?.setAttribute("tabindex", "-1");
  const follow = () => { if (slider && box.value.trim() !== "") slider.value = box.value; };
  slider?.addEventListener("input", () => { box.value = slider.value; });
  box.addEventListener("input", follow);
  // Arrows change it, as in a number box of the browser, which has no own text while it is wrong.
  box.addEventListener("keydown", (event) => {
    const by = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!by || !field.step) return;
    event.preventDefault();
    const moved = (Number(box.value) || 0) + by * field.step;
    box.value = tidy(Math.min(field.most ?? Infinity, Math.max(field.least ?? -Infinity, moved)), field.step);
    box.dispatchEvent(new Event("input", { bubbles: true }));
  });
  const show = (value) => { box.value = value ?? ""; follow(); };
  show(field.initial);
  const node = slider ? make("div", { className: "slide" }, slider, box) : box;
  return {
    node, labelled: box, show,
    read: () => {
      const text = box.value.trim().replace(",", ".");
      if (text === "") {
        if (field.isRequired && !field.isNullable) throw new Wrong(path(), "expected a number");
        return nothing(field, null);
      }
      const value = Number(text);
      if (!Number.isFinite(value)) throw new Wrong(path(), `expected a number, got ${text}`);
      if (field.isWhole && !Number.isInteger(value)) throw new Wrong(path(), `expected a whole number, got ${text}`);
      return { value };
    },
  };
}

function tidy(number, step) {
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  return String(Number(number.toFixed(Math.min(10, digits))));
}

function flagControl(field) {
  if (field.isNullable || (!field.isRequired && field.initial === undefined)) {
    return choiceControl({ ...field, options: [true, false], words: ["Yes", "No"] });
  }
  const box = make("input", { type: "checkbox" });
  const show = (value) => { box.checked = value === true; };
  show(field.initial);
  return { node: box, labelled: box, show, read: () => ({ value: box.checked }) };
}

const FEW_OPTIONS = 5, SHORT_OPTIONS = 36;

function choiceControl(field) {
  const options = field.options.map((value, at) => ({ value, word: field.words?.[at] ?? String(value) }));
  const mayBeEmpty = field.isNullable || (!field.isRequired && field.initial === undefined);
  const length = options.reduce((sum, one) => sum + one.word.length, 0);
  if (options.length <= FEW_OPTIONS && length <= SHORT_OPTIONS) return radios(field, options, mayBeEmpty);
  const box = make("select", {});
  if (mayBeEmpty) box.append(new Option("Not set", ""));
  options.forEach((one, at) => box.append(new Option(one.word, String(at))));
  const show = (value) => {
    const at = options.findIndex((one) => one.value === value);
    box.value = at >= 0 ? String(at) : mayBeEmpty ? "" : "0";
  };
  show(field.initial);
  return {
    node: box, labelled: box, show,
    read: () => (box.value === "" ? nothing(field, null) : { value: options[Number(box.value)].value }),
  };
}

function radios(field, options, mayBeEmpty) {
  const name = `choice-${numbers += 1}`;
  const all = mayBeEmpty ? [{ word: "Not set" }, ...options] : options;
  const boxes = all.map((one) => ({ ...one, box: make("input", { type: "radio", name }) }));
  const node = make("div", { className: "segments" });
  for (const { word, box } of boxes) node.append(make("label", {}, box, make("span", {}, word)));
  const show = (value) => {
    const found = boxes.find((one) => one.value === value) ?? boxes[0];
    found.box.checked = true;
  };
  show(field.initial);
  return {
    node, show,
    read: () => {
      const { value } = boxes.find((one) => one.box.checked) ?? {};
      return value === undefined ? nothing(field, null) : { value };
    },
  };
}

// Several controls whose values have names, or places.
function several(field, path, { isList }) {
  const parts = field.fields.map((one, at) => controlOf(one, () => `${path()}/${isList ? at : one.path.split("/").at(-1)}`));
  return {
    parts,
    read: () => {
      const read = parts.map((part) => part.read());
      if (isList) return { value: read.map((one) => one.value ?? null) };
      const value = {};
      field.fields.forEach((one, at) => { if ("value" in read[at]) value[one.name] = read[at].value; });
      return Object.keys(value).length || field.isRequired ? { value } : {};
    },
    show: (value) => parts.forEach((part, at) => part.show(isList ? value?.[at] : value?.[field.fields[at].name])),
    mark: (errors) => parts.flatMap((part) => part.mark(errors)),
  };
}

function groupControl(field, path) {
  const { parts, ...rest } = several(field, path, { isList: false });
  const node = make("div", { className: field.path === "" ? "fields" : "fields inner" }, ...parts.map((one) => one.node));
  // The form itself has no frame.
  return field.path === "" && field.depth === 0 ? { ...rest, node, isWhole: true } : { ...rest, node };
}

function pairControl(field, path) {
  const { parts, ...rest } = several(field, path, { isList: true });
  return { ...rest, node: make("div", { className: "fields inner" }, ...parts.map((one) => one.node)) };
}

function listControl(field, path) {
  const items = [];
  const rows = make("ol", { className: "items" });
  const add = action(`Add ${field.item.kind === "file" ? "a file" : "one"}`, () => {
    append(undefined).querySelector("input, textarea, select, button")?.focus();
  });
  add.classList.add("quiet");
  function append(value) {
    const item = {};
    const position = () => items.indexOf(item);
    item.control = controlOf({ ...field.item, label: `${field.label} ${items.length + 1}` }, () => `${path()}/${position()}`);
    const remove = action("Remove", () => {
      items.splice(position(), 1);
      item.row.remove();
      rename();
      add.focus();
    });
    remove.className = "quiet";
    item.row = make("li", {}, item.control.node, remove);
    items.push(item);
    rows.append(item.row);
    if (value !== undefined) item.control.show(value);
    rename();
    return item.row;
  }
  function rename() {
    add.disabled = items.length >= field.most;
    items.forEach((item, at) => {
      const label = item.row.querySelector(".label");
      if (label) label.firstChild.textContent = `${field.label} ${at + 1}`;
      item.row.querySelector(":scope > button").setAttribute("aria-label", `Remove ${field.label} ${at + 1}`);
    });
  }
  const show = (values) => {
    items.length = 0;
    rows.replaceChildren();
    const shown = Array.isArray(values) ? values : [];
    for (const value of shown) append(value);
    for (let at = shown.length; at < Math.min(field.least, 20); at += 1) append(undefined);
  };
  show(field.initial);
  return {
    node: make("div", { className: "stack" }, rows, add), show,
    read: () => {
      const value = items.map((item) => item.control.read().value ?? null);
      return value.length || field.isRequired ? { value } : {};
    },
    mark: (errors) => items.flatMap((item) => item.control.mark(errors)),
  };
}

function jsonControl(field, path) {
  const box = make("textarea", { rows: 4, spellcheck: false, className: "code", autocomplete: "off", placeholder: "JSON" });
  const show = (value) => { box.value = value === undefined ? "" : JSON.stringify(value, null, 2); };
  show(field.initial);
  return {
    node: box, labelled: box, show,
    read: () => {
      if (box.value.trim() === "") {
        if (field.isRequired && !field.isNullable) throw new Wrong(path(), "expected JSON");
        return nothing(field, null);
      }
      try {
        return { value: JSON.parse(box.value) };
      } catch (error) {
        throw new Wrong(path(), `expected JSON: ${error.message}`);
      }
    },
    mark: (errors) => {
      // What is wrong inside it has no field of its own.
      const inner = errors.filter((one) => one.path.startsWith(`${path()}/`));
      return inner.map((one) => ({ ...one, node: box, isInner: true }));
    },
  };
}
