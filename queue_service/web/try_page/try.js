// The page: it connects the form, the job that runs, and what the user sees.

import { action, copyButton, make } from "../chat/dom.js";
import { takeGivenToken } from "../chat/given_token.js";
import { address, Jobs } from "../chat/jobs.js";
import { whereabouts } from "../chat/sentences.js";
import { sentence, Wrong } from "./fields.js";
import { filesIn, takeAnywhere } from "./files.js";
import { Form } from "./form.js";
import { GrowingText, problemOf, progress, say } from "./output.js";
import { Artifacts, resultNode } from "./result.js";
import { Run } from "./run.js";
import { curlOf, pythonOf } from "./snippets.js";

const $ = (id) => document.getElementById(id);
// The token and the open job are the tab's, and so is the input of each service.
const KEY = "try";

const page = { token: "", open: {}, inputs: {}, ...stored() };
let jobs = null, service = serviceOfPath(), declared = null, form = null, run = null, request = null, startedAt = 0;

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
  } catch {
    return {};
  }
}

function keep() {
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ token: page.token, open: page.open, inputs: page.inputs }));
  } catch {
    sessionStorage.removeItem(KEY);
  }
}

function serviceOfPath() {
  const [, name] = /\/try\/([^/]+)$/.exec(location.pathname) ?? [];
  return name ? decodeURIComponent(name) : "";
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

// --- The service

async function open(token) {
  jobs = new Jobs(token);
  const names = await jobs.services();
  if (!names.length) return notice("There is no service yet. Create one, then reload this page.");
  page.token = token;
  keep();
  $("entrance").hidden = true;
  $("choice").hidden = false;
  $("leave").hidden = !token;
  if (service && !names.includes(service)) notice(`There is no service ${service}, or your token is not for it. Choose another one.`);
  $("service").replaceChildren(...names.map((name) => new Option(name, name)));
  await show(names.includes(service) ? service : names[0]);
}

async function show(name) {
  run?.leave();
  run = null;
  service = name;
  $("service").value = name;
  document.title = `${name}: try it`;
  history.replaceState(null, "", new URL(`${jobs.url("try/")}${encodeURIComponent(name)}`, location.href));
  declared = await jobs.schema(name);
  introduce();
  // Before the form: boxes know their height only in the page.
  $("bench").hidden = false;
  makeForm();
  clear();
  const id = page.open[name];
  if (id) await follow((next) => next.resume(id), { isOld: true });
  else $("fields").querySelector("textarea, input:not(.unseen), select")?.focus({ preventScroll: true });
}

async function lookAgain() {
  if (!form || (run && !run.isOver)) return;
  const found = await jobs.schema(service);
  if (found?.version === declared?.version) return;
  page.inputs[service] = form.kept() ?? page.inputs[service];
  declared = found;
  introduce();
  makeForm();
}

function makeForm() {
  form = new Form($("fields"), declared, page.inputs[service]);
  $("views").hidden = !form.hasSchema;
  document.querySelector("[name=view][value=form]").checked = true;
}

function introduce() {
  const about = declared?.description || declared?.input?.schema?.description;
  $("name").textContent = service;
  const makes = { "image/": "a picture", "audio/": "a sound", "video/": "a video" };
  const type = declared?.output?.content_types?.[0] ?? "";
  const word = Object.entries(makes).find(([start]) => type.startsWith(start))?.[1];
  const result = word ? ` It makes ${word}.` : "";
  if (declared) {
    $("what").textContent = (about ? sentence(about) : "Fill in the input, and run it as a job.") + result;
  } else {
    const chat = make("a", { href: jobs.url("chat") }, "chat page");
    $("what").replaceChildren("The workers of this service declare no inputs, so send what its engine reads. For a language model, the ", chat, " is nicer.");
  }
}

// --- A run

// What the run reports.
const view = {
  sends() {
    say("Sending.");
  },
  uploads(share) {
    say(`Uploading, ${Math.round(100 * share)} %.`);
    progress(share);
  },
  begins(started) {
    page.open[service] = started.id;
    keep();
    progress(null);
    $("job").replaceChildren("Job ", make("code", {}, started.id));
    $("about-job").hidden = false;
    // A job that runs is cancelled, not deleted.
    $("forget").hidden = true;
  },
  moves(job) {
    const sentence = whereabouts(job, "Running.");
    if (job.state === "running" && !startedAt) startedAt = Date.parse(job.started_at) || Date.now();
    if (job.state === "queued") startedAt = 0;
    say(job.next_attempt_at ? "Waiting for the next attempt." : sentence);
  },
  reconnects() {
    say("Connection lost; reconnecting.");
  },
  beginsAgain() {
    growing.restart();
    progress(null);
    artifacts.clear();
    $("added").hidden = true;
  },
  grows(text) {
    growing.add(text);
  },
  progresses({ fraction, note }) {
    progress(fraction);
    if (note) say(`Running: ${note}`);
  },
  fails({ message, type, attempt, next_attempt_at: next }) {
    if (!next) return;
    $("attempts").hidden = false;
    $("attempts").append(make("li", {}, `Attempt ${attempt} failed: ${message || type || "no reason"}`));
  },
  adds(artifact) {
    $("added").hidden = false;
    artifacts.add(artifact);
  },
  async ends(job, answer) {
    growing.end();
    startedAt = 0;
    progress(null);
    const took = job.started_at && job.ended_at ? (Date.parse(job.ended_at) - Date.parse(job.started_at)) / 1000 : null;
    $("clock").textContent = took === null ? "" : `${took < 10 ? took.toFixed(1) : Math.round(took)} s`;
    if (job.state === "succeeded") {
      finish("done", "Done.");
      $("growing").hidden = true;
      $("result").replaceChildren(answer ? await resultNode(answer, { serviceName: service })
        : make("p", { className: "about" }, job.artifacts?.length ? "It returned no result beside its artifacts." : "It succeeded, and returned no result."));
      $("result").firstChild.scrollIntoView?.({ block: "nearest" });
    } else if (job.state === "canceled") {
      finish("stopped", "Canceled.");
    } else {
      finish("failed", job.state === "expired" ? "Expired." : "Failed.");
      $("result").replaceChildren(problemOf(job.error ?? {}));
    }
  },
};

const growing = new GrowingText($("growing"));
const artifacts = new Artifacts($("artifacts"), (one) => jobs.ask(`${pathOf(one)}?redirect=false`));

// The path of an artifact, below the service's own; the policy of the page allows no other server.
function pathOf(artifact) {
  return artifact.url.slice(artifact.url.indexOf("v1/services/"));
}

function finish(word, text) {
  $("state").className = word;
  say(text);
  draw(false);
  $("forget").hidden = false;
}

function clear() {
  for (const id of ["state", "attempts", "growing", "added", "about-job", "unplaced", "code"]) $(id).hidden = true;
  $("first").hidden = false;
  $("state").className = "";
  $("attempts").replaceChildren();
  $("result").replaceChildren();
  $("clock").textContent = "";
  growing.restart();
  startedAt = 0;
  artifacts.clear();
  progress(null);
  draw(false);
}

function draw(isBusy) {
  $("run").hidden = isBusy;
  $("cancel").hidden = !isBusy;
  $("cancel").disabled = false;
  $("service").disabled = isBusy;
  $("output").setAttribute("aria-busy", String(isBusy));
  $("output").classList.toggle("busy", isBusy);
}

async function send() {
  if (run && !run.isOver) return;
  let input;
  unplaced([]);
  try {
    form.mark([]);
    input = form.read();
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    return unplaced(form.mark([{ path: error.path, detail: error.message }]));
  }
  page.inputs[service] = form.kept();
  keep();
  clear();
  request = input;
  snippets();
  await follow((next) => next.start(input));
}

// Run, and show what goes wrong.
async function follow(begin, { isOld = false } = {}) {
  const mine = new Run(jobs, service, view);
  run = mine;
  draw(true);
  say(isOld ? "Looking for the job." : "Sending.");
  try {
    await begin(mine);
  } catch (error) {
    if (mine !== run) return;
    mine.isOver = true;
    delete page.open[service];
    keep();
    if (isOld && error.status === 404) return clear();
    if (error.name === "AbortError") return finish("stopped", "Canceled.");
    refuse(error);
  }
  mine.isOver = true;
}

// The service did not take it, or cannot be reached.
function refuse(error) {
  const said = error.status ? error.message : "The service cannot be reached. Check your network, then try again.";
  if (error.errors?.length) {
    clear();
    unplaced(form.mark(error.errors.map(({ path, detail }) => ({ path, detail }))));
    return;
  }
  finish("failed", "It was not run.");
  $("forget").hidden = true;
  $("result").replaceChildren(problemOf({ message: said, code: error.code }));
}

// Errors that no field shows.
function unplaced(errors) {
  const box = $("unplaced");
  box.hidden = !errors.length;
  box.replaceChildren(...errors.map(({ path, detail }) => make("p", {}, path ? `${path}: ${detail}.` : sentence(detail))));
}

function snippets() {
  if (!request) return;
  const keepsFiles = filesIn(request.value).every((file) => file.size <= 32 * 1024) ? false : true;
  const outputType = declared?.output?.content_types?.[0] ?? "";
  const about = { address, service, ...request, outputType, keepsFiles };
  const isPython = document.querySelector("[name=language]:checked").value === "python";
  $("code").hidden = false;
  $("code-name").textContent = isPython ? "Python, pip install penstock" : "Shell";
  $("snippet").textContent = isPython ? pythonOf(about) : curlOf(about);
}

async function forget() {
  const id = run?.id || page.open[service];
  if (!id) return;
  try {
    await jobs.ask(`v1/services/${encodeURIComponent(service)}/jobs/${encodeURIComponent(id)}`, { method: "DELETE" });
  } catch (error) {
    if (error.status !== 404) return say(error.message);
  }
  delete page.open[service];
  keep();
  clear();
  $("run").focus();
}

// --- The user

function listen() {
  $("entrance").addEventListener("submit", (event) => {
    event.preventDefault();
    const token = $("token").value.trim();
    if (token) enter(token).then(() => { $("token").value = ""; });
  });
  $("service").addEventListener("change", () => {
    notice("");
    show($("service").value).catch(failed);
  });
  $("leave").addEventListener("click", () => {
    run?.leave();
    sessionStorage.removeItem(KEY);
    location.reload();
  });
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  $("ask").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      send();
    }
  });
  $("cancel").addEventListener("click", () => {
    $("cancel").disabled = true;
    say("Canceling.");
    run?.cancel();
  });
  $("reset").addEventListener("click", () => {
    delete page.inputs[service];
    keep();
    makeForm();
    unplaced([]);
  });
  $("forget").addEventListener("click", forget);
  for (const box of document.querySelectorAll("[name=view]")) {
    box.addEventListener("change", () => {
      const isJson = document.querySelector("[name=view]:checked").value === "json";
      if (form.switch(isJson)) document.querySelector("[name=view][value=json]").checked = true;
    });
  }
  for (const box of document.querySelectorAll("[name=language]")) box.addEventListener("change", snippets);
  const caption = document.querySelector("#code figcaption");
  caption.append(copyButton(() => $("snippet").textContent));
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length && takeAnywhere(files)) event.preventDefault();
  });
  // Otherwise the browser would leave the page to show the file.
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer?.files.length) takeAnywhere([...event.dataTransfer.files]);
  });
  // Workers may have come, or others may have replaced them, while the user was elsewhere.
  window.addEventListener("focus", () => { lookAgain().catch(() => {}); });
  setInterval(() => {
    if (startedAt) $("clock").textContent = `${Math.max(0, Math.round((Date.now() - startedAt) / 1000))} s`;
  }, 1000);
}

async function enter(token) {
  notice("");
  try {
    await open(token);
  } catch (error) {
    failed(error);
  }
}

function failed(error) {
  const isToken = error.status === 401 || error.status === 403;
  if (isToken) {
    $("entrance").hidden = false;
    $("bench").hidden = true;
    notice(jobs?.headers.Authorization ? "This token is not valid for any service." : "");
    $("token").focus();
  } else {
    notice(error.status ? sentence(error.message) : "The service cannot be reached. Check your network, then reload this page.");
  }
}

listen();
enter(takeGivenToken() || page.token);
