// The repository of a server: which version of each model answers, which were refused, and why. Runs after
// console_words.js.
const REPOSITORY_POLLS = 5; // polls of the models for one of the repository, whose folders are scanned
let polls = 0;

async function refreshRepository(isNew) {
  if (state.repository === "none" || (!isNew && polls++ % REPOSITORY_POLLS)) return;
  try {
    state.repository = await ask("/v2/repository/index", {});
  } catch (error) {
    if (![404, 405].includes(error.status)) throw error;
    state.repository = "none"; // this server has no such route: do not ask again
  }
}

const VERSION_COLUMNS = [[said("Model", "模型")], [said("Version", "版本")], [said("State", "状态")], [said("Why", "原因")]];

// The models of which a version is not served: the others stand in the table above with theirs.
function repositoryTable() {
  const all = Array.isArray(state.repository) ? state.repository : [];
  const names = new Set(all.filter((entry) => entry.state !== "READY").map((entry) => entry.name));
  const entries = all.filter((entry) => names.has(entry.name));
  if (!entries.length) return null;
  const order = (entry) => (entry.state === "READY" ? 0 : entry.code ? 1 : 2);
  const sorted = [...entries].sort((one, other) => (one.name < other.name ? -1 : one.name > other.name ? 1 : order(one) - order(other)));
  const head = make("thead", null, make("tr", null, ...VERSION_COLUMNS.map(([title]) => make("th", { scope: "col" }, title))));
  return make("table", null, head, make("tbody", null, ...sorted.map(repositoryRow)));
}

function repositoryRow(entry) {
  const states = [
    make("span", { class: "good" }, said("✓ serves", "✓ 正在服务")),
    make("span", { class: "bad" }, said("✕ refused", "✕ 已拒绝")),
    make("span", { class: "soft" }, said("not loaded", "未加载")),
  ];
  const place = entry.state === "READY" ? 0 : entry.code ? 1 : 2;
  return titled(make("tr", null, make("th", { scope: "row" }, entry.name), make("td", null, entry.version || UNKNOWN),
    make("td", { class: "state-of" }, states[place]), make("td", { class: "text" }, place === 1 ? refusal(entry) : UNKNOWN)), VERSION_COLUMNS);
}

function refusal(entry) {
  const [meaning, advice] = ERRORS_ZH[entry.code] || ["该版本无法使用", "请重新生成模型包"];
  const chinese = make("div", { class: "zh", lang: "zh" }, `${meaning}；${advice}。`, originalWords([entry.reason]));
  return make("div", null, make("div", { class: "en", lang: "en" }, entry.reason), chinese);
}

function repositorySummary() {
  const refused = (Array.isArray(state.repository) ? state.repository : []).filter((entry) => entry.code);
  const num = refused.length;
  if (!num) return null;
  return stateBox("warn", "! ", said(`${num === 1 ? "1 version was" : `${num} versions were`} refused; what served before goes on.`,
    `${num} 个版本被拒绝；原有版本继续服务。`));
}
