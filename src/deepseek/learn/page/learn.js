// The page of the learning path: begins, checks and asks for hints, and writes what the server has said beside the task.
"use strict";
const WORDS = JSON.parse(document.getElementById("words").textContent);
const TEXTS = {
  running: { en: "Checking…", zh: "正在检查……" }, passed: { en: "Passed", zh: "已通过" },
  open: { en: "Not passed yet", zh: "尚未通过" }, points: { en: "of 100 points", zh: "分（满分 100）" },
  hint: { en: "Hint", zh: "提示" }, colon: { en: ": ", zh: "：" }, folder: { en: "The folder is", zh: "文件夹为" },
  changed: { en: "Data was changed, and put back for the grading:", zh: "数据被改动，评分时已还原：" },
  lost: { en: "The server does not answer. Is deepseek learn serve still running?", zh: "服务没有响应。deepseek learn serve 还在运行吗？" },
};

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.flat());
  return element;
}
const said = (text) => [make("span", { class: "en", lang: "en" }, text.en), make("span", { class: "zh", lang: "zh" }, text.zh)];
const place = (kind, lab) => document.querySelector(`[data-${kind}="${lab}"]`);

async function ask(path, lab) {
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ lab }) });
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.error.message), { error: body.error });
  return body;
}

function showGrade(target, grade) {
  const verdict = grade.passed ? TEXTS.passed : TEXTS.open;
  const lines = grade.checks.map((check) => {
    const sign = make("span", { class: check.passed ? "good" : "bad" }, check.passed ? "✓ " : "✕ ");
    const line = make("li", {}, sign, said(check.title), ` (${check.passed ? check.weight : 0}/${check.weight})`);
    if (check.mistake) line.append(make("div", { class: "soft" }, said(check.mistake)));
    return line;
  });
  const changed = grade.changed_data.length ? [make("p", {}, said(TEXTS.changed), ` ${grade.changed_data.join(", ")}`)] : [];
  const hint = grade.hint ? [make("p", {}, said(TEXTS.hint), said(TEXTS.colon), said(grade.hint))] : [];
  target.replaceChildren(make("p", {}, make("strong", {}, said(verdict)), said(TEXTS.colon), `${grade.score} `, said(TEXTS.points)), ...changed, make("ul", {}, lines), ...hint);
  if (!grade.passed) return;
  const status = place("status", grade.lab);
  status.replaceChildren(make("span", { class: "sign good" }, "✓"), " ", ...said(WORDS.passed));
}

const ACTS = {
  start: async (lab, target) => {
    const begun = await ask("/start", lab);
    place("folder", lab).replaceChildren(begun.folder);
    target.replaceChildren(make("p", {}, said(TEXTS.folder), ` ${begun.folder}`));
  },
  check: async (lab, target) => {
    target.replaceChildren(make("p", {}, said(TEXTS.running)));
    showGrade(target, await ask("/check", lab));
  },
  hint: async (lab, target) => {
    const hint = await ask("/hint", lab);
    target.replaceChildren(make("p", {}, said(TEXTS.hint), ` ${hint.number}/${hint.total}`, said(TEXTS.colon), said(hint.hint)));
  },
};

document.querySelectorAll("button[data-act]").forEach((button) => button.addEventListener("click", async () => {
  const lab = button.dataset.lab, target = place("said", lab);
  const buttons = document.querySelectorAll(`button[data-lab="${lab}"]`);
  buttons.forEach((each) => { each.disabled = true; });
  target.setAttribute("aria-busy", "true");
  try {
    await ACTS[button.dataset.act](lab, target);
  } catch (failure) {
    const error = failure.error;
    const lines = error ? [make("p", {}, error.message), make("p", { class: "soft" }, error.fix)] : [make("p", {}, said(TEXTS.lost))];
    target.replaceChildren(...lines);
  } finally {
    buttons.forEach((each) => { each.disabled = false; });
    target.setAttribute("aria-busy", "false");
    button.focus();
  }
}));
