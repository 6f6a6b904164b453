// The console: asks the server it came from every 2 s how it is doing. Runs after console_draw.js and console_form.js.
// No library, no request to anywhere else.
const POLL_MS = 2000;
const TIMEOUT_MS = 30000;
const state = { models: null, stats: null, hasStats: true, repository: null, key: "", model: null, isChoosing: false, example: {}, last: null, failed: null };

const byId = (id) => document.getElementById(id);
const modelPath = (name) => `/v1/models/${encodeURIComponent(name)}`;

// Replaces what stands in an element only where it differs: nothing is read out again, nothing flickers.
function show(id, ...parts) {
  const fresh = put(document.createElement("div"), ...parts);
  const element = byId(id);
  if (fresh.innerHTML !== element.innerHTML) element.replaceChildren(...fresh.childNodes);
}

function clear(element) {
  element.replaceChildren();
  return element;
}

// The JSON of an answer. Throws {gone: true} when there is none, else the server's error: {status, message, expected, fix}.
async function ask(path, body) {
  const headers = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (state.key) headers.authorization = `Bearer ${state.key}`;
  const method = body === undefined ? "GET" : "POST";
  let answer, content;
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    answer = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
    content = await answer.json();
  } catch (error) {
    if (!answer) throw { gone: true };
    content = null;
  }
  if (answer.ok && content !== null) return content;
  throw { message: `HTTP ${answer.status}`, ...(content && content.error), status: answer.status };
}

// ---- asking again and again -------------------------------------------------------------------------------------------
let asking = false;

async function refresh() {
  if (asking) return;
  asking = true;
  try {
    const found = (await ask("/v1/models")).data || [];
    if (state.hasStats) await refreshStats();
    await refreshParts();
    const isNew = JSON.stringify(found.map(identity)) !== JSON.stringify((state.models || [{}]).map(identity));
    await refreshRepository(isNew);
    state.models = found;
    if (isNew || state.failed) await keepModel(isNew);
    state.failed = null;
  } catch (error) {
    state.failed = error;
  }
  asking = false;
  report();
}

const identity = (model) => [model.id, model.version, model.digest];

async function keepModel(isNew) {
  if (isNew || !state.model) await choose();
}

async function refreshStats() {
  try {
    state.stats = await ask("/v1/stats");
  } catch (error) {
    if (error.status !== 404) throw error;
    state.hasStats = false; // this server keeps none: do not ask again
  }
}

// ---- the first sentence, and the table of models ------------------------------------------------------------------------
function report() {
  document.querySelector("main").dataset.ready = ""; // until the first answer the parts below would jump
  const failed = state.failed;
  const locked = !!failed && failed.status === 401;
  byId("key").hidden = !locked;
  byId("links").hidden = locked || !!state.key; // a link cannot carry a key
  byId("try").hidden = locked || !(state.model || state.isChoosing); // another can be chosen while a slow one comes
  byId("models").hidden = !!failed || !state.models.length;
  const repository = failed ? null : repositoryTable();
  byId("repository").hidden = !repository;
  if (repository) show("versions", repository);
  showParts(failed);
  if (failed) reportFailure(failed);
  else if (state.models.length) {
    show("answer", summary());
    show("models", modelTable());
    show("note", repositorySummary(), uptime());
  } else {
    show("answer", said("This server holds no model.", "此服务器没有加载模型。"));
    show("note", stateBox("warn", "! ", said("There is nothing to ask. Start it with a bundle: deepseek serve BUNDLE",
      "没有可用的模型。请用模型包启动：deepseek serve BUNDLE")));
  }
}

function reportFailure(failed) {
  if (failed.status === 401) {
    show("answer", said("This server asks for an API key.", "此服务器需要 API 密钥。"));
    show("note", state.key ? stateBox("bad", "✕ ", said("The server does not accept this key.", "服务器不接受此密钥。")) : null);
  } else if (failed.gone) {
    show("answer", said("The server does not answer.", "服务器没有响应。"));
    show("note", stateBox("bad", "✕ ", said(
      `No answer from ${location.origin}. Is the process still running? Start it with deepseek serve BUNDLE. This page asks again every 2 s.`,
      `${location.origin} 没有响应。进程是否仍在运行？请用 deepseek serve BUNDLE 启动。本页每 2 秒重试一次。`)));
  } else {
    show("answer", said("The server refuses to answer.", "服务器拒绝响应。"));
    show("note", errorBox(failed));
  }
}

function summary() {
  const num = state.models.length;
  const names = state.models.map((model) => model.id).slice(0, 3).join(", ");
  const en = `Serving ${num === 1 ? "1 model" : `${num} models`}: ${names}${num > 3 ? ` and ${num - 3} more` : ""}`;
  const zh = `正在提供 ${num} 个模型：${names}${num > 3 ? "等" : ""}`;
  if (!state.hasStats) return said(`${en}.`, `${zh}。`);
  const all = versions().map(statsOf);
  const rate = all.reduce((sum, one) => sum + (one.requests_per_s || 0), 0);
  const [seconds, minutes] = [Math.round(state.stats.window_s || 0), Math.round((state.stats.window_s || 0) / 60)];
  const window = seconds < 90 ? said(`${seconds}\u00a0s`, `${seconds} 秒`) : said(`${minutes}\u00a0minutes`, `${minutes} 分钟`);
  if (!rate && seconds < 1) return said(`${en}. No requests yet.`, `${zh}。尚无请求。`);
  if (!rate) return said(`${en}. No requests in the last ${window.en}.`, `${zh}。最近 ${window.zh}没有请求。`);
  const slowest = Math.max(...all.map((one) => one.latency.predict.p99_s || 0));
  const late = slowest ? said(`, p99 of predictions ${duration(slowest)}`, `，预测延迟 p99 ${duration(slowest)}`) : said("", "");
  return said(
    `${en}. ${number(rate)} requests/s${late.en}, over the last ${window.en}.`,
    `${zh}。最近 ${window.zh}：每秒 ${number(rate)} 次请求${late.zh}。`);
}

