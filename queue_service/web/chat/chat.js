// The page: it connects the conversation, the service's jobs, and what the user sees.

import { Conversation, messagesOf } from "./conversation.js";
import { make } from "./dom.js";
import { takeGivenToken } from "./given_token.js";
import { answerOf, Jobs, newId, Refused, splitReasoning } from "./jobs.js";
import { toDataUrl } from "./pictures.js";
import { explain, whereabouts } from "./sentences.js";
import { Answer, userTurn } from "./turns.js";

const $ = (id) => document.getElementById(id);
const turns = $("turns"), status = $("status"), question = $("question");

const SUGGESTIONS = [
  "Explain what a queue is good for, in three sentences.",
  "Write a polite reply to a customer whose order is late.",
  "Compare two ways to sort a list, as a table.",
];
const MAX_PICTURES = 4;

const chat = new Conversation();
let jobs = null;
let following = null;
let pictures = [];
// Where the turn is that the user edits; -1 for none.
let editing = -1;

function say(text, isWrong = false) {
  // Only when it changes: a screen reader would read the same text again.
  if (status.textContent !== text) status.textContent = text;
  status.classList.toggle("wrong", isWrong);
}

// Draw what changes with the state of the page; growing text has its own painter.
function draw() {
  const isBusy = Boolean(chat.open);
  $("welcome").hidden = chat.turns.length > 0;
  $("stop").hidden = !isBusy;
  $("send").hidden = isBusy;
  for (const id of ["service", "new-chat", "add-picture"]) $(id).disabled = isBusy;
  turns.classList.toggle("busy", isBusy);
  $("editing").hidden = editing < 0;
  $("pictures").hidden = !pictures.length;
  $("pictures").replaceChildren(...pictures.map(pictureItem));
}

function pictureItem(url, at) {
  const remove = make("button", { type: "button" }, "Remove");
  remove.setAttribute("aria-label", `Remove picture ${at + 1}`);
  remove.addEventListener("click", () => {
    pictures.splice(at, 1);
    draw();
  });
  return make("li", {}, make("img", { src: url, alt: "" }), remove);
}

function drawTurns() {
  turns.replaceChildren();
  chat.turns.forEach((turn, at) => add(turn, at));
  draw();
  turns.lastElementChild?.scrollIntoView({ block: "end" });
}

function add(turn, at) {
  if (turn.role === "user") {
    turns.append(userTurn(turn, { onEdit: () => edit(at) }));
    return null;
  }
  const answer = new Answer({ onRetry: () => retry(at), onNewChat: discardAll });
  turns.append(answer.node);
  if (turn.outcome) answer.end(turn);
  return answer;
}

async function open(token) {
  jobs = new Jobs(token);
  const names = await jobs.services();
  chat.token = token;
  $("service").replaceChildren(...names.map((name) => new Option(name, name)));
  if (names.includes(chat.service)) $("service").value = chat.service;
  chat.service = $("service").value;
  chat.keep();
  $("entrance").hidden = true;
  $("choice").hidden = $("ask").hidden = $("suggestions").hidden = false;
  $("suggestions").replaceChildren(...SUGGESTIONS.map(suggestion));
  greet();
  say(names.length ? "" : "There is no service yet. Create one, then reload this page.");
  draw();
  question.focus();
}

function greet() {
  $("greeting").textContent = chat.service ? `Chat with ${chat.service}` : "Chat with your own models";
}

function suggestion(text) {
  const button = make("button", { type: "button" }, text);
  button.addEventListener("click", () => send(text));
  return button;
}

function send(content) {
  if (!(content || pictures.length) || chat.open || !chat.service) return;
  // What follows an edited turn answered another question.
  if (editing >= 0) chat.turns.length = editing;
  chat.turns.push({ role: "user", content, images: pictures });
  question.value = "";
  pictures = [];
  editing = -1;
  fit();
  ask();
}

function ask() {
  const body = { model: chat.service, messages: messagesOf(chat.turns), stream: true };
  chat.open = { id: newId("chat"), service: chat.service, body };
  chat.keep();
  drawTurns();
  follow();
}

function retry(at) {
  if (chat.open) return;
  chat.turns.length = at;
  ask();
}

function edit(at) {
  if (chat.open) return;
  editing = at;
  question.value = chat.turns[at].content;
  pictures = [...(chat.turns[at].images ?? [])];
  draw();
  fit();
  question.focus();
}

