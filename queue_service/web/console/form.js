// Fields with labels, hints and errors.  The service checks the values: its sentences go beside the
// fields that they name.

import { make } from "./parts.js";
import { sentence } from "./format.js";

// One field: {name, label, hint, type, value, options, required, min, max, step, placeholder}.
export function field({ name, label, hint = "", type = "text", value = "", options = null, ...more }) {
  const id = `field-${name.replaceAll(/\W/g, "-")}`;
  const control = options ? make("select", { id, name }, ...options.map(([given, text]) => new Option(text, given)))
    : make(type === "textarea" ? "textarea" : "input", { id, name, ...(type === "textarea" ? {} : { type }), autocomplete: "off", spellcheck: false });
  if (type === "checkbox") control.checked = Boolean(value);
  else control.value = value ?? "";
  for (const [key, given] of Object.entries(more)) control.setAttribute(key, given);
  const told = make("p", { className: "hint", id: `${id}-hint` }, hint), wrong = make("p", { className: "error", id: `${id}-error`, hidden: true });
  control.setAttribute("aria-describedby", `${wrong.id}${hint ? ` ${told.id}` : ""}`);
  const text = make("label", { htmlFor: id }, label);
  const shown = type === "checkbox" ? [make("label", { className: "check" }, control, label)] : [text, control];
  control.addEventListener("input", () => clear(control, wrong));
  return make("div", { className: "field" }, ...shown, wrong, ...(hint ? [told] : []));
}

function clear(control, wrong) {
  control.removeAttribute("aria-invalid");
  wrong.hidden = true;
}

export const valueOf = (form, name) => form.elements[name].value.trim();

// A number, or null for an empty field.  A text that is no number goes to the service as it is.
export function numberOf(form, name) {
  const text = valueOf(form, name);
  return text === "" ? null : Number.isNaN(Number(text)) ? text : Number(text);
}

// Show an error of the service: beside the field that it names, or in the place for others.
// names: of fields, by what the service calls them, where these differ.
export function showError(form, error, place, names = {}) {
  const [, named = "", text = ""] = /^([\w.[\]]+): (.+)$/s.exec(error.message) ?? [];
  const control = form.elements[names[named] ?? named];
  place.replaceChildren();
  if (!control || control instanceof RadioNodeList) {
    place.replaceChildren(make("div", { className: "note wrong" }, make("strong", {}, "That did not work."), make("span", {}, sentence(error.message))));
    return;
  }
  const wrong = document.getElementById(`${control.id}-error`);
  wrong.textContent = sentence(text);
  wrong.hidden = false;
  control.setAttribute("aria-invalid", "true");
  control.closest("details")?.setAttribute("open", "");
  control.focus();
}

// A form that sends itself: `send` gets it and throws what the service refuses.
export function sendingForm({ content, verb, send, names = {}, more = [] }) {
  const place = make("div", {});
  place.setAttribute("role", "alert");
  const button = make("button", { type: "submit", className: "main" }, verb);
  const form = make("form", { className: "fields", noValidate: true }, ...content, place, make("div", { className: "actions" }, button, ...more));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    place.replaceChildren();
    try {
      await send(form);
    } catch (error) {
      showError(form, error, place, names);
    } finally {
      button.disabled = false;
    }
  });
  return form;
}
