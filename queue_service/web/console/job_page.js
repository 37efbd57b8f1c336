// One job: its state, its attempts, its output, its log and its result.

import { Artifacts, resultNode } from "../try-page/result.js";
import { path, queryOf } from "./api.js";
import { confirm } from "./dialog.js";
import { count, moment, percent, seconds, secondsBetween } from "./format.js";
import { heading, tabs } from "./headings.js";
import { logPanel } from "./log_panel.js";
import { stateBadge } from "./jobs_page.js";
import { action, copyButton, errorNote, facts, figures, make, note, panel } from "./parts.js";
import { to } from "./router.js";
import { Timeline } from "./timeline.js";

const MOST_OUTPUT = 20_000;

export async function show(context) {
  const { service, item: id, api, query } = context;
  const wanted = path(service, "jobs", id), owner = queryOf({ owner: query.owner });
  let job = await api.get(wanted + owner);
  const top = heading(id, { crumbs: [["Services", "#/"], [service, to(service)], ["Jobs", to(service, "jobs")]] });
  top.title.classList.add("mono");
  const numbers = make("div", {}), problem = make("div", { className: "notes" }), details = make("div", {});
  const timeline = new Timeline();
  const output = outputPanel(), artifacts = artifactPanel(context), result = resultPanel(context, wanted, owner);
  const told = make("p", { className: "unseen" });
  told.setAttribute("role", "status");
  const take = (newer) => {
    if (newer.state !== job.state) told.textContent = `The job is ${newer.state}.`;
    job = newer;
    top.badges.replaceChildren(stateBadge(job.state));
    top.actions.replaceChildren(...actionsOf(context, job, `${wanted}/cancel${owner}`));
    numbers.replaceChildren(numbersOf(job));
    problem.replaceChildren(...problemsOf(job));
    details.replaceChildren(panel("Details", factsOf(job)));
    timeline.update(job);
    result.update(job);
  };
  take(job);
  const following = new AbortController();
  const log = logPanel(api, `${wanted}/logs`, query.owner, following.signal);
  follow(context, { signal: following.signal, take, timeline, output, artifacts });
  return {
    title: `${id} · ${service}`, focus: top.title, close: () => following.abort(),
    node: [top.node, tabs(context, "jobs"), told, problem, numbers, result.node, output.node, artifacts.node,
      make("div", { className: "columns" }, panel("History", timeline.node), details), log.node],
  };
}

async function follow({ api, service, item, query }, { signal, take, timeline, output, artifacts }) {
  const owner = query.owner ? { owner: query.owner } : {};
  try {
    for await (const { kind, data } of api.jobs.events(service, item, { signal, query: queryOf(owner) })) {
      if (kind === "state" || kind === "end") take(data);
      if (kind === "delta" && data.text !== undefined) output.add(data.text, data.attempt);
      if (kind === "artifact") artifacts.add(data);
      if (kind !== "delta") timeline.note(kind, data);
    }
  } catch (error) {
    if (!signal.aborted) timeline.fail(error);
  }
}

function numbersOf(job) {
  const now = Date.now();
  const waited = secondsBetween(job.created_at, job.started_at ?? job.ended_at ?? now);
  const ran = job.started_at ? secondsBetween(job.started_at, job.ended_at ?? now) : null;
  const all = [
    { name: "Waited", value: seconds(waited), sub: job.estimate?.start ? `starts in about ${seconds(job.estimate.start.p50_s)}` : "" },
    { name: "Ran", value: seconds(ran), sub: job.state === "running" && job.estimate ? `ends in about ${seconds(job.estimate.finish.p50_s)}` : "" },
    { name: "Attempt", value: job.attempt ? count(job.attempt) : "–", sub: job.max_attempts ? `of ${count(job.max_attempts)}` : "" },
    { name: "Priority", value: count(job.priority) },
  ];
  if (job.position !== null) all.push({ name: "Jobs ahead", value: count(job.position), sub: job.position_is === "exact" ? "" : "estimated" });
  if (job.progress) all.push({ name: "Progress", value: percent(job.progress.fraction), sub: job.progress.note });
  return figures(all);
}

function problemsOf(job) {
  const found = [];
  if (job.error) {
    const parts = [job.error.type && `type ${job.error.type}`, job.error.code && `code ${job.error.code}`].filter(Boolean).join(", ");
    const title = job.ended_at ? "The job failed." : "The last attempt failed.";
    found.push(note(job.state === "failed" || !job.ended_at ? title : `The job was ${job.state}.`, "", job.state === "canceled" ? "" : "wrong",
      make("pre", {}, job.error.message || "No message."), ...(parts ? [make("span", { className: "hint" }, parts)] : [])));
  }
  const waits = { resume: "It waits because the service is paused.", window: "It waits for the next time window.", sink: "It waits because the sink is full." };
  if (job.waiting_for) found.push(note(waits[job.waiting_for] ?? "It waits.", [job.waiting_because, job.waiting_until && `until ${moment(job.waiting_until)}`].filter(Boolean).join(", "), "warn"));
  if (job.canceling) found.push(note("Its worker is stopping it.", "", "warn"));
  return found;
}

