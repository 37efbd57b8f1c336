// The console: signs in, follows the overview, and shows the page that the address names.

import { Api, Refused } from "./api.js";
import { Live } from "./live.js";
import { empty, errorNote, link } from "./parts.js";
import { readAddress } from "./router.js";
import { currentToken, forgetToken, keepToken } from "./session.js";
import * as create from "./create_page.js";
import * as job from "./job_page.js";
import * as jobs from "./jobs_page.js";
import * as letter from "./letter_page.js";
import * as letters from "./letters_page.js";
import * as overview from "./overview_page.js";
import * as scaling from "./scaling_page.js";
import * as service from "./service_page.js";
import * as settings from "./settings_page.js";
import * as tokens from "./tokens_page.js";
import * as webhook from "./webhook_page.js";
import * as webhooks from "./webhooks_page.js";

const PAGES = { create, job, jobs, letter, letters, overview, scaling, service, settings, tokens, webhook, webhooks };

const $ = (id) => document.getElementById(id);
let api = null, live = null, known = null, shown = null, turn = 0;

function say(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

async function open(token) {
  const candidate = new Api(token);
  known = await candidate.get("v1/overview");
  api = candidate;
  keepToken(token);
  say("");
  $("welcome").hidden = true;
  $("session").hidden = $("nav").hidden = false;
  showNav();
  live = new Live(api, { onChange: take, onState: showState });
  await showPage();
}

function close(reason = "") {
  live?.stop();
  shown?.close?.();
  api = live = known = shown = null;
  forgetToken();
  $("page").replaceChildren();
  $("nav").hidden = $("session").hidden = true;
  $("welcome").hidden = false;
  document.title = "Penstock";
  say(reason);
  $("token").focus();
}

function take(overviewNow) {
  const names = (all) => all.services.map((service) => service.name).join("\n");
  const isNew = names(known) !== names(overviewNow);
  known = overviewNow;
  if (isNew && shown?.isMissing) showPage();
  else shown?.update?.(known);
}

function showState(state, error) {
  if (state === "refused") close(sentenceFor(error));
  $("live").className = state === "lost" ? "lost" : "";
  const text = state === "lost" ? "Reconnecting…" : "Live";
  if ($("live").textContent !== text) $("live").textContent = text;
}

function sentenceFor(error) {
  if (error.status === 401) return "This token is not valid. Check that you copied all of it.";
  if (error.status === 403) return "This token may not read any service: it lacks the scope read.";
  return error instanceof Refused ? error.message : "The service does not answer. Check the connection, and try again.";
}

// Their addresses, names and pages, and whether only operators have them.
const NAV = [
  ["#/", "Services", Object.keys(PAGES).filter((name) => name !== "tokens"), false],
  ["#/tokens", "Tokens", ["tokens"], true],
];

function showNav() {
  $("nav").replaceChildren();
  for (const [address, name, , forOperators] of NAV) {
    if (!forOperators || known.operator) $("nav").append(link(address, name));
  }
}

function markNav(page) {
  for (const [at, anchor] of [...$("nav").children].entries()) {
    const entry = NAV.filter(([, , , forOperators]) => !forOperators || known.operator)[at];
    if (entry[2].includes(page)) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
}

function contextOf(address) {
  const service = known.services.find((one) => one.name === address.service);
  const may = (scope) => Boolean(service?.may.includes(scope));
  return { ...address, api, may, isOperator: known.operator, known: () => known, refresh: showPage };
}

async function showPage() {
  if (!api) return;
  const own = ++turn;
  shown?.close?.();
  shown = null;
  const address = readAddress();
  const context = contextOf(address);
  markNav(address.page);
  let made;
  try {
    const isMissing = address.service && !known.services.some((one) => one.name === address.service);
    const page = isMissing ? null : PAGES[address.page];
    made = page ? await page.show(context) : notFound(address);
  } catch (error) {
    if (own !== turn) return;
    if (error.status === 401) return close(sentenceFor(error));
    made = { title: "Error", node: [errorNote(error)] };
  }
  if (own !== turn) return made.close?.();
  shown = made;
  document.title = `${made.title} · Penstock`;
  $("page").replaceChildren(...made.node);
  made.update?.(known);
  const focused = made.focus ?? $("main");
  focused.focus({ preventScroll: true });
  if (!made.keepsPlace) scrollTo(0, 0);
}

function notFound({ service }) {
  const text = service ? `There is no service ${service}, or your token does not open it.` : "This address is not a page of the console.";
  return { title: "Not found", isMissing: true, node: [empty("Nothing is here", text, link("#/", "All services", "button"))] };
}

$("entrance").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = $("token").value.trim();
  $("token").value = "";
  try {
    await open(token);
  } catch (error) {
    close(sentenceFor(error));
  }
});
$("sign-out").addEventListener("click", () => close());
addEventListener("hashchange", () => {
  const given = currentToken();
  if (given && !api) open(given).catch((error) => close(sentenceFor(error)));
  else showPage();
});

const token = currentToken();
if (token) open(token).catch((error) => close(sentenceFor(error)));
else $("welcome").hidden = false;
