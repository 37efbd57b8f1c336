// All services of the token, as they are now.

import { problemList, problemsOf } from "./attention.js";
import { spark } from "./chart.js";
import { count, percent, plural, rate, seconds, share } from "./format.js";
import { heading, stateBadges } from "./headings.js";
import { empty, figures, link, make, meter, section } from "./parts.js";
import { to } from "./router.js";
import { Table } from "./table.js";

const MOST_PROBLEMS = 6;

export function show({ isOperator }) {
  const actions = isOperator ? [link("#/new", "Create a service", "button")] : [];
  const top = heading("Services", { actions });
  const sums = make("div", {});
  const problems = section("Needs attention");
  problems.className = "panel";
  const table = new Table({ caption: "Services", key: (service) => service.name, columns });
  const nothing = isOperator
    ? empty("No services yet", "A service is a queue with a name, a token, and workers that run its jobs. Create the first one here or with penstock create.", link("#/new", "Create a service", "button main"))
    : empty("No services", "Your token does not open any of the current services. Ask an operator.");
  return {
    title: "Services", node: [top.node, sums, problems, table.node, nothing], focus: top.title,
    update({ services }) {
      sums.replaceChildren(...(services.length ? [total(services)] : []));
      const found = services.flatMap((service) => problemsOf(service, isOperator));
      showProblems(problems, found);
      table.update(services);
      table.node.hidden = !services.length;
      nothing.hidden = Boolean(services.length);
    },
  };
}

function showProblems(place, found) {
  place.hidden = !found.length;
  const list = problemList(found, MOST_PROBLEMS);
  // Only when it changes: the focus may be inside.
  if (place.lastChild.outerHTML === list.outerHTML) return;
  if (place.children.length > 1) place.lastChild.remove();
  place.append(list);
}

function total(services) {
  const sum = (of) => services.reduce((all, service) => all + of(service), 0);
  const runs = sum((service) => service.pace.hour.runs), failed = sum((service) => service.pace.hour.failed);
  return figures([
    { name: "Waiting", value: count(sum((service) => service.waiting)) },
    { name: "Running", value: count(sum((service) => service.running)) },
    { name: "Ended per minute", value: rate(sum((service) => service.pace.per_minute)) },
    { name: "Failed, last hour", value: count(failed), sub: runs ? `of ${plural(runs, "job")}` : "", kind: failed ? "wrong-text" : "" },
    { name: "Workers", value: count(sum((service) => service.workers.ready)), sub: sub(services) },
  ]);
}

function sub(services) {
  const starting = services.reduce((all, service) => all + service.workers.starting, 0);
  return starting ? `ready, ${starting} starting` : "ready";
}

const columns = [
  { name: "Service", cell: (service) => [link(to(service.name), service.name, "name"), make("span", { className: "badges" }, ...stateBadges(service))] },
  { name: "Waiting", className: "number", cell: (service) => [count(service.waiting), under(service.waiting && service.oldest_s !== null ? `oldest ${seconds(service.oldest_s)}` : "")] },
  { name: "Running", className: "number", cell: (service) => [count(service.running), under(service.workers.window ? `of ${count(service.workers.window)}` : "")] },
  { name: "Per minute", className: "number", cell: (service) => [rate(service.pace.per_minute), spark(service.pace.runs)] },
  { name: "Wait p50", className: "number", cell: (service) => [seconds(service.pace.wait_s.p50), under(service.pace.wait_s.p95 === null ? "" : `p95 ${seconds(service.pace.wait_s.p95)}`)] },
  { name: "Failed, 1 h", className: "number", cell: failedCell },
  { name: "Workers", className: "number", cell: workersCell },
  { name: "Results kept", className: "tight", cell: sinkCell },
];

const under = (text, kind = "") => (text ? make("span", { className: `sub ${kind}` }, text) : null);

function failedCell({ pace }) {
  const { runs, failed } = pace.hour;
  return [failed ? make("span", { className: "wrong-text" }, count(failed)) : "0", under(runs ? `of ${count(runs)}` : "")];
}

function workersCell({ workers, waiting }) {
  const parts = [];
  if (workers.wanted !== null && workers.wanted !== undefined) parts.push(`${count(workers.wanted)} wanted`);
  if (workers.starting) parts.push(`${count(workers.starting)} starting`);
  if (workers.resting) parts.push(`${count(workers.resting)} resting`);
  if (workers.unhealthy) parts.push(`${count(workers.unhealthy)} unhealthy`);
  const number = make("span", { className: waiting && !workers.total ? "wrong-text" : "" }, count(workers.ready));
  return [number, under(parts.join(", "), workers.unhealthy ? "wrong-text" : "")];
}

function sinkCell({ sink }) {
  const full = share(sink.places, sink.capacity);
  const kind = sink.full ? "wrong" : full > 0.8 ? "warn" : "";
  return [make("span", { className: sink.full ? "wrong-text" : "" }, sink.full ? "Full" : count(sink.length)),
    under(`${full < 0.01 ? "" : `${percent(full)} `}of ${count(sink.capacity)}`), meter(full, kind)];
}
