// Names that a person knows in both languages: classes, tasks, methods, and what an error means. Runs after
// console_draw.js.
const BARE_LABEL = /^(true|false|yes|no|y|n|t|f|on|off|[-+]?\d+(\.\d+)?)$/i;

// A label such as "1" says nothing without its column: "TX_FRAUD = 1".
const className = (card, label) => (card.target && BARE_LABEL.test(label) ? `${card.target} = ${label}` : label);

const TASKS_ZH = {
  binary: "二分类", multiclass: "多分类", regression: "回归", tensors: "张量计算", embedding: "文本向量",
  "sequence-classification": "文本分类", "token-classification": "词元标注", "causal-lm": "文本生成", intents: "对话助手",
};
const taskName = (task) => (TASKS_ZH[task] ? said(task, TASKS_ZH[task]) : task || UNKNOWN);

// How an explanation was made, phrase by phrase, as explain/ writes it. A method of another package stays as it is.
const METHODS_ZH = [
  [/^TreeSHAP, exact \(path-dependent\)$/, "TreeSHAP，精确（路径依赖）"],
  [/^linear, exact$/, "线性模型，精确"],
  [/^DeepLift, Rescale rule, against the mean training row$/, "DeepLift（Rescale 规则），以训练数据的均值行为基准"],
  [/^weighted sum of (\d+) parts$/, "$1 个子模型的加权和"],
  [/^shares carried to log-odds by the secant of the link \(Rescale rule\)$/, "由链接函数的割线将占比换算为对数几率（Rescale 规则）"],
  [/^Shapley values of columns by masking$/, "逐列遮蔽的 Shapley 值"],
  [/^base value: class shares in training$/, "基准值：训练数据中的类别占比"],
  [/^base value: mean in training$/, "基准值：训练数据的均值"],
  [/^exact$/, "精确"],
  [/^(\d+) sampled orders, standard error up to (.+)$/, "抽样 $1 种顺序，标准误差不超过 $2"],
  [/^Owen values over sentences, clauses, words and tokens$/, "按句、分句、词和词元计算的 Owen 值"],
];

function methodName(method) {
  const translated = method.split("; ").map((phrase) => {
    const known = METHODS_ZH.find(([pattern]) => pattern.test(phrase));
    return known ? phrase.replace(known[0], known[1]) : phrase;
  });
  return said(`${method}. `, `${translated.join("；")}。`);
}

// What each code of an error means, and what to do. The server's own words name the place; they are English.
const ERRORS_ZH = {
  bad_input: ["请求不符合模型的要求", "请按模型的列修改取值后重试"],
  malformed: ["服务器无法解析请求", "请检查请求的格式"],
  not_found: ["服务器没有所请求的模型或路径", "请刷新本页，查看有哪些模型"],
  too_large: ["请求超过了大小限制", "请使用更小的文件，或减少行数"],
  not_installed: ["服务器缺少所需的组件", "请联系服务器管理员安装"],
  not_explainable: ["该模型的结果无法这样解释", "请只做预测"],
  check_failed: ["未通过检查", "请重新生成模型包，或更换完好的副本"],
  integrity: ["模型包已损坏或被更改", "请重新生成模型包，或更换完好的副本"],
  compute_failed: ["模型对该行计算失败", "请联系服务器管理员"],
  non_finite: ["模型没有给出有限的数值", "请检查取值是否过大"],
  overloaded: ["排队的请求过多", "请稍后重试"],
  deadline: ["计算超时", "请稍后重试"],
  draining: ["服务器正在停止", "请稍后重试"],
  rate_limited: ["请求过于频繁", "请稍后重试"],
  unauthorized: ["服务器不接受此密钥", "请输入有效的密钥"],
  media_type: ["服务器不支持这种请求格式", "请使用 JSON"],
  internal: ["服务器内部错误", "请联系服务器管理员"],
};
// What a value has to be, in the words of data/features.
const EXPECTED_ZH = {
  "a number, or null where it is missing": "数字；缺失时为空",
  "text or a number, or null where it is missing": "文本或数字；缺失时为空",
  "text, or null where it is missing": "文本；缺失时为空",
  "a date such as 2026-01-31 or 2026-01-31T12:00:00, or null where it is missing": "日期，例如 2026-01-31 或 2026-01-31T12:00:00；缺失时为空",
  "true or false (or 1, 0, yes, no), or null where it is missing": "是或否；缺失时为空",
};

// An error as a box: in English the server's words, in Chinese what its code means, with the server's words on demand.
function errorBox(error) {
  const message = error.message || String(error);
  const sign = () => make("strong", { class: "bad" }, "✕ ");
  const line = (title, text) => text && make("p", null, make("span", { class: "soft" }, title), text);
  const english = make("div", { class: "en", lang: "en" }, make("p", null, sign(), message),
    line("Expected: ", error.expected), line("To mend it: ", error.fix));
  const column = inputOf(message);
  const [meaning, advice] = ERRORS_ZH[error.code] || [`请求失败${error.status ? `（HTTP ${error.status}）` : ""}`, "请稍后重试"];
  const chinese = make("div", { class: "zh", lang: "zh" },
    make("p", null, sign(), column ? `列 ${column}：${meaning}。` : `${meaning}。`),
    line("应为：", EXPECTED_ZH[error.expected]), line("解决方法：", `${advice}。`), originalWords([message, error.expected, error.fix]));
  return make("div", { class: "state bad", role: "alert" }, english, chinese);
}

const originalWords = (texts) => make("details", null, make("summary", null, "服务器的原文（英文）"),
  ...texts.filter(Boolean).map((text) => make("p", { lang: "en" }, text)));

