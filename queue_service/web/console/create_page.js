// A new service: its name and settings.  The answer has its tokens, which are shown only once.

import { path } from "./api.js";
import { tell } from "./dialog.js";
import { field, sendingForm, valueOf } from "./form.js";
import { heading } from "./headings.js";
import { copyButton, link, make } from "./parts.js";
import { to } from "./router.js";
import { settingsFields, settingsOf } from "./settings_form.js";

export function show({ api }) {
  const top = heading("Create a service", { crumbs: [["Services", "#/"]] });
  const name = field({ name: "name", label: "Name", hint: "Letters, digits, dots, dashes and underscores. It is part of the address, and cannot be changed.", required: "", maxlength: 128 });
  const form = sendingForm({
    content: [name, ...settingsFields()], verb: "Create the service",
    more: [link("#/", "Cancel", "button")],
    async send(sent) {
      const wanted = valueOf(sent, "name");
      if (!wanted) throw new Error("name: expected a name, got nothing");
      const made = await api.send("PUT", path(wanted), settingsOf(sent), { "If-None-Match": "*" });
      await tell(`${wanted} is ready`, ...secrets(made));
      location.hash = to(wanted);
    },
  });
  return { title: "Create a service", focus: top.title, node: [top.node, form] };
}

function secrets({ name, token, worker_token: workerToken }) {
  const shown = [make("p", {}, "Copy the tokens now: they are not shown again.")];
  if (token) shown.push(secret("Token for clients", token));
  if (workerToken) shown.push(secret("Token for workers", workerToken));
  const command = `PENSTOCK_WORKER_TOKEN=… penstock worker ${name} --engine echo`;
  shown.push(make("p", {}, "Jobs wait until a worker is connected. On a machine with the model:"), make("code", {}, command));
  return shown;
}

// A secret that is shown once, with a button that copies it.
export function secret(label, text) {
  const id = `secret-${label.replaceAll(" ", "-")}`;
  const box = make("input", { id, type: "text", readOnly: true, value: text, className: "mono wide" });
  const copy = copyButton(() => text);
  copy.setAttribute("aria-label", `Copy: ${label}`);
  return make("div", { className: "field" }, make("label", { htmlFor: id }, label), make("div", { className: "row" }, box, copy));
}
