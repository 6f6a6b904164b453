// The page of a project: what is said of an example is kept here until the server has it, and sent again with the same
// id, so that a minute without a network loses nothing and two answers are never made of one.
"use strict";
const PROJECT = JSON.parse(document.getElementById("project").textContent);
const STORED = `deepseek-label:${PROJECT.id}:`, NUM_HELD = 20, FIRST_PAUSE_MS = 1000, LAST_PAUSE_MS = 15000, REQUEST_MS = 20000;
const byId = (name) => document.getElementById(name);
const state = { held: [], current: null, shownAt: 0, media: new Map(), draft: null, counts: null, isOver: false,
  isSending: false, isFilling: false, pause: FIRST_PAUSE_MS, isOffline: false, showsHint: read("hint") === "shown", done: new Set() };

function read(name) { try { return localStorage.getItem(STORED + name); } catch { return null; } }
function write(name, value) {
  try { value === null ? localStorage.removeItem(STORED + name) : localStorage.setItem(STORED + name, value); return true; }
  catch { return false; }
}
const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") Object.entries(value).forEach(([event, work]) => element.addEventListener(event, work));
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat());
  return element;
}
const said = (en, zh) => [make("span", { class: "en", lang: "en" }, en), make("span", { class: "zh", lang: "zh" }, zh)];
const isChinese = () => document.documentElement.dataset.lang === "zh";
const count = (number) => number.toLocaleString("en");

// What waits to be sent: an entry of its own for each change, so that tabs do not overwrite each other's.
const PENDING = "change:";
const memory = new Map(); // where the browser keeps nothing: a private window, a full disk
function pending() {
  const changes = new Map(memory);
  try {
    for (let place = 0; place < localStorage.length; place += 1) {
      const name = localStorage.key(place);
      if (name.startsWith(STORED + PENDING)) changes.set(name.slice((STORED + PENDING).length), JSON.parse(localStorage.getItem(name)));
    }
  } catch { /* what is in memory is all there is */ }
  return [...changes.values()].filter((change) => change.person === person()).sort((a, b) => a.order - b.order);
}
function keep(change) {
  if (!write(PENDING + change.id, JSON.stringify(change))) memory.set(change.id, change);
  showCounts();
}
function forget(id) { memory.delete(id); write(PENDING + id, null); }

const person = () => byId("person").value.trim();
function headers() {
  const key = byId("key") ? byId("key").value.trim() : "";
  const own = { "Content-Type": "application/json", "Deepseek-Person": encodeURIComponent(person()) };
  return key ? { ...own, Authorization: `Bearer ${key}` } : own;
}
async function ask(path, body) {
  // A connection that a sleeping computer left half open would hold all that waits for minutes.
  const answer = await fetch(path, { method: "POST", headers: headers(), body: JSON.stringify(body), signal: AbortSignal.timeout(REQUEST_MS) });
  const document_ = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(document_.error.message), { error: document_.error, status: answer.status });
  return document_;
}

function tell(kind, en, zh) {
  const line = byId("problem");
  line.className = kind;
  line.replaceChildren(...(en ? said(en, zh) : []));
}
function tellError(error) {
  const words = [error.message, error.fix].filter(Boolean).join(". ");
  tell("state bad", words, words);
}

// What was asked first may be answered last: figures that another answer has overtaken are passed over.
function takeCounts(counts) {
  if (!state.counts || counts.last_change >= state.counts.last_change) state.counts = counts;
}
function showCounts() {
  const waiting = pending().length, counts = state.counts;
  if (!state.current) showEnd();
  const line = byId("progress");
  line.replaceChildren();
  if (counts) {
    line.append(...said(
      `${count(counts.num_labeled)} of ${count(counts.num_items)} labeled, ${count(counts.num_test_labeled)} of ${count(counts.num_test)} of the test`,
      `已标注 ${count(counts.num_labeled)} / ${count(counts.num_items)}，其中测试集 ${count(counts.num_test_labeled)} / ${count(counts.num_test)}`));
  }
  const sync = byId("sync");
  sync.className = state.isOffline ? "warn" : "soft";
  if (state.isOffline) {
    sync.replaceChildren(...said(`! No connection: ${waiting} kept here and sent later. Go on.`, `! 无连接：${waiting} 条已保存在本机，稍后发送。请继续。`));
  } else sync.replaceChildren(...(waiting ? said(`${waiting} being sent`, `正在发送 ${waiting} 条`) : said("everything is kept", "已全部保存")));
}

