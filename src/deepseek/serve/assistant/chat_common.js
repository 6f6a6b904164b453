"use strict";
// What the chat and the desk share: elements, words in two languages, requests. Every text goes in as a text node.
const MODEL = document.getElementById("assistant").dataset.model;
const byId = (id) => document.getElementById(id);
const said = (en, zh) => [["en", en], ["zh", zh]].map(([lang, text]) => make("span", { class: lang, lang }, text));

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) if (value !== false && value !== undefined) node.setAttribute(name, value);
  node.append(...children.flat());
  return node;
}

function button(words, onClick, kind = "") {
  const node = make("button", { type: "button", class: `act ${kind}`.trim() }, words);
  node.addEventListener("click", () => onClick(node));
  return node;
}

const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
// The script of another page brings its key in the fragment, which is sent nowhere.
let key = new URLSearchParams(location.hash.slice(1)).get("key") || "";
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// An answer's body; an Error with the server's words, its status (0: no answer) and its code.
async function ask(verb, body) {
  const headers = { "content-type": "application/json" };
  if (key) headers.authorization = `Bearer ${key}`;
  let answer;
  try {
    answer = await fetch(`/v1/models/${encodeURIComponent(MODEL)}:${verb}`, { method: "POST", headers, body: JSON.stringify(body) });
  } catch {
    throw Object.assign(new Error("no answer"), { status: 0 });
  }
  const values = await answer.json().catch(() => ({}));
  if (answer.ok) return values;
  if (answer.status === 401) byId("key").hidden = false;
  const error = values.error || {};
  throw Object.assign(new Error([error.message, error.fix].filter(Boolean).join(". ") || `status ${answer.status}`), { status: answer.status });
}

byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  key = byId("key-text").value.trim();
  byId("key").hidden = true;
  if (typeof onKey === "function") onKey();
});