function factsOf(job) {
  const retry = job.retry && `first after ${seconds(job.retry.first_pause_s)}, then × ${job.retry.factor}, at most ${seconds(job.retry.longest_pause_s)}`;
  return facts([
    ["Id", make("span", { className: "actions" }, make("span", { className: "mono" }, job.id), smallCopy(job.id))],
    ["Owner", job.owner], ["Worker", job.worker], ["Index", job.index],
    ["Created", moment(job.created_at)], ["Started", moment(job.started_at)], ["Ended", moment(job.ended_at)],
    ["Next attempt", moment(job.next_attempt_at)], ["Not before", moment(job.not_before)], ["Start by", moment(job.start_by)], ["Finish by", moment(job.finish_by)],
    ["Time limit of a run", job.run_timeout_s ? seconds(job.run_timeout_s) : null], ["Maximum attempts", job.max_attempts], ["Pauses between attempts", retry],
    ["Result read", moment(job.result_read_at)], ["Result expires", moment(job.result_expires_at)],
  ]);
}

function smallCopy(text) {
  const button = copyButton(() => text);
  button.classList.add("small");
  return button;
}

function actionsOf({ api, may, isOperator, service, refresh }, job, cancelPath) {
  const found = [];
  if (may("cancel") && !job.ended_at && !job.canceling && (job.state === "queued" || job.state === "running")) {
    const button = action("Cancel the job", async () => {
      if (!(await confirm({ title: "Cancel this job?", verb: "Cancel the job", danger: true, text: "If it waits, it is removed from the queue. If it runs, its worker stops it." }))) return;
      await api.send("POST", cancelPath).catch((error) => button.replaceWith(errorNote(error)));
    });
    button.className = "danger";
    found.push(button);
  }
  if (isOperator && job.state === "failed") {
    const button = action("Retry", () => retry({ api, service, refresh }, job, button));
    found.push(button);
  }
  return found;
}

// A job that failed at every attempt is a dead letter: it can be put back.
async function retry({ api, service, refresh }, job, button) {
  try {
    const { dead_letters: found } = await api.get(path(service, "dead-letters"), { requestId: job.id, owner: job.owner ?? "" });
    if (!found.length) {
      button.replaceWith(note("It cannot be retried.", "No dead letter has its input. Set dead_message_policy to Park to keep the inputs of failed jobs."));
      return;
    }
    await api.send("POST", path(service, "dead-letters", found[0].id, "replay"));
    await refresh();
  } catch (error) {
    button.replaceWith(errorNote(error));
  }
}

// The text of a job as it grows; each attempt begins without any.
function outputPanel() {
  const text = make("pre", { className: "block", tabIndex: 0 });
  text.setAttribute("aria-label", "Output so far");
  const node = panel("Output", text);
  node.hidden = true;
  let kept = "", attempt = 0;
  return {
    node,
    add(piece, of) {
      if (of !== attempt) [kept, attempt] = ["", of];
      kept = (kept + piece).slice(-MOST_OUTPUT);
      text.textContent = kept;
      node.hidden = !kept;
    },
  };
}

function artifactPanel({ api }) {
  const list = make("ul", { className: "artifacts" });
  const node = panel("Artifacts", list);
  node.hidden = true;
  const base = new URL("../", import.meta.url).href;
  const shown = new Artifacts(list, (one) => api.jobs.ask(`${new URL(one.url, location.href).href.replace(base, "")}?redirect=false`));
  return { node, add(one) {
    node.hidden = false;
    shown.add(one);
  } };
}

// The result is fetched when its reader asks for it: it may be large, and reading it may count.
function resultPanel({ api, service, isOperator }, wanted, owner) {
  const place = make("div", { className: "section" });
  const hint = isOperator ? "If you read it here, it does not count as read by its client."
    : "If you read it here, it counts as read: a full sink may drop it first.";
  const button = action("Show the result", async () => {
    button.disabled = true;
    try {
      const answer = await api.jobs.ask(`${wanted}/result${owner || "?"}${owner ? "&" : ""}redirect=false`);
      place.replaceChildren(answer.status === 204 ? note("It succeeded without a result.") : await resultNode(answer, { serviceName: service }));
    } catch (error) {
      button.disabled = false;
      place.append(errorNote(error));
    }
  });
  place.append(make("div", { className: "actions" }, button, make("span", { className: "hint" }, hint)));
  const node = panel("Result", place);
  return { node, update(job) { node.hidden = job.state !== "succeeded"; } };
}
