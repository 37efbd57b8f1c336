// The form of a service: made from its schema, or for a payload as it is.

import { make } from "../chat/dom.js";
import { controlOf, Wrong } from "./fields.js";
import { forgetFileControls } from "./files.js";
import { formOf, rawKind } from "./schema.js";

const JSON_TYPE = "application/json", TEXT_TYPE = "text/plain";

export class Form {
  // declared: the answer of /schema, or null.  kept: {json, values} of an earlier visit.
  constructor(place, declared, kept) {
    forgetFileControls();
    const input = declared?.input;
    this.place = place;
    this.types = input?.content_types ?? [];
    this.field = formOf(input);
    this.isJson = false;
    this.json = controlOf({ kind: "json", label: "Input as JSON", path: "", about: "Send files as data URLs, or as {\"$file\": id} of an upload.", isRequired: true, depth: 0 });
    this.control = this.field ? controlOf(this.field) : rawControl(rawKind(input));
    this.draw();
    if (kept && this.field) this.control.show(kept);
  }

  get hasSchema() {
    return Boolean(this.field);
  }

  draw() {
    this.place.replaceChildren(this.isJson ? this.json.node : this.control.node);
    // Boxes know their height only in the page.
    for (const box of this.place.querySelectorAll("textarea")) box.dispatchEvent(new Event("input"));
  }

  // Show the same input as a form, or as JSON.  Returns why that is not possible, "" if it is.
  switch(isJson) {
    if (isJson === this.isJson) return "";
    try {
      const { value } = this.isJson ? this.json.read() : this.lenient();
      (isJson ? this.json : this.control).show(value);
    } catch (error) {
      if (!(error instanceof Wrong)) throw error;
      this.json.mark([{ path: "", detail: error.message }]);
      return error.message;
    }
    this.isJson = isJson;
    this.draw();
    return "";
  }

  // What is there, without what is wrong; files have no JSON.
  lenient() {
    try {
      return { value: plain(this.control.read().value) };
    } catch {
      return { value: undefined };
    }
  }

  // Return {value, type}: what to send; files in it are File objects.  Throws Wrong.
  read() {
    if (this.isJson) return { value: this.json.read().value, type: JSON_TYPE };
    if (!this.field) return this.control.read();
    const { value } = this.control.read();
    const takesJson = this.types.length === 0 || this.types.includes(JSON_TYPE);
    if (takesJson || typeof value !== "string") return { value: value ?? {}, type: JSON_TYPE };
    return { value, type: TEXT_TYPE };
  }

  // What to keep for a later visit: everything but files.
  kept() {
    return this.isJson || !this.field ? undefined : this.lenient().value;
  }

  // Show errors beside their fields; returns those that have none.
  mark(errors) {
    const shown = this.isJson ? this.json.mark(errors) : this.control.mark(errors);
    const own = new Set(shown.filter((one) => !one.isInner).map((one) => one.path));
    shown[0]?.node.focus?.();
    if (!shown[0]?.node.matches?.(":focus")) shown[0]?.node.querySelector?.("input, textarea, select, button")?.focus();
    return errors.filter((one) => !own.has(one.path));
  }
}

function plain(value) {
  if (value instanceof File) return undefined;
  if (Array.isArray(value)) return value.map(plain).filter((one) => one !== undefined);
  if (!value || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, plain(one)]).filter(([, one]) => one !== undefined));
}

const RAW = [
  ["text", "Text", { kind: "text", isLong: true, examples: [], format: "" }],
  ["json", "JSON", { kind: "json" }],
  ["bytes", "File", { kind: "file", accept: "" }],
];

// The control of a payload without a schema: text, JSON or a file.
function rawControl(wanted) {
  const common = { label: "Input", path: "", about: "", isRequired: true, depth: 1 };
  const parts = RAW.map(([name, word, field]) => ({ name, word, control: controlOf({ ...common, ...field }) }));
  const choice = controlOf({
    ...common, kind: "choice", label: "Kind of input", options: RAW.map(([name]) => name), initial: wanted,
    // Words for people beside the values.
    words: RAW.map(([, word]) => word),
  });
  const node = make("div", { className: "fields" }, choice.node, ...parts.map((one) => one.control.node));
  const chosen = () => parts.find((one) => one.name === choice.read().value);
  const draw = () => { for (const one of parts) one.control.node.hidden = one !== chosen(); };
  choice.node.addEventListener("change", draw);
  draw();
  return {
    node,
    show: () => {},
    mark: (errors) => chosen().control.mark(errors.map((one) => ({ ...one, path: "" }))),
    read: () => {
      const { value } = chosen().control.read();
      const type = { text: TEXT_TYPE, json: JSON_TYPE }[chosen().name] ?? (value?.type || "application/octet-stream");
      return { value: value ?? "", type };
    },
  };
}
