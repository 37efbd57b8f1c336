// A conversation, stored in its tab, so that it survives a reload.
//
// A turn is {role: "user", content, images: [data URL]} or {role: "assistant", content, reasoning,
// calls: [{name, arguments}], outcome: "complete" | "stopped" | "failed", problem}.

const KEY = "chat";

export class Conversation {
  // open: the job that is being answered, {id, service, body}, or null.
  constructor() {
    Object.assign(this, { token: "", service: "", turns: [], open: null, ...stored() });
  }

  keep() {
    const { token, service, turns, open } = this;
    try {
      sessionStorage.setItem(KEY, JSON.stringify({ token, service, turns, open }));
    } catch {
      // Pictures may be too large for the tab's storage; the conversation goes on without it.
      sessionStorage.removeItem(KEY);
    }
  }

  forget() {
    sessionStorage.removeItem(KEY);
  }
}

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
  } catch {
    return {};
  }
}

// Return the messages to send: what was answered, and the last question.  A question without an
// answer is left out, because the model would otherwise read it again each time.
export function messagesOf(turns) {
  const messages = [];
  turns.forEach((turn, at) => {
    if (turn.role !== "user") return;
    const answer = turns[at + 1];
    const hasAnswer = answer?.role === "assistant" && answer.outcome !== "failed" && answer.content;
    if (!hasAnswer && at < turns.length - 1) return;
    messages.push({ role: "user", content: contentOf(turn) });
    if (hasAnswer) messages.push({ role: "assistant", content: answer.content });
  });
  return messages;
}

function contentOf({ content, images = [] }) {
  if (!images.length) return content;
  const pictures = images.map((url) => ({ type: "image_url", image_url: { url } }));
  return [...pictures, ...(content ? [{ type: "text", text: content }] : [])];
}