// A model that has not been asked yet has no entry in the statistics.
const NO_LATENCY = { num_requests: 0, p50_s: null, p99_s: null, history: [] };
const NOTHING = {
  num_requests: 0, num_errors: 0, requests_per_s: 0, history: [], slot_s: 0, latency: { predict: NO_LATENCY, explain: NO_LATENCY },
};
const statsOf = (model) =>
  state.stats.models.find((one) => one.name === model.id && one.version === model.version) || NOTHING;

// Each model as it is served, and below it its other versions that answered of late: a part of its requests, or before.
const versions = () => (!state.hasStats ? state.models : state.models.flatMap((model) => [model, ...state.stats.models
  .filter((one) => one.name === model.id && one.version !== model.version)
  .sort((one, other) => (one.version < other.version ? -1 : 1))
  .map((one) => ({ ...model, version: one.version }))]));

const COLUMNS = [
  [said("Model", "模型"), ""], [said("Task", "任务"), ""], [said("Requests", "请求数"), "num"],
  [said("Errors", "错误数"), "num"], [said("Requests/s", "每秒请求"), "num"], [said("Predictions", "预测延迟"), "num"],
  [said("Explanations", "解释延迟"), "num"],
];

function modelTable() {
  const columns = state.hasStats ? COLUMNS : COLUMNS.slice(0, 2);
  const heads = columns.map(([title, kind]) => make("th", { scope: "col", class: kind }, title));
  const rows = versions().map(modelRow);
  return make("table", null, make("thead", null, make("tr", null, ...heads)), make("tbody", null, ...rows));
}

function modelRow(model) {
  const row = make("tr", null,
    make("th", { scope: "row" }, model.id, make("span", { class: "soft" }, model.version ? ` ${model.version}` : "")),
    make("td", null, taskName(model.task), ...chatLinks(model)));
  if (!state.hasStats) return titled(row, COLUMNS);
  const stats = statsOf(model);
  const rates = stats.history.map((point) => point.requests_per_s);
  const cell = (...parts) => make("td", { class: "num" }, ...parts);
  put(row, cell(count(stats.num_requests)),
    cell(make("span", { class: stats.num_errors > 0 && "bad" }, count(stats.num_errors))),
    cell(number(stats.requests_per_s), trend(rates, said("requests per second", "每秒请求"), number, stats.slot_s)),
    latencyCell(stats.latency.predict, said("median latency of predictions", "预测延迟中位数"), stats.slot_s),
    latencyCell(stats.latency.explain, said("median latency of explanations", "解释延迟中位数"), stats.slot_s));
  return titled(row, COLUMNS);
}

// An assistant has a page of its own, and one for the people who take over.
function chatLinks(model) {
  if (model.task !== "intents" || state.key) return []; // a link cannot carry a key
  const chat = `/chat/${encodeURIComponent(model.id)}`;
  return [" · ", make("a", { href: chat }, said("chat", "对话")), " · ", make("a", { href: `${chat}/desk` }, said("desk", "工作台"))];
}

// Median and p99 with the number that they are of: one slow answer is a p99 of few, and says little.
function latencyCell(latency, title, slotS) {
  if (!latency.num_requests) return make("td", { class: "num" }, UNKNOWN);
  const [middle, late, num] = [duration(latency.p50_s), duration(latency.p99_s), count(latency.num_requests)];
  const lines = [said(`median ${middle}`, `中位数 ${middle}`), said(`p99 ${late}`, `p99 ${late}`), said(`of ${num}`, `共 ${num} 次`)];
  const medians = latency.history.map((point) => point.p50_s);
  return make("td", { class: "num" }, make("span", { class: "lines" }, ...lines.map((words, index) => make("span", { class: index === 2 && "soft" }, words))),
    trend(medians, title, duration, slotS));
}

// Each cell carries its column's title: where the window is narrow a row is a list, and the head is gone.
function titled(row, columns) {
  Array.from(row.children).forEach((cell, place) => Object.assign(cell.dataset, columns[place][0]));
  return row;
}

function uptime() {
  if (!state.stats || typeof state.stats.uptime_s !== "number") return null;
  const time = duration(state.stats.uptime_s);
  return make("p", { class: "note" }, said(`Running for ${time}. This page asks every 2 s.`, `已运行 ${time}。本页每 2 秒刷新。`));
}

function stateBox(kind, ...parts) {
  return make("div", { class: `state ${kind}`, role: kind === "bad" ? "alert" : "status" }, make("p", null, ...parts));
}

// ---- events -----------------------------------------------------------------------------------------------------------
byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  send((event.submitter && event.submitter.value) || "predict");
});
byId("reset").addEventListener("click", () => {
  fillForm(state.example);
  clear(byId("result"));
  state.last = null;
});
byId("model").addEventListener("change", async (event) => {
  try {
    await choose(event.target.value);
  } catch (error) {
    state.failed = error;
  }
  report();
});
byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  state.key = byId("key-text").value.trim();
  refresh();
});
let resized;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => state.last && state.last.why && showResult(), 200);
});
refresh();
setInterval(refresh, POLL_MS);
