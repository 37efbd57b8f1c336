// The workers of a service: where they run, what they hold, how their GPUs are.

import { path } from "./api.js";
import { confirm } from "./dialog.js";
import { ago, bytes, count, percent, share } from "./format.js";
import { action, badge, empty, make, meter } from "./parts.js";
import { Table } from "./table.js";

export function workersTable(context) {
  const { isOperator } = context;
  const columns = [
    { name: "Worker", cell: nameCell },
    { name: "State", cell: stateCell },
    { name: "Holds", className: "number", cell: (worker) => [count(worker.held), under(`of ${count(worker.window || worker.load.limit)}`)] },
    { name: "GPU", cell: gpuCell },
    { name: "GPU memory", cell: gpuMemoryCell },
    { name: "Memory", className: "number", cell: ({ load }) => [bytes(load.memory_bytes || null), under(load.cpu_percent === null ? "" : `CPU ${Math.round(load.cpu_percent)} %`)] },
    { name: "Version", cell: (worker) => [worker.version || "–", under(worker.engine)] },
    ...(isOperator ? [{ name: "Actions", isUnseen: true, cell: (worker) => leaveCell(context, worker) }] : []),
  ];
  const table = new Table({ caption: "Workers", columns, key: (worker) => `${worker.owner} ${worker.uid}` });
  const nothing = empty("No worker is connected", "Jobs wait until one is. Start a worker with penstock worker, or give the service an autoscaler.");
  const hiddenNote = make("p", { className: "hint" }, "Only the service's own token and operators see its workers.");
  const node = make("section", { className: "section" }, make("h2", {}, "Workers"), table.node, nothing, hiddenNote);
  return {
    node,
    // workers: null when the token may not see them.
    update(workers) {
      hiddenNote.hidden = workers !== null;
      table.node.hidden = !workers?.length;
      nothing.hidden = workers === null || Boolean(workers.length);
      table.update(workers ?? []);
    },
  };
}

const under = (text, kind = "") => (text ? make("span", { className: `sub ${kind}` }, text) : null);

function nameCell({ uid, host, pid, owner, since_ms: since }) {
  const where = [host && `${host}${pid ? `, process ${pid}` : ""}`, owner && `of ${owner}`].filter(Boolean).join(", ");
  return [make("span", { className: "name" }, uid), under(where), under(since ? `connected ${ago(since)}` : "")];
}

function stateCell({ connected, leaving, load }) {
  if (!connected) return badge("Connection lost", "warn");
  if (leaving) return badge("Leaving", "warn");
  const kinds = { ready: ["Ready", "good"], resting: ["Resting", "warn"], draining: ["Leaving", "warn"] };
  const [text, kind] = kinds[load.state] ?? ["Connected", ""];
  return badge(text, kind);
}

function gpuCell({ gpu, load }) {
  if (!gpu && !load.gpu_state) return "–";
  const kinds = { healthy: "good", suspect: "warn", quarantined: "wrong", waiting: "warn" };
  const words = { healthy: "Healthy", suspect: "Suspect", quarantined: "Quarantined", waiting: "Waiting for a GPU" };
  return [gpu || "", load.gpu_state ? make("span", { className: "badges" }, badge(words[load.gpu_state] ?? load.gpu_state, kinds[load.gpu_state] ?? "")) : null,
    under(load.gpu_reason, load.gpu_state === "healthy" ? "" : "wrong-text")];
}

function gpuMemoryCell({ load }) {
  if (!load.gpu_memory_total_bytes) return "–";
  const used = share(load.gpu_memory_bytes, load.gpu_memory_total_bytes);
  return [`${bytes(load.gpu_memory_bytes)} of ${bytes(load.gpu_memory_total_bytes)}`, meter(used, used > 0.97 ? "warn" : ""), under(`${percent(load.gpu_utilization)} busy`)];
}

function leaveCell({ service, api, refresh }, { uid, leaving, connected }) {
  if (leaving || !connected) return "";
  const button = action("Ask it to leave", async () => {
    const isSure = await confirm({ title: "Ask this worker to leave?", verb: "Ask it to leave",
      text: `${uid} finishes the jobs that it holds, then exits. An autoscaler may start another one.` });
    if (!isSure) return;
    await api.send("POST", path(service, "workers", "leave"), { uids: [uid] });
    refresh();
  });
  button.className = "small";
  button.setAttribute("aria-label", `Ask it to leave: ${uid}`);
  return button;
}
