// The page: one conversation per tab, stored in the tab, so that it survives a reload.

import { Jobs, Refused, textOf } from "./jobs.js";

const $ = (id) => document.getElementById(id);
const turns = $("turns"), status = $("status"), question = $("question");

// {token, service, turns: [{role, content, wrong}], open: {id} or null}
const kept = { token: "", service: "", turns: [], open: null, ...read() };
let jobs = null;
let following = null;

function read() {
  try {
    return JSON.parse(sessionStorage.getItem("chat") ?? "{}");
  } catch {
    return {};
  }
}

function keep() {
  sessionStorage.setItem("chat", JSON.stringify(kept));
}

function say(text, wrong = false) {
  // Only when it changes: a screen reader would read the same text again.
  if (status.textContent !== text) status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

function draw(turn) {
  const item = document.createElement("li");
  item.className = turn.role;
  item.classList.toggle("wrong", Boolean(turn.wrong));
  item.textContent = turn.content;
  item.setAttribute("aria-label", turn.role === "user" ? "You" : "Answer");
  turns.append(item);
  item.scrollIntoView({ block: "end" });
  return item;
}

function busy(isBusy) {
  $("stop").hidden = !isBusy;
  $("send").hidden = isBusy;
  $("service").disabled = $("new-chat").disabled = isBusy;
}

async function open(token) {
  jobs = new Jobs(token);
  const names = await jobs.services();
  kept.token = token;
  $("service").replaceChildren(...names.map((name) => new Option(name, name)));
  if (names.includes(kept.service)) $("service").value = kept.service;
  kept.service = $("service").value;
  keep();
  $("entrance").hidden = true;
  $("choice").hidden = $("ask").hidden = false;
  say(names.length ? "" : "There is no service yet.");
  question.focus();
}

async function ask(content) {
  kept.turns.push({ role: "user", content });
  draw(kept.turns.at(-1));
  const id = `chat-${crypto.randomUUID()}`;
  const messages = kept.turns
    .filter((turn) => !turn.wrong)
    .map(({ role, content: text }) => ({ role, content: text }));
  kept.open = { id, service: kept.service, body: { model: kept.service, messages, stream: true } };
  keep();
  await follow();
}

// Follow the open job to its end.  A reload begins here, and gets the text from the beginning.
async function follow() {
  const { id, service, body } = kept.open;
  following = new AbortController();
  busy(true);
  const item = draw({ role: "assistant", content: "" });
  item.classList.add("growing");
  const turn = { role: "assistant", content: "" };
  try {
    // A repeated put changes nothing, so it does not matter whether it was put before the reload.
    if (body) {
      await jobs.submit(service, id, body);
      delete kept.open.body;
      keep();
    }
    await readAnswer(service, id, turn, item);
  } catch (error) {
    if (following.signal.aborted) return;
    turn.wrong = true;
    turn.content = error instanceof Refused ? error.message : `No answer: ${error.message}`;
  }
  kept.open = null;
  kept.turns.push(turn);
  keep();
  item.classList.remove("growing");
  item.classList.toggle("wrong", Boolean(turn.wrong));
  item.textContent = turn.content;
  busy(false);
  say(turn.wrong ? "There is no answer." : "The answer is complete.", turn.wrong);
  question.focus();
  jobs.forget(service, id);
}

async function readAnswer(service, id, turn, item) {
  const options = {
    signal: following.signal,
    onGap: () => say("Connection lost; reconnecting."),
  };
  for await (const { kind, data } of jobs.events(service, id, options)) {
    if (kind === "state") tell(data);
    else if (kind === "attempt") turn.content = "";
    else if (kind === "delta") turn.content += data.text ?? "";
    else if (kind === "end") return end(service, id, turn, data);
    else if (kind === "gone") throw new Refused(404, "the service knows nothing of this any more");
    if (kind === "attempt" || kind === "delta") show(item, turn.content);
  }
}

function show(item, text) {
  const main = turns.parentElement;
  const atEnd = main.scrollHeight - main.scrollTop - main.clientHeight < 80;
  item.textContent = text;
  if (atEnd) item.scrollIntoView({ block: "end" });
}

function tell(job) {
  if (job.canceling) return say("Stopping.");
  if (job.state === "running") return say("The answer is being written.");
  const ahead = job.position ?? 0;
  const start = job.estimate?.start?.p50_s;
  const waiting = ahead ? `Waiting, ${ahead} ahead of you` : "Waiting, you are next";
  say(start > 1 ? `${waiting}; about ${Math.ceil(start)} seconds.` : `${waiting}.`);
}

async function end(service, id, turn, job) {
  if (job.state === "succeeded") {
    turn.content = textOf(await jobs.result(service, id));
  } else if (job.state === "canceled") {
    turn.content = turn.content ? `${turn.content} [stopped]` : "[stopped]";
  } else {
    await jobs.result(service, id); // throws the reason
  }
}

$("entrance").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await open($("token").value.trim());
    $("token").value = "";
  } catch (error) {
    refuse(error);
  }
});
$("service").addEventListener("change", () => {
  kept.service = $("service").value;
  keep();
});
$("new-chat").addEventListener("click", () => {
  kept.turns = [];
  keep();
  turns.replaceChildren();
  say("");
  question.focus();
});
$("leave").addEventListener("click", () => {
  following?.abort();
  if (kept.open) jobs.cancel(kept.open.service, kept.open.id);
  sessionStorage.removeItem("chat");
  location.reload();
});
$("stop").addEventListener("click", () => {
  if (kept.open) jobs.cancel(kept.open.service, kept.open.id);
});
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const content = question.value.trim();
  if (!content || kept.open || !kept.service) return;
  question.value = "";
  ask(content);
});
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("ask").requestSubmit();
  }
});

async function begin() {
  // A browser never sends `#token=...`; it is removed from the address bar at once.
  const given = /^#token=(.+)$/.exec(location.hash)?.[1];
  if (given) history.replaceState(null, "", location.pathname);
  const token = given ? decodeURIComponent(given) : kept.token;
  kept.turns.forEach(draw);
  if (!token) return $("token").focus();
  try {
    await open(token);
    if (kept.open) await follow();
  } catch (error) {
    refuse(error);
  }
}

function refuse(error) {
  say(error.status === 401 ? "This token is not valid for any service." : error.message, true);
  $("token").focus();
}

begin();
