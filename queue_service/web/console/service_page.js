// One service: its figures, its recent past, its queues, its workers.

import { path } from "./api.js";
import { problemNotes, problemsOf } from "./attention.js";
import { barChart, lineChart } from "./chart.js";
import { bytes, count, percent, plural, rate, seconds, share } from "./format.js";
import { heading, stateBadges, tabs } from "./headings.js";
import { action, facts, figures, link, make, meter, section } from "./parts.js";
import { stateActions } from "./service_actions.js";
import { workersTable } from "./workers_table.js";

// The charts and the workers are read again after this time, while the page is seen.
const AGAIN_MS = 10_000;

export async function show(context) {
  const { service: name, api, isOperator } = context;
  const whole = await api.get(path(name, "overview"));
  const top = heading(name, { crumbs: [["Services", "#/"]], actions: [link(`try/${encodeURIComponent(name)}`, "Try it", "button"), ...(isOperator ? [stateActions(context, whole)] : [])] });
  const problems = make("div", { className: "notes" }), numbers = make("div", {}), queues = make("div", { className: "columns" });
  const past = pastPanel(context);
  const workers = workersTable(context);
  const node = [top.node, tabs(context, "service"), problems, numbers, past.node, queues, workers.node];
  let readAt = Date.now();
  const take = (service) => {
    replace(top.badges, stateBadges(service));
    replace(problems, problemNotes(problemsOf(service, isOperator)));
    replace(numbers, [numbersOf(service)]);
    replace(queues, [queuePanel("Input queue", service.input, waitingFacts(service)), queuePanel("Sink", service.sink, sinkFacts(service))]);
  };
  const readAgain = async () => {
    readAt = Date.now();
    try {
      const [newer] = await Promise.all([api.get(path(name, "overview")), past.read()]);
      workers.update(newer.worker_list);
    } catch { /* the next reading may succeed; the bar says that the connection is lost */ }
  };
  await past.read();
  workers.update(whole.worker_list);
  take(whole);
  return {
    title: name, node, focus: top.title,
    update({ services }) {
      const now = services.find((one) => one.name === name);
      if (!now) return;
      take(now);
      if (Date.now() - readAt > AGAIN_MS) readAgain();
    },
  };
}

// Only when it looks different: the focus may be inside.
function replace(place, nodes) {
  const signature = nodes.map((node) => node.outerHTML).join("");
  if (place.innerHTML === signature) return;
  place.replaceChildren(...nodes);
}

function numbersOf({ waiting, running, oldest_s: oldest, expected_wait_s: expected, pace, workers }) {
  const { p50, p95 } = pace.wait_s;
  return figures([
    { name: "Waiting", value: count(waiting), sub: waiting && oldest !== null ? `oldest ${seconds(oldest)}` : "" },
    { name: "Running", value: count(running), sub: workers.window ? `of ${count(workers.window)} at once` : "" },
    { name: "Ended per minute", value: rate(pace.per_minute), sub: `${count(pace.hour.runs)} in the last hour` },
    { name: "Wait p50", value: seconds(p50), sub: p95 === null ? "" : `p95 ${seconds(p95)}` },
    { name: "Run p50", value: seconds(pace.run_s.p50), sub: pace.run_s.p95 === null ? "" : `p95 ${seconds(pace.run_s.p95)}` },
    { name: "Failed, last hour", value: count(pace.hour.failed), sub: pace.hour.runs ? `of ${plural(pace.hour.runs, "job")}` : "", kind: pace.hour.failed ? "wrong-text" : "" },
    { name: "Workers", value: count(workers.ready), sub: workersSub(workers, expected) },
  ]);
}

function workersSub({ wanted, starting, resting, draining }) {
  const parts = [];
  if (wanted !== null) parts.push(`${count(wanted)} wanted`);
  if (starting) parts.push(`${count(starting)} starting`);
  if (resting) parts.push(`${count(resting)} resting`);
  if (draining) parts.push(`${count(draining)} leaving`);
  return parts.join(", ") || "ready";
}

function queuePanel(title, queue, more) {
  const full = share(queue.places, queue.capacity);
  const state = make("span", { className: queue.full ? "wrong-text" : "quiet-text" }, queue.full ? "Full" : `${percent(full)} full`);
  const head = make("div", { className: "head" }, make("h2", {}, title), state);
  return make("section", { className: "panel" }, head, meter(full, queue.full ? "wrong" : full > 0.8 ? "warn" : ""),
    facts([["Entries", `${count(queue.length)} of ${count(queue.capacity)}`], ...more,
      ["In Redis", bytes(queue.bytes)], ["Largest payload", bytes(queue.max_payload_bytes)], ["Dead letters", queue.dead_letters ? count(queue.dead_letters) : null]]));
}

const waitingFacts = ({ waiting, running, expected_wait_s: expected }) => [
  ["Waiting", count(waiting)], ["Running", count(running)],
  ["A new job would wait", expected === null ? null : seconds(expected)],
];

const sinkFacts = ({ sink }) => [["Read already", count(sink.read)], ["Why it is full", sink.full_because]];

// The charts of the last hour or day.
function pastPanel({ service, api }) {
  const charts = make("div", { className: "columns" });
  let range = "hour";
  const choose = make("div", { className: "segments" });
  choose.setAttribute("role", "group");
  choose.setAttribute("aria-label", "Range of the charts");
  const buttons = [["hour", "Hour"], ["day", "Day"]].map(([value, text]) => {
    const button = action(text, () => {
      range = value;
      mark();
      read();
    });
    button.value = value;
    return button;
  });
  const mark = () => buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.value === range)));
  choose.append(...buttons);
  mark();
  const read = async () => {
    const { runs, failed, wait_s: waits, step_s: stepS } = await api.get(path(service, "activity"), { range });
    const ended = runs.reduce((sum, one) => sum + one, 0), wrong = failed.reduce((sum, one) => sum + one, 0);
    const known = waits.filter((one) => one !== null);
    charts.replaceChildren(
      barChart({ title: stepS === 60 ? "Jobs per minute" : `Jobs per ${Math.round(stepS / 60)} minutes`, runs, failed, stepS, summary: `${plural(ended, "job")} ended, ${count(wrong)} failed` }),
      lineChart({ title: "Mean wait", values: waits, stepS, label: seconds, summary: known.length ? `at most ${seconds(Math.max(...known))}` : "no job has ended" }));
  };
  const node = section("Recent past", charts);
  node.className = "panel";
  node.firstChild.replaceWith(make("div", { className: "head" }, make("h2", {}, "Recent past"), choose));
  return { node, read };
}
