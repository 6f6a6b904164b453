"""Chinese of sentences about tables: how columns are read, what is missing, what looks wrong."""

from __future__ import annotations

from typing import Final

DATA_SENTENCES: Final = {
    "column {name} looks like an identifier": "列 {name} 像是标识",
    "column {name} was left out: it has no value": "未使用列 {name}：没有取值",
    "column {name} was left out: it has the same value in every row": "未使用列 {name}：每行取值相同",
    "column {name} was left out: it is of the kind {kind}, which this model does not read": (
        "未使用列 {name}：类型为 {kind}，本模型不读取"
    ),
    "column {name} was left out: {why}": "未使用列 {name}：{why}",
    "it was called an identifier": "已指定为标识",
    "it counts the rows ({num} values in {all} rows), which says nothing of a new one": (
        "它是行的计数（{all} 行中有 {num} 个取值），对新的一行说明不了什么"
    ),
    "its values hardly repeat ({num} values in {all} rows), so that they say nothing of a new row": (
        "其取值几乎不重复（{all} 行中有 {num} 个取值），对新的一行说明不了什么"
    ),
    "its values hardly repeat ({num} values in {all} rows) and its name is that of an identifier": (
        "其取值几乎不重复（{all} 行中有 {num} 个取值），名称也像标识"
    ),
    "its name is that of an identifier ({num} values in {all} rows), and a new row may have a value that no row had "
    "before": "其名称像标识（{all} 行中有 {num} 个取值），新的一行可能出现从未有过的取值",
    "it names groups of rows ({num} values in {all} rows), more than a category has levels": (
        "它表示行的分组（{all} 行中有 {num} 个取值），多于一个类别列的取值上限"
    ),
    "split by group:{name} where new rows are of new ones": "若新行属于新的分组，按 group:{name} 划分",
    "its numbers are as long as those of telephones and accounts, and hardly repeat ({num} values in {all} rows)": (
        "其数字与电话、账号一样长，几乎不重复（{all} 行中有 {num} 个取值）"
    ),
    "column {name} is read, though it names groups of rows ({num} values in {all} rows): where new rows are of groups "
    "that training did not have, {split} (in the shell {option}) leaves it out and measures that": (
        "列 {name} 表示行的分组（{all} 行中有 {num} 个取值），但仍被读取：若新行属于训练中没有的分组，"
        "{split}（命令行 {option}）会将其排除并据此评估"
    ),
    "column {name}: {num} cells cannot be read as training was and count as missing: {cells}": (
        "列 {name}：{num} 个单元格无法按训练时的方式读取，按缺失处理：{cells}"
    ),
    "to use it as a category: {how}": "若要作为类别使用：{how}",
    "column {name} is read as numbers: {text} is {value}": "列 {name} 按数字读取：{text} 即 {value}",
    "column {name} is read as dates: {text} is {value}": "列 {name} 按日期读取：{text} 即 {value}",
    "column {name}: {words} counts as missing": "列 {name}：{words} 按缺失处理",
    "column {name}: {words} count as missing": "列 {name}：{words} 按缺失处理",
    "column {name} has {code} in {num} rows, far from all others": "列 {name} 有 {num} 行为 {code}，与其他取值相差很远",
    "{words} count as missing": "{words} 按缺失处理",
    "{num} of {all} cells are no numbers and count as missing: {cells}": (
        "{all} 个单元格中有 {num} 个不是数字，按缺失处理：{cells}"
    ),
    "{num} of {all} cells are no dates and count as missing: {cells}": (
        "{all} 个单元格中有 {num} 个不是日期，按缺失处理：{cells}"
    ),
    "its commas could be decimal commas, too": "其中的逗号也可能是小数点",
    "nothing in it tells the year from the day: the {first} is taken to come first": (
        "无法区分年和日：按 {first} 在前读取"
    ),
    "nothing in it tells the day from the month: the day is taken to come first": "无法区分日和月：按日在前读取",
    "nothing in it tells the day from the month: the month is taken to come first": "无法区分日和月：按月在前读取",
    "column {name} stays text: {num} of {all} cells are no numbers: {cells}": (
        "列 {name} 保持文本：{all} 个单元格中有 {num} 个不是数字：{cells}"
    ),
    "column {name} stays text: {num} of {all} cells are no dates: {cells}": (
        "列 {name} 保持文本：{all} 个单元格中有 {num} 个不是日期：{cells}"
    ),
    "mend them, or name the words that mean missing": "请修正，或指明表示缺失的词",
    "mend them, or name the words that mean missing (missing=[...]; in the shell --missing WORD)": (
        "请修正，或指明表示缺失的词（missing=[...]；命令行 --missing 词）"
    ),
    "column {name}: {code} stands in {num} rows, far from all others": (
        "列 {name}：{code} 出现在 {num} 行中，远离其他取值"
    ),
    "{code} stands in {num} rows, far from all others": "{code} 出现在 {num} 行中，远离其他取值",
    "to keep it as a number: {how}": "若要保留为数字：{how}",
    "if it means not known, say {how}": "若表示未知，请写 {how}",
    "{num} rows without {name} were left out": "去掉了 {num} 行没有 {name} 的数据",
    "class {label} of {name} has a single row: it is learned from, never tested": (
        "{name} 的类别 {label} 只有一行：仅用于训练，从未测试"
    ),
    "there are {num} test rows: figures of fewer than {least} may be far from those in use": (
        "测试数据只有 {num} 行：少于 {least} 行时，指标可能与实际使用相差很大"
    ),
    "no group of {name} has {num} rows to test on: there are no figures by {column}": (
        "{name} 没有任何分组有 {num} 行测试数据：不给出按 {column} 的指标"
    ),
    "fewer than two groups of {name} have {num} rows to test on: fairness was not judged": (
        "{name} 中有 {num} 行测试数据的分组不足两个：未评估公平性"
    ),
    "the words in {names} are not read: no model of texts keeps monotone": (
        "未读取 {names} 中的文字：文本模型不支持单调约束"
    ),
    "{num} files in {name} could not be read and were masked": "{name} 中有 {num} 个文件无法读取，已遮蔽",
    "--drop {name}": "--drop {name}",
    "the first: {message}": "首个：{message}",
    "the budget was enough to learn from {num} of {all} rows, each once": (
        "预算仅够从 {all} 行中的 {num} 行学习，各一遍"
    ),
    "{num} passes over all would take about {seconds} s": "对全部数据学习 {num} 遍约需 {seconds} 秒",
    "whether {name} is there tells the class (balanced accuracy {accuracy} by that alone; there in {shares} of the "
    "rows of each class)": (
        "{name} 是否有值即可判断类别（仅凭此平衡准确率为 {accuracy}；各类别中有值的比例为 {shares}）"
    ),
    "leave {name} out (--drop)": "去掉 {name}（--drop）",
    "bring rows of every class that have it": "提供每个类别中有该值的数据",
    "{num} of {all} test rows ({share}) have a file in {name} that is also a training row's, the first in row {row}": (
        "{all} 行测试数据中有 {num} 行（{share}）的 {name} 文件也出现在训练数据中，首个在第 {row} 行"
    ),
    "column {name} alone nearly tells the target {target}: it gives the class of {share} of the rows, each class "
    "weighing the same": "仅凭列 {name} 几乎可知目标 {target}：能判对 {share} 的行（各类别权重相同）",
    "column {name} is the target {target} under another name": "列 {name} 就是目标 {target}，只是名称不同",
    "each value of column {name} has one class of {target} only": "列 {name} 的每个取值只对应 {target} 的一个类别",
    "column {name} has {what} in the rows of one class of {target}, and in hardly any other": (
        "列 {name} 在 {target} 某一类别的行中{what}，其他类别几乎没有"
    ),
    "leave it out (drop={names}; in the shell {option}), split by group:{name} where its values name groups, unless it "
    "is known before the target is": "除非在目标之前已知，否则应去掉（drop={names}；命令行 {option}），"
    "若其取值表示分组，则按 group:{name} 划分",
    "a value": "有值",
    "no value": "无值",
    "each value of column {name} has a range of the target {target} of its own": (
        "列 {name} 的每个取值各对应目标 {target} 的一段范围"
    ),
    "column {name} alone parts all {num} rows by the classes of {target}, which would happen by chance in {share} of "
    "such tables": "仅列 {name} 即可将全部 {num} 行按 {target} 的类别分开，随机情况下这样的表只占 {share}",
    "column {name} has a value in {num} rows, {own} of them of the class {label} of {target}, as if filled in after "
    "it": ("列 {name} 在 {num} 行中有值，其中 {own} 行属于 {target} 的类别 {label}，像是事后才填写的"),
    "column {name} has no value in {num} rows, {own} of them of the class {label} of {target}, as if filled in after "
    "it": ("列 {name} 在 {num} 行中没有值，其中 {own} 行属于 {target} 的类别 {label}，像是事后才填写的"),
    "the target {target} is the sum of the columns {left} and {right} (R² {r2} over {num} rows, with equal weights)": (
        "目标 {target} 是列 {left} 与 {right} 之和（{num} 行上 R² 为 {r2}，权重相等）"
    ),
    "the target {target} is the difference of the columns {left} and {right} (R² {r2} over {num} rows, with equal "
    "weights)": "目标 {target} 是列 {left} 与 {right} 之差（{num} 行上 R² 为 {r2}，权重相等）",
    "leave them out (drop={names}; in the shell {option}) unless both are known before the target is": (
        "请去掉这两列（drop={names}；命令行 {option}），除非二者在目标已知之前就已知"
    ),
    "whether column {name} has a value tells whether the target {target} is large or small": (
        "列 {name} 是否有值即可判断目标 {target} 的大小"
    ),
    "leave it out (drop={names}; in the shell {option}) unless it is known before the target is": (
        "除非在目标之前已知，否则应去掉（drop={names}；命令行 {option}）"
    ),
    "remove the copies": "去掉重复",
    "split by group:COLUMN (the patient, the machine)": "按 group:COLUMN 划分（患者、机器）",
    "split by group:COLUMN": "按 group:COLUMN 划分",
    "{num} of {all} {name} ({share}) equal training rows in every column that is read": (
        "{all} 行（{name}）中有 {num} 行（{share}）在所读取的每一列上都与训练行相同"
    ),
    "{num} training rows are later in {name} than the first test row ({first})": (
        "有 {num} 行训练数据的 {name} 晚于首条测试数据（{first}）"
    ),
    "train on rows before the test rows": "用早于测试数据的行训练",
    "rows are dated by {name}, but they are split at random: figures may promise too much": (
        "数据有日期 {name}，却随机划分：指标可能过于乐观"
    ),
    "{how} to test on later rows, as in use": "{how}，以便像实际使用那样在较晚的数据上测试",
    "split by time:{name} (in the shell {option})": "按 time:{name} 划分（命令行 {option}）",
    "allow names {name}, by which the leak check found nothing": "allow 中的 {name} 未被泄漏检查发现",
    "{name} was left out: {module} is not installed ({advice})": "未使用 {name}：未安装 {module}（{advice}）",
}
