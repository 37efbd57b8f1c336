// The fields of a service's settings, as `penstock create` sends them, and what they mean to the API.

import { field, numberOf, valueOf } from "./form.js";
import { make } from "./parts.js";

const POLICIES = [["Rear", "Back to the end of the queue"], ["Park", "Fail it, keep a dead letter"], ["Drop", "Delete it"]];

// settings: those of a service that is changed; {} for a new one.
export function settingsFields(settings = {}) {
  const { input = {}, sink = {}, retry } = settings;
  return [
    group("Queues",
      pair(field({ name: "input.max_length", label: "Maximum length of the input queue", hint: "Entries. Empty: as many as the memory holds.", type: "number", min: 1, value: input.max_length }),
        field({ name: "sink.max_length", label: "Maximum results kept", hint: "Entries. Empty: as many as the memory holds.", type: "number", min: 1, value: sink.max_length })),
      pair(field({ name: "memory", label: "Memory of both queues, MB", type: "number", min: 1, value: settings.memory ?? 4000 }),
        field({ name: "sink_memory_ratio", label: "Share of the results", hint: "Between 0 and 1.", type: "number", step: 0.05, value: settings.sink_memory_ratio ?? 0.5 })),
      field({ name: "sink.auto_evict", label: "If the results fill the memory, drop the oldest", hint: "Otherwise jobs wait until results are read.", type: "checkbox", value: sink.auto_evict }),
      field({ name: "input.auto_evict", label: "If jobs fill the queue, drop the oldest", hint: "Otherwise new jobs are refused.", type: "checkbox", value: input.auto_evict })),
    group("Failures",
      pair(field({ name: "max_delivery", label: "Maximum deliveries per job", hint: "0 means no limit.", type: "number", min: 0, value: settings.max_delivery ?? 5 }),
        field({ name: "dead_message_policy", label: "After the last delivery", options: POLICIES, value: settings.dead_message_policy ?? "Park" })),
      field({ name: "max_idle", label: "Time limit of one delivery", hint: "Such as 90s or 1h30m; then another worker gets the job. 0s means no limit.", value: settings.max_idle ?? "0s" }),
      more("Pauses between attempts",
        pair(field({ name: "retry.max_attempts", label: "Maximum attempts", type: "number", min: 0, value: retry?.max_attempts, hint: "0 means as many as deliveries." }),
          field({ name: "retry.first_pause_s", label: "First pause, seconds", type: "number", min: 0, step: "any", value: retry?.first_pause_s }),
          field({ name: "retry.factor", label: "Factor between pauses", type: "number", min: 1, step: "any", value: retry?.factor }),
          field({ name: "retry.longest_pause_s", label: "Longest pause, seconds", type: "number", min: 0, step: "any", value: retry?.longest_pause_s })),
        make("p", { className: "hint" }, "Empty fields use the defaults: 1 s at first, then twice as long each time, up to 60 s."))),
    group("Delivery",
      field({ name: "windows", label: "Time windows", hint: "Such as 22:00-06:00 Europe/Berlin. Empty means always.", value: settings.windows }),
      field({ name: "fair", label: "Share the workers fairly between tokens", type: "checkbox", value: settings.fair ?? true })),
  ];
}

function group(title, ...content) {
  return make("fieldset", {}, make("legend", {}, title), ...content);
}

const pair = (...fields) => make("div", { className: "pair" }, ...fields);

function more(title, ...content) {
  return make("details", { className: "more" }, make("summary", {}, title), make("div", {}, ...content));
}

// What is set here is replaced, and everything else of the service stays.
export function settingsOf(form, settings = {}) {
  const checked = (name) => form.elements[name].checked;
  const queue = (role) => ({ ...settings[role], max_length: numberOf(form, `${role}.max_length`), auto_evict: checked(`${role}.auto_evict`) });
  return {
    ...settings,
    input: queue("input"), sink: queue("sink"),
    memory: numberOf(form, "memory") ?? 4000, sink_memory_ratio: numberOf(form, "sink_memory_ratio") ?? 0.5,
    max_delivery: numberOf(form, "max_delivery") ?? 5, dead_message_policy: valueOf(form, "dead_message_policy"),
    max_idle: valueOf(form, "max_idle") || "0s", retry: retryOf(form, settings.retry),
    windows: valueOf(form, "windows"), fair: checked("fair"),
  };
}

function retryOf(form, before) {
  const names = ["max_attempts", "first_pause_s", "factor", "longest_pause_s"];
  const given = Object.fromEntries(names.map((name) => [name, numberOf(form, `retry.${name}`)]).filter(([, value]) => value !== null));
  return Object.keys(given).length ? { ...(before?.jitter === undefined ? {} : { jitter: before.jitter }), ...given } : null;
}