// The input that a message names in quotation marks.
function inputOf(message) {
  const named = (name) => message.includes(`'${name}'`) || message.includes(`"${name}"`);
  const input = ((state.model && state.model.inputs) || []).find((one) => named(one.name));
  return input && input.name;
}

// ---- one sentence that joins log-odds, probability, threshold and answer -------------------------------------------------
// Digits in which two numbers differ, where three are not enough.
function apart(one, other) {
  if (one === other || number(one) !== number(other)) return [number(one), number(other)];
  return [one.toPrecision(7), other.toPrecision(7)];
}

// "below the threshold of 0.455, so the answer is TX_FRAUD = 0"
function decided(card, label, probability, answer) {
  const name = className(card, answer);
  if (card.decision_rule === "threshold" && label === card.labels[1]) {
    const threshold = card.threshold ?? 0.5;
    const [shown, limit] = apart(probability, threshold);
    const isReached = answer === label;
    return { shown, words: said(
      `${isReached ? "at or above" : "below"} the threshold of ${limit}, so the answer is ${name}`,
      `${isReached ? "达到" : "低于"}阈值 ${limit}，因此结果为 ${name}`) };
  }
  const shown = number(probability);
  if (card.decision_rule === "least expected cost") {
    return { shown, words: said(`and by the costs of mistakes the answer is ${name}`, `按误判成本，结果为 ${name}`) };
  }
  return { shown, words: answer === label
    ? said(`the largest, so the answer is ${name}`, `为最大值，因此结果为 ${name}`)
    : said(`not the largest: the answer is ${name}`, `不是最大值：结果为 ${name}`) };
}

// Of a prediction alone: the chance, the threshold and what is therefore decided.
function verdict(card, predicted) {
  const chances = predicted.probabilities;
  if (!chances || predicted.label === undefined || card.task === "tensors") return null;
  const label = card.decision_rule === "threshold" ? card.labels[1] : predicted.label;
  const { shown, words } = decided(card, label, chances[label], predicted.label);
  const name = className(card, label);
  return said(`${name} has a probability of ${shown}, ${words.en}.`, `${name} 的概率为 ${shown}，${words.zh}。`);
}

// Whether the smallest chance that a model gives stands in the way: log-odds beyond it move the probability no further.
function floorWords(card, why) {
  const calibration = card.calibration;
  if (!calibration || card.labels.length !== 2 || why.scale !== "log-odds" || !(calibration.smoothing > 0)) return said("", "");
  const size = calibration.slope * why.output + calibration.bias[0];
  const rest = 1 / (1 + Math.exp(Math.abs(size)));
  if (rest >= calibration.smoothing) return said("", "");
  return size < 0
    ? said(", the smallest that this model gives, however low the log-odds", "（该模型给出的最小概率，对数几率再低也不变）")
    : said(", the largest that this model gives, however high the log-odds", "（该模型给出的最大概率，对数几率再高也不变）");
}

// What calibration does to the log-odds, and the smallest probability that is left, where that changes a digit and is
// not said already.
function calibrationWords(card, why, chance, isAtEnd) {
  const calibration = card.calibration;
  if (!calibration || card.labels.length !== 2 || why.scale !== "log-odds") return said("calibration makes that", "校准后为");
  const [slope, bias] = [calibration.slope, calibration.bias[0]];
  const steps = [];
  if (slope !== 1 || bias !== 0) {
    const line = `× ${number(slope)}${bias ? ` ${bias < 0 ? "−" : "+"} ${number(Math.abs(bias))}` : ""}`;
    steps.push(said(line, line));
  }
  if (!isAtEnd && number(1 / (1 + Math.exp(-slope * why.output - bias))) !== number(chance)) {
    const smallest = number(calibration.smoothing);
    steps.push(said(`no probability below ${smallest}`, `概率不低于 ${smallest}`));
  }
  if (!steps.length && isAtEnd) return said("that is", "对应");
  if (!steps.length) return said("calibration leaves them as they are:", "校准不改变它，对应");
  const all = said(steps.map((step) => step.en).join(", "), steps.map((step) => step.zh).join("，"));
  return said(`calibration (${all.en}) makes that`, `校准（${all.zh}）后为`);
}

// How the contributions reach the answer: their sum, before calibration; the chance; the threshold; the decision.
function joined(card, why, predicted) {
  const chances = predicted.probabilities;
  if (!chances || !why.target || chances[why.target] === undefined || predicted.label === undefined) return null;
  const { shown, words } = decided(card, why.target, chances[why.target], predicted.label);
  const [name, output, floor] = [className(card, why.target), number(why.output), floorWords(card, why)];
  const scale = said(why.scale === "probability" ? "a probability" : why.scale, SCALES_ZH[why.scale] || why.scale);
  const sum = said(`Base value and contributions add up to ${scale.en} of ${output} for ${name}`, `基准值与各项贡献合计为 ${name} 的${scale.zh} ${output}`);
  if (card.task === "sequence-classification") {
    return said(`${sum.en}; that is a probability of ${shown}, ${words.en}.`, `${sum.zh}，即概率 ${shown}，${words.zh}。`);
  }
  const step = calibrationWords(card, why, chances[why.target], floor.en !== "");
  return said(`${sum.en}, before calibration; ${step.en} a probability of ${shown}${floor.en}, ${words.en}.`,
    `${sum.zh}（校准前）；${step.zh}概率 ${shown}${floor.zh}，${words.zh}。`);
}

const SCALES_ZH = { "log-odds": "对数几率", probability: "概率", "target units": "目标单位", "cosine similarity": "余弦相似度" };