function setOffline(isOffline) {
  state.isOffline = isOffline;
  showCounts();
}

async function send() {
  if (state.isSending) return;
  state.isSending = true;
  try {
    for (let changes = pending(); changes.length; changes = pending()) {
      const answer = await ask("label", { changes: changes.slice(0, 100) });
      answer.results.forEach((result, place) => settle(changes[place], result));
      takeCounts(answer.counts);
      state.pause = FIRST_PAUSE_MS;
      setOffline(false);
    }
  } catch (problem) {
    if (problem.status === 401) askForKey(problem.error);
    else if (problem.error && problem.status < 500) tellError(problem.error);
    setOffline(!problem.error || problem.status >= 500);
    setTimeout(send, state.pause);
    state.pause = Math.min(2 * state.pause, LAST_PAUSE_MS);
  } finally { state.isSending = false; showCounts(); }
}

function settle(change, result) {
  if (!result.error) { forget(change.id); return; }
  forget(change.id);
  if (result.error.code === "conflict") showConflict(change, result.error);
  else { write(`refused:${change.id}`, JSON.stringify(change)); tellError(result.error); }
}

// The same example in two tabs: nothing is overwritten before the person has seen both.
async function showConflict(change, error) {
  const box = byId("conflicts");
  const answer = await ask("item", { item: change.item }).catch(() => null);
  const now = answer && answer.item.label ? describe(answer.item.label) : isChinese() ? "无" : "nothing";
  const line = make("div", { class: "state warn", role: "alert" },
    make("p", {}, said(`${answer ? answer.item.key : change.item} was changed in another tab: it is ${now}; here it was ${describe(change)}.`,
      `${answer ? answer.item.key : change.item} 已在另一标签页中更改：现为 ${now}；此处为 ${describe(change)}。`)));
  const end = (work) => () => { line.remove(); work(); };
  line.append(make("button", { class: "act", type: "button", on: { click: end(() => {}) } }, said("Keep what is there", "保留现有")),
    make("button", { class: "act", type: "button", on: { click: end(() => { keep({ ...change, id: newId(), seen: null }); send(); }) } }, said("Use this one", "使用此处的")));
  box.append(line);
  if (!answer) line.append(error.message);
}
function describe(label) {
  if (label.value === null || label.value === undefined) return label.state || label.action;
  return Array.isArray(label.value) ? `${label.value.length} × ${PROJECT.task}` : String(label.value);
}

// The examples that this page has, and those whose answers wait.
function ownItems() {
  return new Set([...state.held.map((item) => item.number), ...(state.current ? [state.current.number] : []), ...pending().map((change) => change.item)]);
}

async function fill() {
  if (!person()) { byId("person").focus(); return; }
  if (state.held.length < NUM_HELD / 2 && !state.isFilling) {
    state.isFilling = true; // two questions at a time would be answered with the same examples
    try {
      const answer = await ask("next", { num: NUM_HELD - state.held.length, exclude: [...ownItems()] });
      const known = ownItems();
      const news = answer.items.filter((item) => !known.has(item.number) && !state.done.has(item.number));
      state.held.push(...news);
      takeCounts(answer.counts);
      state.isOver = answer.items.length === 0;
      setOffline(false);
      tell("", "", "");
      news.forEach(fetchMedia);
    } catch (problem) {
      if (problem.status === 401) { askForKey(problem.error); return; }
      if (problem.error) tellError(problem.error); else setOffline(true);
      setTimeout(fill, LAST_PAUSE_MS / 5);
    } finally { state.isFilling = false; }
  }
  if (!state.current) next();
  showCounts();
}

function askForKey(error) {
  tellError(error);
  if (byId("key")) byId("key").focus();
}

