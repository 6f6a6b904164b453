// What is seen: the card of an example, the labels, and the keys.
const DIGITS = "1234567890", HAS_SEARCH = PROJECT.labels.length > DIGITS.length;
const LONG = 240; // characters above which a cell is a paragraph

function show(item) {
  state.shownAt = performance.now();
  state.draft = item.label && Array.isArray(item.label.value) ? structuredClone(item.label.value) : [];
  byId("comment").value = (item.label && item.label.comment) || "";
  byId("key-of-item").textContent = item.key;
  const card = byId("card");
  dropScan();
  card.replaceChildren(...PROJECT.media.map((column) => make("div", { class: "media", "data-column": column })),
    ...cells(item));
  if (PROJECT.task === "spans") card.prepend(spanEditor(item));
  showMedia(item);
  showHint(item);
  showOthers(item);
  showLabels(item);
  byId("live").textContent = isChinese() ? `下一个：${item.key}` : `Next: ${item.key}`;
  byId("work").hidden = false;
  byId("end").hidden = true;
  focusInput();
}

function cells(item) {
  const columns = Object.keys(PROJECT.kinds).filter((name) => !PROJECT.media.includes(name));
  const texts = columns.filter((name) => PROJECT.kinds[name] === "text" && !(PROJECT.task === "spans"));
  const facts = columns.filter((name) => PROJECT.kinds[name] !== "text");
  const parts = texts.map((name) => make("div", { class: "prose" },
    texts.length > 1 || facts.length ? make("p", { class: "soft" }, name) : "", make("p", { class: "text" }, cellText(item.content[name]))));
  if (facts.length) {
    parts.push(make("dl", { class: "facts" }, facts.flatMap((name) => [make("dt", {}, name), make("dd", {}, cellText(item.content[name]))])));
  }
  return parts;
}
function cellText(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return Number.isInteger(value) ? count(value) : value.toLocaleString("en", { maximumSignificantDigits: 6 });
  return String(value);
}

function showMedia(item) {
  document.querySelectorAll("#card .media").forEach((box) => {
    const column = box.dataset.column, kept = state.media.get(`${item.number}/${column}`);
    if (!item.content[column]) box.replaceChildren(make("p", { class: "soft" }, said("No file.", "无文件。")));
    else if (!kept) box.replaceChildren(make("p", { class: "soft" }, said("Loading the file.", "正在加载文件。")));
    else if (kept.error) {
      box.replaceChildren(make("div", { class: "state bad" }, make("p", {}, kept.error.message), make("p", {}, kept.error.fix),
        make("p", {}, said("Skip it: it is asked again once the file is back.", "请跳过：文件恢复后会再次询问。"))));
    } else if (PREVIEWED.has(PROJECT.kinds[column])) {
      box.replaceChildren(...showPreview(item, column, kept));
    } else if (PROJECT.kinds[column] === "video") {
      box.replaceChildren(make("video", { controls: true, src: kept.url, "aria-label": item.key }));
    } else if (PROJECT.task === "boxes") box.replaceChildren(boxEditor(item, kept.url));
    else if (PROJECT.task === "masks") box.replaceChildren(maskEditor(item, kept.url));
    else box.replaceChildren(make("div", { class: "frame" }, make("div", { class: "stage zoomed" }, kept.image || make("img", { src: kept.url, alt: item.key, class: "picture" }))));
  });
}

function showHint(item) {
  const hint = byId("hint"), suggestion = item.suggestion;
  byId("toggle-hint").setAttribute("aria-pressed", String(state.showsHint));
  hint.replaceChildren();
  if (!state.showsHint || !suggestion) return;
  const percent = `${Math.round(100 * suggestion.probability)} %`;
  hint.append(make("p", {}, said(`The model says ${suggestion.value} (${percent}).`, `模型认为是 ${suggestion.value}（${percent}）。`)));
  if (suggestion.reasons.length) {
    const words = suggestion.reasons.map(([name, share]) => `${name} ${share > 0 ? "+" : "−"}${Math.abs(share).toFixed(2)}`).join(", ");
    hint.append(make("p", { class: "note" }, said(`Log-odds by: ${words}`, `对数几率来自：${words}`)));
  }
}
function showOthers(item) {
  byId("others").replaceChildren(...item.others.map((label) => make("p", { class: "note" }, `${label.person}: ${describe(label)}`)));
}

