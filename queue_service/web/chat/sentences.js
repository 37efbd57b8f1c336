// What the person who chats reads when something does not work.

// Codes and types of errors that need other words than the service's, which speak to developers.
const BY_CODE = {
  context_length_exceeded: ["This conversation has become too long for the model. Start a new one.", "new"],
  FRAME_TOO_BIG: ["This message is too large for the service. Shorten it, or start a new conversation.", "new"],
  FILE_TOO_BIG: ["This message is too large for the service. Shorten it, or start a new conversation.", "new"],
  QUEUE_FULL: ["Too many people are waiting. Try again in a few minutes.", "retry"],
  QUOTA_EXCEEDED: ["You have too many questions open. Wait for an answer, then try again.", "retry"],
  RATE_LIMITED: ["You are sending messages too quickly. Wait a moment, then try again.", "retry"],
  PAUSED: ["The service is paused. Try again later.", "retry"],
};
const BY_TYPE = {
  oom: ["The model ran out of memory. Try again, or shorten the conversation.", "retry"],
  engine_lost: ["The model stopped while it was answering. Try again.", "retry"],
  gpu_lost: ["The model stopped while it was answering. Try again.", "retry"],
  timeout: ["The answer took too long. Try again, or ask for something shorter.", "retry"],
  transient: ["The model cannot be reached at the moment. Try again.", "retry"],
  internal: ["The model failed on this message. Try again; if it fails again, tell the people who run the service.", "retry"],
};
const TOO_LONG = /context (length|window)|maximum context|too many tokens|longer than the model|max_model_len/i;

// Return {text, detail, remedy}: a sentence, what the service said if that is something else, and
// "retry", "new" or "" for what helps.
export function explain(error) {
  const said = error.message || "";
  if (!error.status) {
    return { text: "The connection to the service failed. Check your network, then try again.", detail: said, remedy: "retry" };
  }
  if (error.status === 401 || error.status === 403) {
    return { text: "Your token is no longer valid here. Sign out, and enter a valid one.", detail: said, remedy: "" };
  }
  const code = TOO_LONG.test(said) ? "context_length_exceeded" : error.code;
  const [text, remedy] = BY_CODE[code] ?? (error.status === 429 ? BY_CODE.RATE_LIMITED : undefined)
    ?? BY_TYPE[error.type] ?? [];
  if (text) return { text, detail: said, remedy };
  return { text: said ? capitalised(said) : "The service gave no reason.", detail: "", remedy: "" };
}

function capitalised(sentence) {
  const text = sentence[0].toUpperCase() + sentence.slice(1);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

// Where a job is, for the place of the answer that it will have.
export function whereabouts(job, running = "The answer is being written.") {
  if (job.canceling) return "Stopping.";
  if (job.state === "running") return running;
  const ahead = job.position ?? 0;
  const start = job.estimate?.start?.p50_s;
  const waiting = ahead ? `Waiting, ${ahead} ahead of you` : "Waiting, you are next";
  return start > 1 ? `${waiting}; about ${inWords(start)}.` : `${waiting}.`;
}

function inWords(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} seconds`;
  if (seconds < 5400) return `${Math.ceil(seconds / 60)} minutes`;
  return `${Math.ceil(seconds / 3600)} hours`;
}
