// Questions before something is changed.  Escape and Cancel answer no.

import { action, errorNote, make } from "./parts.js";

// Ask a question.  Return whether the answer is yes.  word: what must be typed, for what cannot be undone.
export function confirm({ title, text, verb, danger = false, word = "" }) {
  return new Promise((answer) => {
    const typed = make("input", { type: "text", autocomplete: "off", spellcheck: false });
    const yes = make("button", { type: "submit", className: danger ? "danger" : "main", disabled: Boolean(word) }, verb);
    typed.addEventListener("input", () => { yes.disabled = typed.value !== word; });
    const label = make("label", { className: "field" }, make("span", { className: "label" }, `Type ${word} to confirm`), typed);
    const { dialog, form } = open(title, [make("p", {}, text), ...(word ? [label] : [])], [yes]);
    form.addEventListener("submit", () => dialog.close("yes"));
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(dialog.returnValue === "yes");
    });
    dialog.showModal();
    if (word) typed.focus();
  });
}

// Show what is shown only once, such as a secret.  Return when it is closed.
export function tell(title, ...content) {
  return new Promise((closed) => {
    const { dialog, form } = open(title, content, [make("button", { type: "submit", className: "main" }, "Close")], false);
    form.addEventListener("submit", () => dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      closed();
    });
    dialog.showModal();
  });
}

// Ask for values; `send` gets the form and may throw an error, which is shown in the dialog.
export function ask({ title, content, verb, send }) {
  return new Promise((answer) => {
    const place = make("div", {});
    place.setAttribute("role", "alert");
    const { dialog, form } = open(title, [...content, place], [make("button", { type: "submit", className: "main" }, verb)]);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        const sent = await send(form);
        dialog.close();
        answer(sent ?? true);
      } catch (error) {
        place.replaceChildren(errorNote(error));
      }
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      answer(null);
    });
    dialog.showModal();
  });
}

let made = 0;

function open(title, content, buttons, withCancel = true) {
  const heading = make("h2", { id: `dialog-${made += 1}` }, title);
  const dialog = make("dialog", {});
  dialog.setAttribute("aria-labelledby", heading.id);
  const cancel = withCancel ? [action("Cancel", () => dialog.close())] : [];
  const form = make("form", { method: "dialog", noValidate: true }, heading, ...content, make("div", { className: "actions" }, ...cancel, ...buttons));
  form.addEventListener("submit", (event) => event.preventDefault());
  dialog.append(form);
  document.body.append(dialog);
  return { dialog, form };
}
