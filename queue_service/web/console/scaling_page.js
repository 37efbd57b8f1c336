// How many workers a service has: what its autoscaler decides, and its settings.

import { path } from "./api.js";
import { confirm } from "./dialog.js";
import { count, rate, seconds } from "./format.js";
import { field, numberOf, sendingForm } from "./form.js";
import { heading, tabs } from "./headings.js";
import { action, errorNote, figures, make, note, panel } from "./parts.js";
import { to } from "./router.js";

const METRICS = [
  ["queue[avgbacklog]", "Waiting jobs per worker", 10], ["queue[backlog]", "Waiting jobs", ""], ["queue[wait]", "Expected wait of a new job, seconds", ""],
  ["qps", "Jobs submitted per second and worker", ""], ["cpu", "CPU use of the workers, percent", ""],
];

export async function show(context) {
  const { service, api, isOperator, known } = context;
  const scale = await api.get(path(service, "scale"));
  const top = heading("Scaling", { crumbs: [["Services", "#/"], [service, to(service)]] });
  const now = make("div", { className: "section" });
  const takeFigures = (given) => now.replaceChildren(...figuresOf(given));
  takeFigures(scale);
  const forms = isOperator ? [autoscalerPanel(context, scale.autoscaler), workersPanel(context)]
    : [panel("Autoscaler", scale.autoscaler ? make("pre", { className: "block", tabIndex: 0 }, JSON.stringify(scale.autoscaler, null, 2)) : make("p", { className: "quiet-text" }, "No autoscaler is set. An operator can set one."))];
  let shown = signature(known(), service);
  return {
    title: `Scaling of ${service}`, focus: top.title, node: [top.node, tabs(context, "scaling"), now, ...forms],
    async update(overview) {
      const newer = signature(overview, service);
      if (newer === shown) return;
      shown = newer;
      takeFigures(await api.get(path(service, "scale")));
    },
  };
}

function signature({ services }, name) {
  const found = services.find((service) => service.name === name);
  return JSON.stringify([found?.workers, found?.waiting, found?.running]);
}

function figuresOf(scale) {
  const { workers, wanted, reason, driver_error: error } = scale;
  const found = [figures([
    { name: "Wanted", value: wanted === null ? "–" : count(wanted) },
    { name: "Ready", value: count(workers.ready), sub: `of ${count(workers.total)}` },
    { name: "Starting", value: count(workers.starting) },
    { name: "Leaving", value: count(workers.draining) },
    { name: "Waiting per worker", value: rate(scale.backlog_per_worker) },
    { name: "A new job would wait", value: seconds(scale.wait_s) },
    { name: "Time to load", value: seconds(scale.load_s) },
  ])];
  if (error) found.push(note("The autoscaler cannot start or stop workers.", error, "wrong"));
  const since = scale.decided_s_ago === null ? "" : ` (${seconds(scale.decided_s_ago)} ago)`;
  found.push(note(wanted === null ? "No autoscaler decides how many workers run." : "The last decision", `${reason}${since}`, ""));
  if (scale.cronscaler) found.push(note("A schedule also applies.", `It has ${scale.cronscaler.ScaleJobs?.length ?? 0} entries. Change them with penstock cronscale.`));
  return found;
}

// Asks some workers to leave: the idle ones leave first, and all finish what they hold.
function workersPanel({ service, api }) {
  const form = sendingForm({
    content: [field({ name: "count", label: "Number of workers", type: "number", min: 1, value: 1, hint: "They finish their jobs first. An autoscaler starts others if it wants more." })], verb: "Ask them to leave",
    async send(sent) {
      const { leaving } = await api.send("POST", path(service, "workers", "leave"), { count: numberOf(sent, "count") });
      told.textContent = leaving.length ? `Leaving: ${leaving.map((one) => one.uid).join(", ")}.` : "No worker can leave now.";
    },
  });
  const told = make("p", { className: "hint" });
  told.setAttribute("role", "status");
  return panel("Ask workers to leave", form, told);
}

function autoscalerPanel(context, autoscaler) {
  const { service, api, refresh } = context;
  const set = Object.fromEntries((autoscaler?.scaleStrategies ?? []).map((one) => [one.metricName, one.threshold]));
  const { scaleUp, scaleDown, onZero } = autoscaler?.behavior ?? {};
  const thresholds = METRICS.map(([metric, label, first]) => field({ name: metric, label, type: "number", min: 0, step: "any", value: autoscaler ? set[metric] ?? "" : first }));
  const number = (name, label, value, hint = "") => field({ name, label, type: "number", min: 0, value, hint });
  const form = sendingForm({
    verb: autoscaler ? "Save the autoscaler" : "Set the autoscaler", names: NAMES,
    content: [
      make("div", { className: "pair" }, number("min", "Minimum workers", autoscaler?.min ?? 0), number("max", "Maximum workers", autoscaler?.max ?? 1)),
      make("fieldset", {}, make("legend", {}, "Scale out above these values, scale in below them"), make("p", { className: "hint" }, "The metric that asks for the most workers decides. Leave a field empty to ignore its metric."), make("div", { className: "pair level" }, ...thresholds)),
      make("fieldset", {}, make("legend", {}, "Delays"), make("div", { className: "pair" },
        number("scaleUp", "Seconds until it grows", scaleUp?.stabilizationWindowSeconds ?? 0), number("scaleDown", "Seconds until it shrinks", scaleDown?.stabilizationWindowSeconds ?? 300))),
      make("fieldset", {}, make("legend", {}, "At zero"), make("div", { className: "pair" },
        number("grace", "Idle seconds until it scales to zero", onZero?.scaleDownGracePeriodSeconds ?? 600), number("activation", "Workers when it wakes", onZero?.scaleUpActivationReplicas ?? 1))),
    ],
    more: autoscaler ? [removeButton(context)] : [],
    async send(sent) {
      await api.send("PUT", path(service, "autoscaler"), autoscalerOf(sent));
      await refresh();
    },
  });
  const hint = make("p", { className: "hint" }, "The settings alone start no worker: an autoscaler must run, in penstock up, in penstock autoscale run, or in Kubernetes.");
  return panel("Autoscaler", hint, form);
}

// What the service calls the fields.
const NAMES = {
  "behavior.scaleUp.stabilizationWindowSeconds": "scaleUp", "behavior.scaleDown.stabilizationWindowSeconds": "scaleDown",
  "behavior.onZero.scaleDownGracePeriodSeconds": "grace", "behavior.onZero.scaleUpActivationReplicas": "activation",
};

function autoscalerOf(form) {
  const strategies = METRICS.map(([metric]) => ({ metricName: metric, threshold: numberOf(form, metric) })).filter((one) => one.threshold !== null);
  return {
    min: numberOf(form, "min"), max: numberOf(form, "max"), scaleStrategies: strategies,
    behavior: {
      scaleUp: { stabilizationWindowSeconds: numberOf(form, "scaleUp") ?? 0 },
      scaleDown: { stabilizationWindowSeconds: numberOf(form, "scaleDown") ?? 300 },
      onZero: { scaleDownGracePeriodSeconds: numberOf(form, "grace") ?? 600, scaleUpActivationReplicas: numberOf(form, "activation") ?? 1 },
    },
  };
}

function removeButton({ service, api, refresh }) {
  const button = action("Remove the autoscaler", async () => {
    if (!(await confirm({ title: "Remove the autoscaler?", verb: "Remove", danger: true, text: "The workers stay as they are." }))) return;
    await api.send("DELETE", path(service, "autoscaler")).catch((error) => button.after(errorNote(error)));
    await refresh();
  });
  button.className = "danger";
  return button;
}
