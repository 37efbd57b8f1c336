// What needs attention, with what to do: found in an overview, without asking more.

import { plural, seconds, sentence } from "./format.js";
import { link, make, note } from "./parts.js";
import { to } from "./router.js";

// Return [{service, kind, title, text, address, todo}] of one service; todo: the words of the link there.
export function problemsOf(service, isOperator) {
  const { name, workers } = service;
  if (service.state === "stopped") return [];
  const found = [];
  const add = (kind, title, text, address = to(name), todo = "") => found.push({ service: name, kind, title, text, address, todo });
  if (service.sink.full) {
    add("wrong", "The sink is full, so no job starts.", sentence(service.sink.full_because) || "Read results, delete them, or enlarge the sink.", `${to(name, "jobs")}?state=succeeded`, "Show the results");
  }
  if (service.waiting && !workers.total && !service.paused_at_ms) {
    add("wrong", `${plural(service.waiting, "job waits", "jobs wait")}, and no worker is connected.`, "Start a worker, or give the service an autoscaler.", to(name, "scaling"), "Open scaling");
  }
  if (workers.unhealthy) {
    add("wrong", `${plural(workers.unhealthy, "worker has", "workers have")} a GPU that failed a check.`, "A quarantined worker takes no jobs until a check succeeds.");
  }
  if (workers.driver_error) add("wrong", "The autoscaler cannot start or stop workers.", workers.driver_error, to(name, "scaling"), "Open scaling");
  if (service.paused_at_ms && service.waiting) add("warn", `${plural(service.waiting, "job waits", "jobs wait")} because the service is paused.`, "Resume it to deliver them.");
  if (service.dead_letters) {
    add("warn", `${plural(service.dead_letters, "dead letter")}.`, "Each job failed at every attempt. Read its error, then replay or delete it.", isOperator ? to(name, "dead") : `${to(name, "jobs")}?state=failed`, isOperator ? "Open the dead letters" : "Show failed jobs");
  }
  const { runs, failed } = service.pace.hour;
  if (failed >= 5 && failed > runs / 4) add("warn", `${failed} of ${plural(runs, "job")} failed in the last hour.`, "Look at their errors.", `${to(name, "jobs")}?state=failed`, "Show failed jobs");
  const { p95 } = service.pace.wait_s;
  if (p95 > 600 && service.waiting) add("warn", `Jobs wait up to ${seconds(p95)}.`, "More workers would shorten that.", to(name, "scaling"), "Open scaling");
  return found;
}

// One line for each, the worst first, with the service that it is about.
export function problemList(problems, most) {
  const ordered = [...problems].sort((one, other) => (one.kind === other.kind ? 0 : one.kind === "wrong" ? -1 : 1));
  const lines = ordered.slice(0, most).map((one) => make("li", { className: one.kind },
    link(one.address, one.service), make("span", {}, one.title), make("span", { className: "quiet-text" }, one.text)));
  if (ordered.length > most) lines.push(make("li", { className: "quiet-text" }, `and ${ordered.length - most} more`));
  return make("ul", { className: "problems" }, ...lines);
}

// The same on the page of a service.
export function problemNotes(problems) {
  return problems.map((one) => note(one.title, one.text, one.kind, ...(one.todo ? [make("span", {}, link(one.address, one.todo))] : [])));
}