async function fetchMedia(item) {
  for (const column of PROJECT.media) {
    if (!item.content[column]) continue;
    const place = `${item.number}/${column}`;
    if (state.media.has(place)) continue;
    const kind = PROJECT.kinds[column], path = `${item.number}/${encodeURIComponent(column)}`, kept = {};
    try {
      if (kind !== "series" && kind !== "volume") {
        const answer = await fetch(`media/${path}`, { headers: headers() });
        if (answer.ok) kept.url = URL.createObjectURL(await answer.blob());
        if (answer.ok && kind === "image" && PROJECT.task !== "boxes" && PROJECT.task !== "masks") {
          kept.image = make("img", { src: kept.url, alt: item.key, class: "picture" });
        }
        if (!answer.ok) kept.error = (await answer.json()).error;
      }
      if (PREVIEWED.has(kind) && !kept.error) {
        const answer = await fetch(`preview/${path}`, { headers: headers() }), document_ = await answer.json();
        if (answer.ok) kept.preview = document_;
        else if (!kept.url) kept.error = document_.error; // a sound that has no plot can be heard
      }
      state.media.set(place, kept);
    } catch { state.media.delete(place); }
    if (state.current === item) showMedia(item);
    if (state.held[0] === item) decodeNext();
  }
}

// Decodes the pictures of the next example alone, so that they are drawn at once when its turn comes: the browser keeps
// few decoded pictures, and would drop the next one for those that come later.
function decodeNext() {
  const item = state.held[0];
  for (const column of item ? PROJECT.media : []) {
    const kept = state.media.get(`${item.number}/${column}`);
    if (kept && kept.image) kept.image.decode().catch(() => {}); // one that cannot be decoded is told when it is shown
  }
}

function dropMedia(item) {
  for (const column of PROJECT.media) {
    const place = `${item.number}/${column}`, kept = state.media.get(place);
    if (kept && kept.url) URL.revokeObjectURL(kept.url);
    state.media.delete(place);
  }
}

// Without the crypto of a secure context, ids would not be unique: the page is served on localhost or behind TLS.
function record(action, value = null) {
  const item = state.current;
  if (!item) return;
  const comment = byId("comment").value;
  keep({ id: newId(), order: Date.now() + performance.now() / 1e6, person: person(), item: item.number, action, value, comment,
    seen: item.seen, duration_s: Math.min((performance.now() - state.shownAt) / 1000, 3600),
    suggestion: state.showsHint && item.suggestion ? "shown" : "hidden" });
  state.done.add(item.number);
  dropMedia(item);
  byId("last").replaceChildren(...said(`${item.key}: ${value === null ? action : describe({ value })}`, `${item.key}：${value === null ? action : describe({ value })}`));
  state.current = null;
  next();
  send();
  fill();
}

async function undo() {
  await send();
  if (pending().length) { tell("state warn", "What waits is sent first; then it can be taken back.", "须先发送待发内容，然后才能撤回。"); return; }
  try {
    const answer = await ask("undo", { id: newId() });
    if (state.current) { state.held.unshift(state.current); }
    state.done.delete(answer.item.number);
    state.held = state.held.filter((item) => item.number !== answer.item.number);
    takeCounts(answer.counts);
    state.current = answer.item;
    fetchMedia(answer.item);
    show(answer.item);
    tell("state", `Taken back: ${answer.item.key}`, `已撤回：${answer.item.key}`);
  } catch (problem) { problem.error ? tellError(problem.error) : setOffline(true); }
  showCounts();
}

function next() {
  const item = state.held.shift() || null;
  state.current = item;
  if (item) show(item);
  else showEnd();
  requestAnimationFrame(() => setTimeout(decodeNext)); // behind the frame that shows this one
}

addEventListener("online", () => { state.pause = FIRST_PAUSE_MS; send(); fill(); });
addEventListener("offline", () => setOffline(true));
addEventListener("pagehide", () => {
  if (person() && !pending().length) fetch("release", { method: "POST", headers: headers(), body: "{}", keepalive: true }).catch(() => {});
});
