// The jobs of a service: page by page, by state, or one by its id.

import { path } from "./api.js";
import { confirm } from "./dialog.js";
import { ago, count, moment, percent, plural, seconds, secondsBetween, sentence } from "./format.js";
import { heading, tabs } from "./headings.js";
import { action, badge, empty, errorNote, link, make } from "./parts.js";
import { to, withQuery } from "./router.js";
import { Table } from "./table.js";

// With a state the service looks at more jobs for the same time in steps of this size.
const PAGE = 50, SEARCHED = 100, MOST_AT_ONCE = 8, FIRST_MS = 150;
export const STATES = { queued: ["Queued", ""], running: ["Running", "busy"], succeeded: ["Succeeded", "good"], failed: ["Failed", "wrong"], canceled: ["Canceled", "warn"], expired: ["Expired", "warn"] };

export const stateBadge = (state) => badge(...(STATES[state] ?? [state, ""]));

export async function show(context) {
  const { service, api, may, query } = context;
  const top = heading("Jobs", { crumbs: [["Services", "#/"], [service, to(service)]] });
  const selected = new Map();
  const columns = [...(may("cancel") ? [{ name: "Select", isUnseen: true, cell: (job) => pickCell(job, selected, changed) }] : []), ...jobColumns(service)];
  // The first column is the heading of its row.
  if (may("cancel")) columns.unshift(columns.splice(1, 1)[0]);
  const table = new Table({ caption: "Jobs", columns, key: (job) => `${job.owner} ${job.id}` });
  const jobs = new Map();
  const state = query.state ?? "";
  let after = "", isSearching = false, isOver = false;
  const status = make("p", { className: "hint" });
  status.setAttribute("role", "status");
  const nothing = state ? empty("No such jobs", "No job is in this state. Choose another state, or all of them.")
    : empty("No jobs yet", "Submit the first one with penstock run, or on the page for trying the service.", link(`try/${encodeURIComponent(service)}`, "Try the service", "button"));
  const more = action("Show more", () => read());
  const cancelAll = action("", () => cancelSelected());
  cancelAll.className = "danger";
  const changed = () => {
    cancelAll.hidden = !selected.size;
    cancelAll.textContent = `Cancel ${plural(selected.size, "job")}`;
  };
  const paint = () => {
    table.update([...jobs.values()]);
    table.node.hidden = !jobs.size;
    nothing.hidden = Boolean(jobs.size) || Boolean(after);
    more.hidden = !after || isSearching;
    const shown = jobs.size ? `${plural(jobs.size, "job")} shown${after ? "" : ", no more"}` : "";
    status.textContent = isSearching ? `${shown}${shown ? "; searching" : "Searching"} more jobs…` : shown;
    changed();
  };
  const read = async () => {
    more.disabled = true;
    const before = jobs.size;
    do {
      const page = await api.get(path(service, "jobs"), { state, limit: state ? SEARCHED : PAGE, after });
      for (const job of page.jobs) jobs.set(`${job.owner} ${job.id}`, job);
      after = page.after ?? "";
      isSearching = jobs.size === before && Boolean(after);
      paint();
      // A hundred thousand other jobs may come first.
    } while (isSearching && !isOver);
    more.disabled = false;
  };
  const again = async () => {
    jobs.clear();
    selected.clear();
    after = "";
    await read();
  };
  const cancelSelected = async () => {
    const wanted = [...selected.values()];
    const isSure = await confirm({ title: `Cancel ${plural(wanted.length, "job")}?`, verb: "Cancel them", danger: true, text: "Jobs that wait are removed from the queue. A worker stops those that run." });
    if (!isSure) return;
    const failed = [];
    // A few at a time: a thousand requests at once would be refused.
    for (let first = 0; first < wanted.length; first += MOST_AT_ONCE) {
      await Promise.all(wanted.slice(first, first + MOST_AT_ONCE).map((job) => api
        .send("POST", `${path(service, "jobs", job.id)}/cancel${ownerQuery(job)}`).catch((error) => failed.push(error))));
    }
    await again();
    if (failed.length) status.replaceChildren(errorNote(failed[0]));
  };
  const refresh = action("Refresh", again);
  top.actions.append(refresh);
  // Not awaited for long: the page is there while the service searches.
  const first = read();
  await Promise.race([first, new Promise((late) => setTimeout(late, FIRST_MS))]);
  first.catch((error) => status.replaceChildren(errorNote(error)));
  return { title: `Jobs of ${service}`, focus: top.title, close: () => { isOver = true; }, node: [top.node, tabs(context, "jobs"), filters(service, state), make("div", { className: "actions" }, status, cancelAll), table.node, nothing, more] };
}

