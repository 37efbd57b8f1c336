// The settings of a service: changed by an operator, or the service is deleted.

import { path } from "./api.js";
import { confirm } from "./dialog.js";
import { plural } from "./format.js";
import { sendingForm } from "./form.js";
import { heading, tabs } from "./headings.js";
import { action, errorNote, make, note, panel } from "./parts.js";
import { to } from "./router.js";
import { settingsFields, settingsOf } from "./settings_form.js";

export async function show(context) {
  const { service, api } = context;
  const whole = await api.get(path(service, "overview"));
  const top = heading("Settings", { crumbs: [["Services", "#/"], [service, to(service)]] });
  const node = [top.node, tabs(context, "settings")];
  if (whole.origin === "environment") {
    node.push(note("This service comes from the environment.", "Change PENSTOCK_SERVICES and restart the queue service, or create a service here.", ""),
      panel("Settings", make("pre", { className: "block", tabIndex: 0 }, JSON.stringify(whole.settings, null, 2))));
    return { title: `Settings of ${service}`, focus: top.title, node };
  }
  const saved = make("p", { className: "hint" });
  saved.setAttribute("role", "status");
  const form = sendingForm({
    content: settingsFields(whole.settings), verb: "Save the settings", more: [saved],
    async send(sent) {
      // The scalers have their own page, and stay as they are.
      const { autoscaler, cronscaler, ...settings } = settingsOf(sent, whole.settings);
      await api.send("PUT", path(service), withoutNull(settings), { "If-Match": `"${whole.revision}"` });
      whole.revision += 1;
      saved.textContent = "Saved. Jobs and workers are not affected.";
    },
  });
  node.push(form, deletePanel(context, whole));
  return { title: `Settings of ${service}`, focus: top.title, node };
}

const withoutNull = (settings) => Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== null));

function deletePanel({ service, api }, whole) {
  const place = make("div", {});
  const button = action("Delete the service", async () => {
    const entries = whole.input.length + whole.sink.length;
    const isSure = await confirm({
      title: `Delete ${service}?`, verb: "Delete", danger: true, word: service,
      text: `This deletes its queues with ${plural(entries, "entry", "entries")}, its dead letters and its tokens' access. This cannot be undone.`,
    });
    if (!isSure) return;
    try {
      await api.send("DELETE", path(service));
      location.hash = "#/";
    } catch (error) {
      place.replaceChildren(errorNote(error));
    }
  });
  button.className = "danger";
  return panel("Delete the service", make("p", { className: "quiet-text" }, "Its jobs, results and dead letters are deleted, and its workers leave."), make("div", {}, button), place);
}