// Follow the open job to its end.  A reload begins here, and gets the text from the beginning.
async function follow() {
  const { id, service, body } = chat.open;
  following = new AbortController();
  const turn = { role: "assistant", content: "", reasoning: "", calls: [] };
  const answer = add(turn, chat.turns.length);
  answer.node.scrollIntoView({ block: "end" });
  try {
    // A repeated put changes nothing, so it does not matter whether it was put before the reload.
    if (body) {
      await jobs.submit(service, id, body);
      delete chat.open.body;
      chat.keep();
    }
    await readAnswer(service, id, turn, answer);
  } catch (error) {
    if (following.signal.aborted) return;
    turn.outcome = "failed";
    turn.problem = explain(error);
  }
  chat.open = null;
  chat.turns.push(turn);
  chat.keep();
  atEnd(() => answer.end(turn));
  draw();
  say({ failed: "There is no answer.", stopped: "Stopped." }[turn.outcome] ?? "The answer is complete.");
  if (editing < 0) question.focus();
  jobs.forget(service, id);
}

async function readAnswer(service, id, turn, answer) {
  let text = "";
  const grow = painter(() => answer.show(turn));
  const tell = (sentence) => {
    say(sentence);
    answer.waits(sentence);
  };
  const options = { signal: following.signal, onGap: () => tell("Connection lost; reconnecting.") };
  for await (const { kind, data } of jobs.events(service, id, options)) {
    if (kind === "state") tell(whereabouts(data));
    else if (kind === "end") return end(service, id, turn, data);
    else if (kind === "gone") throw new Refused(404, { message: "the service knows nothing of this question any more" });
    if (kind === "attempt") text = turn.reasoning = "";
    if (kind === "delta") {
      text += data.text ?? "";
      turn.reasoning += data.reasoning ?? "";
    }
    if (kind === "attempt" || kind === "delta") {
      const { reasoning, content } = splitReasoning(text);
      turn.content = content;
      turn.reasoning = reasoning || turn.reasoning;
      grow();
    }
  }
}

// Return a function that paints at most once a frame.
function painter(paint) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      atEnd(paint);
    });
  };
}

// Paint, and keep the end in view if the reader is there.
function atEnd(paint) {
  const main = turns.parentElement;
  const isAtEnd = main.scrollHeight - main.scrollTop - main.clientHeight < 80;
  paint();
  if (isAtEnd) main.scrollTop = main.scrollHeight;
}

async function end(service, id, turn, job) {
  turn.outcome = job.state === "canceled" ? "stopped" : "complete";
  if (job.state === "canceled") return;
  // Of a job that has failed, this throws the reason.
  Object.assign(turn, answerOf(await jobs.result(service, id, job.error), turn));
}

function discardAll() {
  chat.turns = [];
  editing = -1;
  pictures = [];
  question.value = "";
  chat.keep();
  say("");
  drawTurns();
  question.focus();
}

// Ask before a conversation is lost; an empty one is not.
function mayDiscard() {
  if (!chat.turns.length) return Promise.resolve(true);
  const dialog = $("discard");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener("close", () => answer(dialog.returnValue === "yes"), { once: true });
  });
}

// The box grows with its text, up to the height that the style sets.
function fit() {
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight}px`;
}

async function addPictures(files) {
  for (const file of files) {
    if (pictures.length >= MAX_PICTURES) return say(`A message can have ${MAX_PICTURES} pictures.`, true);
    try {
      pictures.push(await toDataUrl(file));
    } catch {
      say(`${file.name} is not a picture that this browser can read.`, true);
    }
  }
  draw();
  question.focus();
}

function listen() {
  $("entrance").addEventListener("submit", (event) => {
    event.preventDefault();
    const token = $("token").value.trim();
    if (token) open(token).then(() => { $("token").value = ""; }, refuse);
  });
  $("service").addEventListener("change", () => {
    chat.service = $("service").value;
    chat.keep();
    greet();
  });
  $("new-chat").addEventListener("click", async () => {
    if (await mayDiscard()) discardAll();
  });
  $("leave").addEventListener("click", async () => {
    if (!(await mayDiscard())) return;
    following?.abort();
    if (chat.open) jobs.cancel(chat.open.service, chat.open.id);
    chat.forget();
    location.reload();
  });
  $("stop").addEventListener("click", () => {
    if (chat.open) jobs.cancel(chat.open.service, chat.open.id);
  });
  $("keep-it").addEventListener("click", () => {
    editing = -1;
    pictures = [];
    question.value = "";
    draw();
    fit();
  });
  $("add-picture").addEventListener("click", () => $("picture").click());
  $("picture").addEventListener("change", () => {
    addPictures([...$("picture").files]);
    $("picture").value = "";
  });
  question.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    if (files.length) addPictures(files);
  });
  question.addEventListener("input", fit);
  question.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      $("ask").requestSubmit();
    }
  });
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    send(question.value.trim());
  });
}

async function begin() {
  listen();
  const token = takeGivenToken() || chat.token;
  drawTurns();
  if (!token) return $("token").focus();
  try {
    await open(token);
    if (chat.open) await follow();
  } catch (error) {
    refuse(error);
  }
}

function refuse(error) {
  say(error.status === 401 ? "This token is not valid for any service." : explain(error).text, true);
  $("token").focus();
}

begin();
