// The token of this tab.  It is kept until the tab is closed, and sent in a header only.

import { takeGivenToken } from "../chat/given_token.js";

const KEY = "penstock.console.token";

export function currentToken() {
  const given = takeGivenToken();
  if (given) keepToken(given);
  return sessionStorage.getItem(KEY) ?? "";
}

export function keepToken(token) {
  sessionStorage.setItem(KEY, token);
}

export function forgetToken() {
  sessionStorage.removeItem(KEY);
}
