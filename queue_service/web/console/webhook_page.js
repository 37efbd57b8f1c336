// One webhook: its settings, its secret, and what it has sent.

import { path } from "./api.js";
import { confirm, tell } from "./dialog.js";
import { secret } from "./create_page.js";
import { count, moment } from "./format.js";
import { field, sendingForm, valueOf } from "./form.js";
import { heading, tabs } from "./headings.js";
import { action, badge, empty, errorNote, link, make, note, panel } from "./parts.js";
import { to, withQuery } from "./router.js";
import { Table } from "./table.js";
import { eventFields, eventsOf, stateOf } from "./webhooks_page.js";

const PAGE = 50;
const STATES = { pending: ["Waiting", "busy"], failed: ["Failed", "wrong"], delivered: ["Delivered", "good"] };

export async function show(context) {
  const { service, item: name, api, refresh } = context;
  const wanted = path(service, "webhooks", name);
  const webhook = await api.get(wanted);
  const told = make("div", {});
  told.setAttribute("role", "status");
  const attempt = async (what) => {
    try {
      await what();
    } catch (error) {
      told.replaceChildren(errorNote(error));
    }
  };
  const rotate = action("New secret", () => attempt(async () => {
    if (!(await confirm({ title: "Create a new secret?", verb: "Create a new secret", text: "For a day, messages are signed with the old secret too, so that you can change your server." }))) return;
    const made = await api.send("POST", `${wanted}/rotate`);
    await tell("The new secret", make("p", {}, "Copy it now: it is not shown again."), secret("Secret", made.secret));
  }));
  const remove = action("Delete", () => attempt(async () => {
    if (!(await confirm({ title: `Delete ${name}?`, verb: "Delete", danger: true, text: "Its waiting messages are not sent." }))) return;
    await api.send("DELETE", wanted);
    location.hash = to(service, "webhooks");
  }));
  remove.className = "danger";
  const top = heading(name, { crumbs: [["Services", "#/"], [service, to(service)], ["Webhooks", to(service, "webhooks")]], badges: [stateOf(webhook)], actions: [rotate, remove] });
  const deliveries = deliveriesSection(context, wanted, attempt);
  await deliveries.read();
  const node = [top.node, tabs(context, "webhooks"), told];
  if (webhook.disabled_reason) node.push(note("It is disabled.", webhook.disabled_reason, "warn"));
  return { title: `${name} · ${service}`, focus: top.title, node: [...node, deliveries.node, settingsPanel(api, wanted, webhook, refresh)] };
}

function deliveriesSection({ service, api }, wanted, attempt) {
  const found = new Map();
  let after = "";
  const table = new Table({ caption: "Deliveries", key: (one) => one.id, columns: [
    { name: "Event", className: "tight", cell: (one) => [make("span", { className: "name" }, one.event), one.url ? make("span", { className: "sub" }, one.url) : null] },
    { name: "State", className: "tight", cell: (one) => badge(...(STATES[one.state] ?? [one.state, ""])) },
    { name: "Job", cell: (one) => link(withQuery(to(service, "jobs", one.job), { owner: one.owner }), one.job, "mono") },
    { name: "Attempts", className: "number", cell: (one) => [count(one.attempts), one.status ? make("span", { className: "sub" }, `status ${one.status}`) : null] },
    { name: "Last, next attempt", className: "wide-cell", cell: (one) => [moment(one.last_attempt_at) || "–", one.next_attempt_at ? make("span", { className: "sub" }, `next ${moment(one.next_attempt_at)}`) : null, one.error ? make("span", { className: "sub wrong-text" }, one.error) : null] },
    { name: "Actions", isUnseen: true, cell: (one) => again(one) },
  ] });
  const again = (one) => {
    const button = action("Send again", () => attempt(async () => {
      await api.send("POST", `${wanted}/deliveries/${encodeURIComponent(one.id)}/redeliver`);
      await restart();
    }));
    button.className = "small";
    button.setAttribute("aria-label", `Send again: ${one.event} of ${one.job}`);
    return button;
  };
  const nothing = empty("Nothing was sent yet", "When a job ends, its event appears here with your server's response.");
  const more = action("Show more", () => read());
  const failed = action("Send all failed again", () => attempt(async () => {
    await api.send("POST", `${wanted}/redeliver`);
    await restart();
  }));
  const read = async () => {
    const page = await api.get(`${wanted}/deliveries`, { limit: PAGE, after });
    for (const one of page.deliveries) found.set(one.id, one);
    after = page.next ?? "";
    const all = [...found.values()];
    table.update(all);
    table.node.hidden = !all.length;
    nothing.hidden = Boolean(all.length);
    more.hidden = !after;
    failed.hidden = !all.some((one) => one.state === "failed");
  };
  const restart = async () => {
    found.clear();
    after = "";
    await read();
  };
  const refresh = action("Refresh", () => attempt(restart));
  const head = make("div", { className: "head" }, make("h2", {}, "Deliveries"), make("div", { className: "actions" }, failed, refresh));
  return { node: make("section", { className: "section" }, head, table.node, nothing, more), read };
}

function settingsPanel(api, wanted, webhook, refresh) {
  const url = webhook.url === undefined ? [] : [field({ name: "url", label: "URL", type: "url", value: webhook.url })];
  const form = sendingForm({
    content: [...url, eventFields(webhook.events), field({ name: "enabled", label: "Send messages", type: "checkbox", value: webhook.enabled })],
    verb: "Save the webhook",
    async send(sent) {
      await api.send("PUT", wanted, { url: url.length ? valueOf(sent, "url") : "", events: eventsOf(sent), enabled: sent.elements.enabled.checked });
      await refresh();
    },
  });
  return panel("Settings", form);
}
