// Tokens that operators have created: what each may do, and for which services.

import { confirm, tell } from "./dialog.js";
import { secret } from "./create_page.js";
import { ago, moment } from "./format.js";
import { field, numberOf, sendingForm, valueOf } from "./form.js";
import { heading } from "./headings.js";
import { action, empty, errorNote, make, panel } from "./parts.js";
import { Table } from "./table.js";

const SCOPES = [
  ["submit", "Put jobs"], ["read", "Read jobs and results"], ["cancel", "Cancel jobs"], ["work", "Run jobs, as a worker"],
  ["priority", "Overtake the jobs of other tokens"], ["all", "Do this with the jobs of every owner"], ["admin", "Everything, for every service"],
];

export async function show(context) {
  const { api, known, refresh } = context;
  const { tokens } = await api.get("v1/tokens");
  const top = heading("Tokens");
  const told = make("div", {});
  told.setAttribute("role", "status");
  const table = new Table({ caption: "Tokens", columns: columns(api, refresh, told), key: (one) => one.id });
  table.update(tokens);
  const shown = tokens.length ? table.node : empty("No tokens", "Each service has its own token, which may do everything there. Create tokens with fewer rights, one for each client.");
  const services = known().services.map((service) => service.name).join(", ");
  const form = sendingForm({
    verb: "Create the token",
    content: [
      field({ name: "name", label: "Name", hint: "For you, such as the client that uses it.", maxlength: 128 }),
      field({ name: "services", label: "Services", hint: `Separated by commas. Empty means every service. There are: ${services || "none"}.` }),
      make("fieldset", {}, make("legend", {}, "What it may do"), ...SCOPES.map(([scope, label]) => field({ name: `scope-${scope}`, label, type: "checkbox", value: scope === "submit" || scope === "read" }))),
      field({ name: "days", label: "Days until it expires", type: "number", min: 1, hint: "Empty: never." }),
    ],
    async send(sent) {
      const scopes = SCOPES.map(([scope]) => scope).filter((scope) => sent.elements[`scope-${scope}`].checked);
      const days = numberOf(sent, "days");
      const wanted = { name: valueOf(sent, "name"), scopes, services: valueOf(sent, "services").split(/[\s,]+/).filter(Boolean) };
      const made = await api.send("POST", "v1/tokens", { ...wanted, ...(days ? { expires_in_s: Math.round(days * 86_400) } : {}) });
      await tell("The token was created", make("p", {}, "Copy it now: it is not shown again."), secret("Token", made.token));
      await refresh();
    },
  });
  return { title: "Tokens", focus: top.title, node: [top.node, told, shown, panel("Create a token", form)] };
}

const columns = (api, refresh, told) => [
  { name: "Token", cell: (one) => [make("span", { className: "name" }, one.name || one.id), make("span", { className: "sub mono" }, one.id)] },
  { name: "Scopes", cell: (one) => one.scopes.join(", ") },
  { name: "Services", cell: (one) => (one.services.length ? one.services.join(", ") : "every service") },
  { name: "Created", className: "tight", cell: (one) => [moment(one.created_at_ms), make("span", { className: "sub" }, ago(one.created_at_ms))] },
  { name: "Expires", className: "tight", cell: (one) => (one.expires_at_ms ? moment(one.expires_at_ms) : "never") },
  { name: "Actions", isUnseen: true, cell: (one) => revokeButton(api, one, refresh, told) },
];

function revokeButton(api, { id, name }, refresh, told) {
  const button = action("Revoke", async () => {
    if (!(await confirm({ title: `Revoke ${name || id}?`, verb: "Revoke", danger: true, text: "Its requests and connections end within a second." }))) return;
    try {
      await api.send("DELETE", `v1/tokens/${encodeURIComponent(id)}`);
      await refresh();
    } catch (error) {
      told.replaceChildren(errorNote(error));
    }
  });
  button.className = "small danger";
  button.setAttribute("aria-label", `Revoke ${name || id}`);
  return button;
}