function chosenLabels(item) {
  const words = byId("search") ? byId("search").value.trim().toLowerCase() : "";
  const starts = PROJECT.labels.filter((label) => label.toLowerCase().startsWith(words));
  const holds = PROJECT.labels.filter((label) => label.toLowerCase().includes(words) && !starts.includes(label));
  const all = [...starts, ...holds];
  // Buttons with digits stay in their places: the digit is what a hand has learned.
  if (!HAS_SEARCH || words || !state.showsHint || !item || !item.suggestion) return all;
  return [item.suggestion.value, ...all.filter((label) => label !== item.suggestion.value)];
}
function showLabels(item) {
  const list = byId("labels");
  if (!list) return;
  const now = item && item.label && typeof item.label.value === "string" ? item.label.value : null;
  list.replaceChildren(...chosenLabels(item).slice(0, 100).map((label, place) => make("button",
    { type: "button", class: "label", "aria-pressed": String(label === (isParts() ? state.brush : now)), on: { click: () => choose(label) } },
    !HAS_SEARCH && place < DIGITS.length ? make("kbd", {}, DIGITS[place]) : HAS_SEARCH && place === 0 ? make("kbd", {}, "↵") : "", label)));
}
const isParts = () => ["boxes", "masks", "spans"].includes(PROJECT.task);
function choose(label) {
  if (!isParts()) { if (byId("search")) byId("search").value = ""; record("label", label); return; }
  state.brush = label;
  if (PROJECT.task === "spans") addSpan(label); else relabelPart(label);
  showLabels(state.current);
}
function finish() {
  if (isParts()) { record("label", state.draft); return; }
  if (PROJECT.task === "regression") {
    const text = byId("number").value.trim().replace(",", "."), number = Number(text);
    if (text === "" || !Number.isFinite(number)) { tell("state bad", `${text || "Nothing"} is no number. Write such as 3.5.`, `${text || "空白"} 不是数字，请输入如 3.5。`); return; }
    byId("number").value = "";
    record("label", number);
    return;
  }
  const first = chosenLabels(state.current)[0];
  if (HAS_SEARCH && byId("search").value.trim() && first) choose(first);
}
function acceptHint() {
  const item = state.current;
  if (state.showsHint && item && item.suggestion && !isParts() && PROJECT.task !== "regression") choose(item.suggestion.value);
}
function toggleHint() {
  state.showsHint = !state.showsHint;
  write("hint", state.showsHint ? "shown" : null);
  if (state.current) { showHint(state.current); showLabels(state.current); }
}
function focusInput() {
  const input = byId("number") || byId("search");
  if (input && !document.activeElement.closest("#who")) input.focus({ preventScroll: true });
}

function showEnd() {
  byId("work").hidden = true;
  const end = byId("end");
  end.hidden = false;
  end.replaceChildren();
  if (!person()) end.append(make("p", {}, said("Write your name to begin.", "请输入姓名以开始。")));
  else if (state.isOffline) end.append(make("p", {}, said("The examples that were loaded are labeled. More come with the connection.", "已加载的样本均已标注，连接恢复后继续。")));
  else if (pending().length) end.append(make("p", {}, said("The last answers are being sent: leave this page open.", "正在发送最后的标注，请勿关闭此页。")));
  else if (state.isOver) end.append(make("p", {}, said("Nothing is left to label here: all is done, or others look at it now.", "没有待标注的样本：已全部完成，或他人正在标注。")));
  else end.append(make("p", {}, said("Loading the next examples.", "正在加载下一批样本。")));
}

const KEYS = { s: () => record("skip"), n: () => record("unsure"), z: undo, h: toggleHint, " ": acceptHint,
  c: () => byId("comment").focus(), "/": () => byId("search") && byId("search").focus(), "?": () => byId("help").toggleAttribute("open") };
document.addEventListener("keydown", (event) => {
  const field = event.target.closest("input:not([type=range]),textarea"), isModified = event.ctrlKey || event.metaKey || event.altKey;
  if (event.key === "Escape" && field) { field.blur(); event.preventDefault(); return; }
  if (event.key === "Enter" && field && (field.id === "person" || field.id === "key")) { field.blur(); start(); return; }
  if (event.key === "Enter" && field && field.id === "comment") { field.blur(); event.preventDefault(); return; }
  if (!state.current || isModified || event.isComposing) return;
  if (PROJECT.task === "masks" && outline && maskKey(event)) { event.preventDefault(); return; }
  if (event.key === "Enter" && (!field || field.id === "search" || field.id === "number") && !event.target.closest("button,summary,audio,video")) { event.preventDefault(); finish(); return; }
  if (field && !(field.id === "number" && /^[a-z?]$/i.test(event.key))) return;
  if (isParts() && partKey(event)) { event.preventDefault(); return; }
  if (!isParts() && viewKey(event)) { event.preventDefault(); return; }
  const place = DIGITS.indexOf(event.key);
  if (!HAS_SEARCH && place >= 0 && place < PROJECT.labels.length && !event.repeat) { event.preventDefault(); choose(PROJECT.labels[place]); return; }
  const work = KEYS[event.key.toLowerCase()];
  if (work && !event.repeat && !(event.key === " " && event.target.closest("button,summary,audio,video"))) { event.preventDefault(); work(); }
});
