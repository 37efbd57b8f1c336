// One dead letter: its error and its input, which can be edited before it is replayed.

import { path, queryOf } from "./api.js";
import { confirm } from "./dialog.js";
import { bytes, count, moment } from "./format.js";
import { heading, tabs } from "./headings.js";
import { action, badge, errorNote, facts, link, make, note, panel } from "./parts.js";
import { to, withQuery } from "./router.js";

export async function show(context) {
  const { service, item: id, api, query } = context;
  const queue = query.queue === "sink" ? { queue: "sink" } : {};
  const wanted = path(service, "dead-letters", id), suffix = queryOf(queue);
  const letter = await api.get(wanted, queue);
  const list = withQuery(to(service, "dead"), queue);
  const told = make("div", {});
  told.setAttribute("role", "status");
  const leave = async (verb, send) => {
    try {
      await send();
      location.hash = verb === "replay" && !queue.queue ? withQuery(to(service, "jobs", letter.request_id), { owner: letter.owner }) : list;
    } catch (error) {
      told.replaceChildren(errorNote(error));
    }
  };
  const replay = action("Replay", () => leave("replay", () => api.send("POST", `${wanted}/replay${suffix}`)));
  replay.className = "main";
  const remove = action("Delete", async () => {
    if (await confirm({ title: "Delete this dead letter?", verb: "Delete", danger: true, text: "Its input and its error are removed. This cannot be undone." })) await leave("delete", () => api.send("DELETE", wanted + suffix));
  });
  remove.className = "danger";
  const top = heading(letter.request_id, { crumbs: [["Services", "#/"], [service, to(service)], ["Dead letters", list]], badges: [badge("Dead letter", "wrong")], actions: [replay, remove] });
  top.title.classList.add("mono");
  const parts = [letter.type && `type ${letter.type}`, letter.code && `code ${letter.code}`, letter.reason].filter(Boolean).join(", ");
  return {
    title: `${letter.request_id} · ${service}`, focus: top.title,
    node: [top.node, tabs(context, "letters"), told,
      note("Its last attempt failed.", "", "wrong", make("pre", {}, letter.error || "No message."), make("span", { className: "hint" }, parts)),
      make("div", { className: "columns" }, inputPanel(api, wanted + suffix, letter, told), panel("Details", factsOf(service, letter)))],
  };
}

function factsOf(service, letter) {
  const tags = Object.entries(letter.tags).filter(([name]) => !name.startsWith("_") && name !== "requestId");
  return facts([
    ["Index", letter.id], ["Job", link(withQuery(to(service, "jobs", letter.request_id), { owner: letter.owner }), letter.request_id, "mono")], ["Owner", letter.owner],
    ["Put", moment(letter.stored_at_ms)], ["Parked", moment(letter.parked_at_ms)], ["Attempts", count(letter.attempts)],
    ["Last worker", letter.uid], ["Engines that it killed", letter.deaths.length ? letter.deaths.join(", ") : null],
    ["Priority", letter.priority || null], ["Path", letter.path], ["Content type", letter.content_type], ["Size", bytes(letter.size_bytes)],
    ...tags.map(([name, value]) => [`Tag ${name}`, value]),
  ]);
}

function inputPanel(api, wanted, letter, told) {
  if (letter.data === undefined) {
    return panel("Input", make("p", { className: "quiet-text" }, letter.data_base64 === undefined ? "It is too large to be shown here." : "It is not text. Use penstock dead show to read it."));
  }
  const box = make("textarea", { id: "input-of-letter", rows: 10, spellcheck: false, value: pretty(letter.data) });
  const save = action("Save the input", async () => {
    try {
      const data = box.value === pretty(letter.data) ? letter.data : box.value;
      await api.send("PATCH", wanted, { data });
      told.replaceChildren(note("Saved.", "Replay the letter to run it with this input.", "good"));
    } catch (error) {
      told.replaceChildren(errorNote(error));
    }
  });
  const label = make("label", { htmlFor: box.id, className: "hint" }, "You can change it before you replay the letter.");
  return panel("Input", label, box, make("div", {}, save));
}

function pretty(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" ? JSON.stringify(value, null, 2) : text;
  } catch {
    return text;
  }
}
