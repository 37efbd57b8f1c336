// The webhooks of a service: which servers are notified, of what, and whether they can be.

import { path } from "./api.js";
import { tell } from "./dialog.js";
import { secret } from "./create_page.js";
import { field, sendingForm, valueOf } from "./form.js";
import { heading, tabs } from "./headings.js";
import { badge, empty, link, make, panel } from "./parts.js";
import { to } from "./router.js";
import { Table } from "./table.js";

export const EVENTS = [["job.succeeded", "Jobs that succeed"], ["job.failed", "Jobs that fail"], ["job.canceled", "Jobs that are canceled"], ["job.expired", "Jobs that expire"]];

export async function show(context) {
  const { service, api, refresh } = context;
  const { webhooks } = await api.get(path(service, "webhooks"));
  const top = heading("Webhooks", { crumbs: [["Services", "#/"], [service, to(service)]] });
  const table = new Table({ caption: "Webhooks", columns: columns(service), key: (one) => one.name });
  table.update(webhooks);
  const shown = webhooks.length ? table.node : empty("No webhooks", "A webhook notifies your server when a job ends, so that it does not have to poll. The messages are signed.");
  const form = sendingForm({
    content: [field({ name: "name", label: "Name", hint: "Such as billing.", maxlength: 64 }), field({ name: "url", label: "URL", type: "url", hint: "It gets a POST for each event. Private addresses are refused by default." }), eventFields(EVENTS.map(([event]) => event))],
    verb: "Add the webhook",
    async send(sent) {
      const name = valueOf(sent, "name");
      if (!name) throw new Error("name: expected a name, got nothing");
      if (webhooks.some((one) => one.name === name)) throw new Error("name: expected another name: this webhook exists already");
      const made = await api.send("PUT", path(service, "webhooks", name), { url: valueOf(sent, "url"), events: eventsOf(sent) });
      await tell("The webhook is set up", make("p", {}, "Copy its secret now: it is not shown again. Your server checks the signature of each message with it."), secret("Secret", made.secret));
      await refresh();
    },
  });
  return { title: `Webhooks of ${service}`, focus: top.title, node: [top.node, tabs(context, "webhooks"), shown, panel("Add a webhook", form)] };
}

export function eventFields(chosen) {
  return make("fieldset", {}, make("legend", {}, "Events"), ...EVENTS.map(([event, label]) => field({ name: event, label, type: "checkbox", value: chosen.includes(event) })));
}

export function eventsOf(form) {
  const events = EVENTS.map(([event]) => event).filter((event) => form.elements[event].checked);
  if (!events.length) throw new Error("events: expected at least one event, got none");
  return events;
}

export function stateOf(webhook) {
  return webhook.enabled ? badge("Enabled", "good") : badge("Disabled", "warn");
}

const columns = (service) => [
  { name: "Webhook", cell: (one) => link(to(service, "webhooks", one.name), one.name, "name") },
  { name: "URL", className: "wide-cell", cell: (one) => one.url ?? "of each job" },
  { name: "Events", cell: (one) => one.events.map((event) => event.replace("job.", "")).join(", ") },
  { name: "State", cell: (one) => [stateOf(one), one.disabled_reason ? make("span", { className: "sub" }, one.disabled_reason) : null] },
];
