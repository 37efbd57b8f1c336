// The dead letters of a service: listed, replayed and deleted, some of them or all.

import { path } from "./api.js";
import { confirm } from "./dialog.js";
import { ago, bytes, count, moment, plural } from "./format.js";
import { heading, tabs } from "./headings.js";
import { action, empty, link, make, note } from "./parts.js";
import { to, withQuery } from "./router.js";
import { Table } from "./table.js";

const PAGE = 50;

export async function show(context) {
  const { service, api, query } = context;
  const queue = query.queue === "sink" ? "sink" : "input";
  const top = heading("Dead letters", { crumbs: [["Services", "#/"], [service, to(service)]] });
  const letters = new Map(), selected = new Set();
  let after = 0, total = 0;
  const status = make("p", { className: "hint" }), told = make("div", {});
  status.setAttribute("role", "status");
  told.setAttribute("role", "status");
  const table = new Table({ caption: "Dead letters", columns: [...letterColumns(service, queue), { name: "Select", isUnseen: true, cell: (letter) => pickCell(letter, selected, () => mark()) }], key: (letter) => String(letter.id) });
  const nothing = empty("No dead letters", queue === "input" ? "A job that fails at its last attempt is kept here if the service's policy is Park." : "Results that readers have rejected at every delivery are kept here.");
  const more = action("Show more", () => read());
  const replay = action("", () => act("replay")), remove = action("", () => act("delete"));
  remove.className = "danger";
  const mark = () => {
    const text = selected.size ? plural(selected.size, "letter") : "all";
    replay.textContent = `Replay ${text}`;
    remove.textContent = `Delete ${text}`;
    replay.hidden = remove.hidden = !letters.size;
  };
  const read = async () => {
    const page = await api.get(path(service, "dead-letters"), { queue, after, length: PAGE });
    for (const letter of page.dead_letters) letters.set(letter.id, letter);
    total = page.total;
    after = page.next;
    more.hidden = !after;
    table.update([...letters.values()]);
    table.node.hidden = !letters.size;
    nothing.hidden = Boolean(letters.size);
    status.textContent = letters.size ? `${count(letters.size)} of ${plural(total, "letter")}, oldest first` : "";
    mark();
  };
  const act = async (verb) => {
    const ids = [...selected];
    const which = ids.length ? plural(ids.length, "letter") : `all ${plural(total, "letter")}`;
    const isSure = await confirm(verb === "replay"
      ? { title: `Replay ${which}?`, verb: "Replay", text: "They go back into the queue with their request ids, and their attempts begin again." }
      : { title: `Delete ${which}?`, verb: "Delete", danger: true, text: "Their inputs and errors are removed. This cannot be undone." });
    if (!isSure) return;
    const choice = new URLSearchParams({ queue, ...(ids.length ? { ids: ids.join(",") } : { all: "true" }) });
    const base = path(service, "dead-letters");
    try {
      const done = verb === "replay" ? await api.send("POST", `${base}/replay?${choice}`) : await api.send("DELETE", `${base}?${choice}`);
      told.replaceChildren(outcome(done));
    } catch (error) {
      told.replaceChildren(note("This was done only in part.", error.message, "wrong"));
    }
    letters.clear();
    selected.clear();
    after = 0;
    await read();
  };
  await read();
  return {
    title: `Dead letters of ${service}`, focus: top.title,
    node: [top.node, tabs(context, "letters"), told, queueChoice(service, queue), make("div", { className: "head" }, status, make("div", { className: "actions" }, replay, remove)), table.node, nothing, more],
  };
}

function outcome({ replayed, in_use: inUse, purged }) {
  if (purged !== undefined) return note(`${plural(purged, "letter")} deleted.`, "", "good");
  const more = inUse?.length ? `${plural(inUse.length, "letter")} stayed, because a newer job has the same id.` : "";
  return note(`${plural(replayed.length, "letter")} replayed.`, more, "good");
}

function queueChoice(service, queue) {
  const node = make("nav", { className: "actions" });
  node.setAttribute("aria-label", "Queue");
  for (const [value, name] of [["input", "Input queue"], ["sink", "Sink"]]) {
    const anchor = link(withQuery(to(service, "dead"), value === "sink" ? { queue: "sink" } : {}), name, "button small");
    if (value === queue) anchor.setAttribute("aria-current", "page");
    node.append(anchor);
  }
  return node;
}

const under = (text) => (text ? make("span", { className: "sub" }, text) : null);
const shortened = (text) => (text.length > 200 ? `${text.slice(0, 200)}…` : text);

const letterColumns = (service, queue) => [
  { name: "Letter", cell: (letter) => [link(withQuery(to(service, "dead", letter.id), queue === "sink" ? { queue } : {}), letter.request_id, "mono"), under(letter.owner ? `of ${letter.owner}` : "")] },
  { name: "Error", className: "wide-cell", cell: (letter) => [make("span", { className: "wrong-text" }, shortened(letter.error || letter.code || letter.reason)), under([letter.type, letter.code].filter(Boolean).join(", "))] },
  { name: "Attempts", className: "number", cell: (letter) => count(letter.attempts) },
  { name: "Parked", className: "tight", cell: (letter) => [moment(letter.parked_at_ms), under(ago(letter.parked_at_ms))] },
  { name: "Size", className: "number", cell: (letter) => bytes(letter.size_bytes) },
];

function pickCell(letter, selected, changed) {
  const box = make("input", { type: "checkbox", checked: selected.has(letter.id) });
  box.setAttribute("aria-label", `Select ${letter.request_id}`);
  box.addEventListener("change", () => {
    if (box.checked) selected.add(letter.id);
    else selected.delete(letter.id);
    changed();
  });
  return box;
}
