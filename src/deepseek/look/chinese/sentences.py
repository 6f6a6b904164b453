"""English forms of sentences and their Chinese: {name} stands for whatever the sentence has there."""

from __future__ import annotations

from typing import Final

from deepseek.look.chinese.data_sentences import DATA_SENTENCES

_EXPLANATIONS: Final = {
    # methods, and why
    "TreeSHAP, exact (path-dependent)": "TreeSHAP，精确（依赖路径）",
    "linear, exact": "线性，精确",
    "DeepLift, Rescale rule, against the mean training row": "DeepLift，Rescale 规则，以训练行均值为基准",
    "weighted sum of {num} parts": "{num} 个部分的加权和",
    "shares carried to log-odds by the secant of the link (Rescale rule)": (
        "概率份额经联系函数的割线折算为对数几率（Rescale 规则）"
    ),
    "Shapley values of columns by masking": "逐列遮蔽的 Shapley 值",
    "base value: class shares in training": "基准值：训练数据中的类别占比",
    "base value: mean in training": "基准值：训练数据的均值",
    "exact": "精确",
    "{num} sampled orders, standard error up to {error}": "抽样 {num} 种顺序，标准误最大 {error}",
    "Owen values over sentences, clauses, words and tokens": "按句子、分句、单词与词元的 Owen 值",
    "absent tokens become the tokenizer's mask": "缺席的词元代之以分词器的掩码",
    "absent tokens are left out of the attention": "缺席的词元不参与注意力",
    "every part of the model has a rule whose values sum to its answer, so nothing is sampled": (
        "模型的每个部分都有规则，其贡献之和等于输出，因此无需抽样"
    ),
    "any model answers without a column, and these answers divide what they all add together": (
        "任何模型都能在缺少某列时给出结果，由这些结果划分各列的共同贡献"
    ),
    "the answers without some of the tokens tell what each has added, whatever the model computes": (
        "去掉部分词元后的结果说明每个词元的贡献，与模型内部的计算无关"
    ),
    "a text model is asked as a black box, so its answers are those that it is served with": (
        "文本模型按黑盒询问，所得结果与上线服务的结果相同"
    ),
    "KernelSHAP by masking {unit}": "逐一遮蔽{unit}的 KernelSHAP",
    "KernelSHAP by masking {unit}, above {num} leaving out one at a time": (
        "逐一遮蔽{unit}的 KernelSHAP，超过 {num} 个时改为逐个去掉"
    ),
    "leaving out one at a time": "逐个去掉",
    "secants between input and baseline (DeepLIFT's Rescale rule, for every operation), one forward and one backward "
    "pass": "输入与基准之间的割线（对每个运算使用 DeepLIFT 的 Rescale 规则），前向、反向各一次",
    "path integral from baseline to input (layer conductance), steps by the known error": (
        "从基准到输入的路径积分（层传导），步数由已知误差决定"
    ),
    "asked for": "按要求",
    "the rule of pairs balances at every layer, and is the cheapest": "成对规则在每一层都相符，且开销最小",
    "the rule of pairs misses {share} of the change": "成对规则与变化相差 {share}",
    "the rule of pairs misses {share} of the change (no rule for {names})": (
        "成对规则与变化相差 {share}（{names} 没有规则）"
    ),
    "the rule of pairs does not fit: {why}": "成对规则不适用：{why}",
    # notes
    "partial: a limit came before the error that was asked for, after {num} answers": (
        "不完整：在达到所要求的误差之前已到上限，共计算 {num} 次"
    ),
    "partial: stopped after {num} steps with an error above the tolerance": "不完整：{num} 步后停止，误差仍高于容差",
    "the answer is the same with and without it: every contribution is 0": "有无此项结果相同：所有贡献均为 0",
    "the answer is the same for input and baseline in rows {rows}: every contribution is 0": (
        "第 {rows} 行的输入与基准结果相同：所有贡献均为 0"
    ),
    "without a rule: {names}; their slope at the input stands for them": "没有规则：{names}；以输入处的斜率代替",
    "without a rule: {names}; their slope stands for them": "没有规则：{names}；以斜率代替",
    "the text is longer than the model reads: what stands behind letter {num} was cut and has no part in the answer": (
        "文本超过模型可读的长度：第 {num} 个字符之后被截去，不影响结果"
    ),
    "there is no token to explain: the answer is that to an empty text": "没有可解释的词元：结果等同于空文本的结果",
    "head": "输出层",
    "layer {num}": "第 {num} 层",
    "embeddings": "嵌入层",
    "edges are left out: the integral has several panels, and the graph of one is kept": (
        "未列出边：积分分为多段，仅保留其中一段的计算图"
    ),
    "margins and ablations are left out: {why}": "未列出间隔与消融：{why}",
    "it would take more than {seconds} s": "预计用时超过 {seconds} 秒",
    "there are so few columns, and orders of them, that hardly one lies beyond 95 % of random ones": (
        "列数及其排列太少，几乎没有顺序能超出 95 % 的随机顺序"
    ),
    "columns are taken away by one typical row alone, which says little: give the training rows": (
        "去掉列时仅以一条典型行代替，说明不了多少；请提供训练数据"
    ),
    "only the first {num} of {all} rows were measured, to keep to the time limit": (
        "为不超时限，{all} 行中仅测量了前 {num} 行"
    ),
    "parts of only the first {num} of {all} rows were measured, for the same reason": (
        "出于同样原因，{all} 行中仅测量了前 {num} 行的各部分"
    ),
    "curves have {num} steps in place of {all}, to keep to the time limit": "为不超时限，曲线为 {num} 步而非 {all} 步",
    "what columns add is exact: every set of them was asked": "各列的贡献是精确的：所有组合均已计算",
    "no sensitivity: a token is no number that could be moved a little": "没有敏感度：词元不是数值，无法微调",
    "no sensitivity of parts: each row nearby would have to be explained anew, part by part": (
        "没有各部分的敏感度：需对附近的每一行逐部分重新解释"
    ),
    "a text of {num} tokens or fewer has so few orders of them that no curve of it is told from chance": (
        "不超过 {num} 个词元的文本排列太少，其曲线无法与随机区分"
    ),
    "nothing was measured of texts without a token that could be taken away: row {rows}": (
        "没有可去掉词元的文本未测量：第 {rows} 行"
    ),
    "the model was not shuffled, to keep to the time limit": "为不超时限，未打乱模型",
    "the model was not shuffled: a copy of its weights would need too much memory": "未打乱模型：权重副本所需内存过大",
    "the model was not shuffled: its rows have one column without parts, and so nothing to compare": (
        "未打乱模型：各行只有一列且没有各部分，无从比较"
    ),
    "the model was not shuffled: {why}": "未打乱模型：{why}",
    "the model was shuffled as far as {name}: {why}": "模型打乱至 {name}：{why}",
    "nearest rows were looked for among {num} of {all} training rows": (
        "在 {all} 行训练数据中的 {num} 行内查找最相近的行"
    ),
    "no counterfactual: the model predicts a value, not a class": "没有反事实：模型预测的是数值而非类别",
    "no counterfactual: {num} columns are more than {most}": "没有反事实：{num} 列超过上限 {most} 列",
    "which columns belong together cannot be told from {num} rows: a counterfactual may change one without the other; "
    "give the training rows": "仅凭 {num} 行无法判断哪些列互相关联：反事实可能只改变其一；请提供训练数据",
    "training rows": "训练数据",
    "rows of the data": "本批数据",
    "the typical record of the bundle": "模型包的典型记录",
    "no other rows: {unit} are masked": "不用其他行：遮蔽{unit}",
    "columns": "列",
    "tokens": "词元",
}
_MODELS: Final = {
    "{family} with its defaults, the same rows": "{family}（默认参数，数据相同）",
    "{family} of {rounds} rounds, the same rows": "{family}（预算所允许的 {rounds} 轮，数据相同）",
    "{family} with its defaults": "{family}（默认参数）",
    "HistGradientBoosting": "直方图梯度提升",
    "logistic regression (ridge) on TF-IDF of words": "词 TF-IDF 上的逻辑回归（岭）",
    "late fusion: the answers of each modality of the same net, added": "后期融合：同一网络各模态的结果相加",
    "the class shares of the training rows": "训练数据的类别占比",
    "the mean of the training rows": "训练数据的均值",
    "binary": "二分类",
    "multiclass": "多分类",
    "regression": "回归",
    "embedding": "向量",
    "text": "文本",
    "hist_gradient_boosting": "直方图梯度提升",
    "text_logistic": "文本逻辑回归",
    "text_linear": "文本线性模型",
    "xgboost": "XGBoost",
    "catboost": "CatBoost",
    "lightgbm": "LightGBM",
    "linear": "线性模型",
    "random_forest": "随机森林",
    "extra_trees": "极端随机树",
    "mlp": "多层感知机",
    "an embedding": "一个向量",
    "as the bundle has it": "按模型包",
    "false-positive rate <= {limit}": "假阳性率不超过 {limit}",
    "recall >= {limit}": "召回率不低于 {limit}",
}
_COMPARISONS: Final = {
    "{name} has learned from {num} of these {all} rows, which flatters it: give rows that no bundle has seen": (
        "{name} 已从这 {all} 行中的 {num} 行学习过，结果偏好；请提供任何模型包都未见过的数据"
    ),
    "the bundles were not made with the same sample weights: every row counts alike here": (
        "各模型包的样本权重不同：此处每行权重相同"
    ),
    "the data has no column {name} of sample weights: every row counts alike here": (
        "数据中没有样本权重列 {name}：此处每行权重相同"
    ),
    "a bundle was split by {names}, which the data lacks: where rows belong together, these intervals are too narrow": (
        "某模型包按 {names} 划分，而数据中没有该列：若行之间有关联，这些区间偏窄"
    ),
    "the rows belong to {num} values of {name}: intervals of fewer than {least} groups may be too narrow": (
        "这些行属于 {name} 的 {num} 个取值：少于 {least} 组时区间可能偏窄"
    ),
    "masked: {message}": "已遮蔽：{message}",
    "fewer than {num} rows": "少于 {num} 行",
    "not defined: one class": "只有一个类别，无定义",
    "not defined on these rows": "在这些行上无定义",
}
_FILES: Final = {
    "{where}: there is no file {file} below {folder}": "{where}：在 {folder} 下没有文件 {file}",
    "{where}: {file} cannot be read: {why}": "{where}：{file} 无法读取：{why}",
    "{where}: {file} leaves the folder of the data, {folder}": "{where}：{file} 不在数据文件夹 {folder} 之内",
    "{where}: {file} is an address": "{where}：{file} 是网址",
    "{file} is no picture but {format}": "{file} 不是图像，而是 {format}",
    "{file} is no sound but {format}": "{file} 不是声音，而是 {format}",
    "{file} is no film": "{file} 不是视频",
    "{file} is empty": "{file} 是空文件",
    "{file} is cut off: {num} bytes of {all}": "{file} 不完整：{all} 字节中只有 {num} 字节",
    "{file} is cut off": "{file} 不完整",
    "{file} cannot be decoded: {why}": "{file} 无法解码：{why}",
    "{file} cannot be unpacked: {why}": "{file} 无法解包：{why}",
    "{file} is not DICOM": "{file} 不是 DICOM",
    "{file} is in colour": "{file} 是彩色的",
    "{file} is not text that can be read": "{file} 不是可读的文本",
    "{file} is a folder of {num} files": "{file} 是含 {num} 个文件的文件夹",
    "{file} has no finite value": "{file} 没有有限的取值",
    "{file} has no frame that can be decoded": "{file} 没有可解码的帧",
    "{file} has no pictures that move": "{file} 没有视频画面",
    "{file} misses slices: {which}": "{file} 缺少切片：{which}",
    "{file} has uneven slices: {which}": "{file} 的切片间距不均：{which}",
    "{file} has {num} files": "{file} 有 {num} 个文件",
    "image file is truncated ({num} bytes not processed)": "图像文件被截断（{num} 字节未处理）",
    "image file is truncated": "图像文件被截断",
    "give the picture itself": "请给出图像本身",
    "give the sound itself": "请给出声音本身",
    "save it as one of these": "另存为受支持的格式",
    "save it as UTF-8": "另存为 UTF-8",
    "copy it again": "重新复制",
    "copy or export it again": "重新复制或导出",
    "copy or record it again": "重新复制或录制",
    "export it again": "重新导出",
    "export it as MP4": "导出为 MP4",
    "export the scan again": "重新导出扫描",
    "check the name": "检查文件名",
    "check its name and its rights": "检查文件名与访问权限",
    "name the folder ({option})": "指定文件夹（{option}）",
    "name the file": "指定文件",
    "name the folder that holds both": "指定包含两者的文件夹",
    "move the file there": "把文件移到那里",
    "download the files, and name them by their paths": "下载文件，并以路径指定",
    "take it out of the folder": "把它移出文件夹",
    "take out slices of another kind": "移出其他类型的切片",
    "copy the whole series": "复制整个序列",
    "resample it into a NIfTI file": "重采样为 NIfTI 文件",
    "resample the series into a NIfTI file": "将序列重采样为 NIfTI 文件",
    "make it smaller": "缩小文件",
    "raise the limit": "提高上限",
    "cut it": "裁剪",
    "split it": "拆分",
    "unpack it first": "先解包",
    "name another file": "指定另一个文件",
    "unpack it first, or name another file": "先解包，或指定另一个文件",
    "save it as PNG, for a column of images": "另存为 PNG，作为图像列",
    "channel {num}": "通道 {num}",
    "leave the row out": "去掉该行",
}
_PLACES: Final = {
    "{file} (row {row}, column {name})": "{file}（第 {row} 行，列 {name}）",
    "row {row}, column {name}": "第 {row} 行，列 {name}",
    "{names} (in the shell {option})": "{names}（命令行 {option}）",
}
_STUDY: Final = {
    "the budget was enough for {num} of {all} epochs of {training}": "预算仅够 {training} 的 {all} 轮中的 {num} 轮",
    "the budget was enough to learn from {num} of {all} rows in {training}": (
        "预算仅够从 {all} 行中的 {num} 行学习（{training}）"
    ),
    "the study took {took} s of CPU time, and the budget is {budget} s: each training had the least that it can have": (
        "本研究用了 {took} 秒 CPU 时间，而预算为 {budget} 秒：每项训练都已减到最少"
    ),
    "{took} of {budget} s were used: more time buys nothing here": "{budget} 秒中用了 {took} 秒：更多时间没有用处",
    "retrieval": "互检",
    "slice and report together": "切片与报告融合",
    "diagnosis": "诊断",
}

#: In this order a sentence is compared with them: forms of more words stand before those that would take them, too.
SENTENCES: Final = _EXPLANATIONS | DATA_SENTENCES | _COMPARISONS | _STUDY | _FILES | _MODELS | _PLACES