const ownerQuery = (job) => (job.owner ? `?owner=${encodeURIComponent(job.owner)}` : "");

function filters(service, state) {
  const choice = make("select", { id: "state" }, new Option("All", ""), ...Object.entries(STATES).map(([value, [name]]) => new Option(name, value)));
  choice.value = state;
  choice.addEventListener("change", () => { location.hash = withQuery(to(service, "jobs"), { state: choice.value }); });
  const id = make("input", { id: "job-id", type: "text", autocomplete: "off", spellcheck: false });
  const form = make("form", { className: "filters" },
    make("div", { className: "field" }, make("label", { htmlFor: "state" }, "State"), choice),
    make("div", { className: "field" }, make("label", { htmlFor: "job-id" }, "Job id"), make("div", { className: "row" }, id, make("button", { type: "submit" }, "Open"))));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (id.value.trim()) location.hash = to(service, "jobs", id.value.trim());
  });
  return form;
}

const under = (text) => (text ? make("span", { className: "sub" }, text) : null);

const jobColumns = (service) => [
  { name: "Job", cell: (job) => [link(withQuery(to(service, "jobs", job.id), { owner: job.owner }), job.id, "mono"), under(job.owner ? `of ${job.owner}` : "")] },
  { name: "State", className: "tight", cell: (job) => [stateBadge(job.state), under(stateSub(job))] },
  { name: "Created", className: "tight", cell: (job) => [moment(job.created_at), under(ago(job.created_at))] },
  { name: "Waited", className: "number", cell: (job) => seconds(secondsBetween(job.created_at, job.started_at ?? (job.state === "queued" ? Date.now() : job.ended_at))) },
  { name: "Ran", className: "number", cell: (job) => (job.started_at ? seconds(secondsBetween(job.started_at, job.ended_at ?? Date.now())) : "–") },
  { name: "Attempt", className: "number", cell: (job) => [job.attempt ? count(job.attempt) : "–", under(job.attempt > 1 && job.max_attempts ? `of ${job.max_attempts}` : "")] },
  { name: "Worker or error", className: "wide-cell", cell: endCell },
];

function endCell({ state, error, worker }) {
  if (!error || state === "canceled") return worker || "–";
  return [make("span", { className: "wrong-text" }, shortened(sentence(error.message || error.code || "failed"))), under([error.type, worker && `on ${worker}`].filter(Boolean).join(" "))];
}

const shortened = (text) => (text.length > 160 ? `${text.slice(0, 160)}…` : text);

function stateSub(job) {
  if (job.progress) return percent(job.progress.fraction);
  if (job.canceling) return "is being canceled";
  if (job.next_attempt_at) return `next attempt ${moment(job.next_attempt_at)}`;
  if (job.waiting_for) return { resume: "service is paused", window: "outside its time window", sink: "sink is full" }[job.waiting_for];
  if (job.scheduled) return `not before ${moment(job.not_before)}`;
  return job.position === null || job.position === undefined ? "" : `${plural(job.position, "job")} ahead`;
}

function pickCell(job, selected, changed) {
  if (job.state !== "queued" && job.state !== "running") return "";
  const key = `${job.owner} ${job.id}`;
  const box = make("input", { type: "checkbox", checked: selected.has(key) });
  box.setAttribute("aria-label", `Select ${job.id}`);
  box.addEventListener("change", () => {
    if (box.checked) selected.set(key, job);
    else selected.delete(key);
    changed();
  });
  return box;
}
