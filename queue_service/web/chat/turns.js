// What a turn looks like.

import { action, copyButton, make } from "./dom.js";
import { blocksOf, isPictureData, render } from "./markdown.js";

export function userTurn(turn, { onEdit }) {
  const item = make("li", { className: "user" });
  item.setAttribute("aria-label", "You");
  const bubble = make("div", { className: "bubble" });
  for (const url of turn.images ?? []) {
    if (isPictureData(url)) bubble.append(make("img", { src: url, alt: "Your picture" }));
  }
  if (turn.content) bubble.append(make("p", {}, turn.content));
  item.append(bubble, make("div", { className: "actions" }, action("Edit", onEdit)));
  return item;
}

// The answer to a question: it waits, grows, and ends.
export class Answer {
  constructor({ onRetry, onNewChat }) {
    this.onRetry = onRetry;
    this.onNewChat = onNewChat;
    this.blocks = [];
    this.place = make("p", { className: "place" });
    this.thought = make("div", { className: "text" });
    this.reasoning = make("details", { className: "reasoning", hidden: true }, make("summary", {}, "Reasoning"), this.thought);
    this.text = make("div", { className: "text" });
    this.foot = make("div", { className: "foot" });
    this.node = make("li", { className: "assistant growing" }, this.place, this.reasoning, this.text, this.foot);
    this.node.setAttribute("aria-label", "Answer");
  }

  waits(sentence) {
    // A screen reader hears the page's status instead.
    this.place.textContent = sentence;
  }

  show({ content, reasoning }) {
    this.place.hidden = Boolean(content || reasoning);
    this.reasoning.hidden = !reasoning;
    if (reasoning) this.thought.textContent = reasoning;
    this.showText(content);
  }

  // Only the blocks that changed are made again: the others keep their scroll and selection.
  showText(content) {
    const blocks = blocksOf(content).map((block) => ({ block, source: block.lines.join("\n") }));
    let same = 0;
    while (same < blocks.length && blocks[same].source === this.blocks[same]?.source) same += 1;
    for (const { node } of this.blocks.splice(same)) node.remove();
    for (const { block, source } of blocks.slice(same)) {
      const node = render(block, frameOfCode);
      this.text.append(node);
      this.blocks.push({ source, node });
    }
  }

  end(turn) {
    this.node.classList.remove("growing");
    this.node.classList.toggle("failed", turn.outcome === "failed");
    this.place.hidden = true;
    this.show(turn);
    this.foot.replaceChildren();
    for (const { name, arguments: given } of turn.calls ?? []) this.foot.append(toolCall(name, given));
    if (turn.outcome === "stopped") this.foot.append(make("p", { className: "note" }, "Stopped"));
    if (turn.outcome === "failed") this.foot.append(this.problem(turn.problem));
    const actions = make("div", { className: "actions" });
    if (turn.content) actions.append(copyButton(() => turn.content));
    actions.append(action("Retry", this.onRetry));
    this.foot.append(actions);
  }

  problem({ text, detail, remedy }) {
    const box = make("div", { className: "problem" }, make("p", {}, text));
    if (detail) box.append(make("details", {}, make("summary", {}, "Details"), make("p", {}, detail)));
    if (remedy === "new") box.append(action("New conversation", this.onNewChat));
    return box;
  }
}

function toolCall(name, given) {
  const summary = make("summary", {}, "Wants to call ", make("code", {}, name || "a tool"));
  return make("details", { className: "call" }, summary, make("pre", { tabIndex: 0 }, pretty(given)));
}

function pretty(given) {
  try {
    return JSON.stringify(typeof given === "string" ? JSON.parse(given) : given, null, 2);
  } catch {
    return String(given);
  }
}

function frameOfCode(frame, code, language) {
  frame.prepend(make("figcaption", {}, language || "text", copyButton(() => code)));
}
