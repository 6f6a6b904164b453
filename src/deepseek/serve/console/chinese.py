"""The words of the OpenAPI document in Chinese: what a reader of /docs finds beside the English ones.

The document itself is English, as its clients are; a test holds that each of its sentences stands here.

>>> in_both_languages("The models").zh
'已加载的模型'
>>> in_both_languages("loans: what it is").zh
'loans：模型说明'
"""

from __future__ import annotations

from deepseek.look import Text

_MODEL_SUFFIX = ": what it is"
_CHINESE = {
    "Whether the process answers": "进程是否响应",
    "Whether requests are taken": "是否接受请求",
    "The server": "服务器信息",
    "The models": "已加载的模型",
    "What is loaded, Open Inference Protocol": "已加载的内容（Open Inference Protocol）",
    "A body that :predict and :explain take": ":predict 与 :explain 可直接使用的请求体",
    "A body that :predict takes": ":predict 可直接使用的请求体",
    "Answers by column name": "按列名给出预测结果",
    "Outputs of the graph": "计算图的输出",
    "Why: additive contributions by column": "原因：各列的可加贡献",
    "Metadata, Open Inference Protocol": "元数据（Open Inference Protocol）",
    "Whether the model is ready": "模型是否就绪",
    "Tensors, Open Inference Protocol": "张量（Open Inference Protocol）",
    "Embeddings, as OpenAI's route": "文本向量（与 OpenAI 的接口一致）",
    "Text that goes on from a prompt": "由提示词续写文本",
    "The next message of a chat": "对话的下一条消息",
    "A message of a user, and what is said to it": "用户的一条消息，以及对它的回复",
    "The messages of a conversation": "一个对话的消息",
    "Whether a reply helped": "回复是否有用",
    "Forget a conversation": "删除一个对话",
    "What questions are understood as": "问题被理解成什么",
    "Conversations that wait for a person, or have one": "等待人工或已有人工的对话",
    "A person's answer": "人工的回复",
    "Give a conversation back to the assistant": "把对话交还给智能助手",
    "Questions without an answer, alike ones together": "未回答的问题，相近的归在一起",
    "The answers that were added": "已添加的答案",
    "An answer that holds from the next message on": "从下一条消息起生效的答案",
    "Take an added answer back": "撤销已添加的答案",
    "Take questions off the list": "从列表中去掉问题",
    "This needs a key that may do more than chat.": "需要不限于聊天的密钥。",
    "It does not go together with what was kept before.": "与先前保存的内容冲突。",
    "The disk takes no more: nothing was changed.": "磁盘无法写入：没有任何更改。",
    "This is no HTTP/1.1, the body is not one JSON object, or it asks for a JSON schema that cannot be used.": (
        "不是 HTTP/1.1 请求，请求体不是一个 JSON 对象，或要求了无法使用的 JSON 模式。"
    ),
    "No accepted API key.": "没有有效的 API 密钥。",
    "There is no such model or route.": "没有该模型或路径。",
    "The route exists, the method does not.": "路径存在，但不支持该方法。",
    "The body did not arrive in time.": "请求体未及时到达。",
    "The body or the number of rows is over the limit.": "请求体或行数超过限制。",
    "The body is not in a form that is read here.": "请求体的格式不受支持。",
    "The rows do not fit the model.": "数据行不符合模型的要求。",
    "Too many rows wait; Retry-After says when to ask again.": "排队的行过多；Retry-After 给出重试时间。",
    "The request line and the headers are over the limit.": "请求行与请求头超过限制。",
    "The model has no finite answer to a row, or the server failed.": "模型对某行没有有限的结果，或服务器出错。",
    "The server lacks the part that this needs.": "服务器缺少所需的组件。",
    "The server is stopping.": "服务器正在停止。",
    "The deadline passed before the rows were computed.": "超过期限仍未完成计算。",
    'With "stream": true the answer is server-sent events: lines "data: {...}", each followed by an empty line,\n'
    'one object for the text of one step, and at the end "data: [DONE]". With "stream_options": {"include_usage": true}'
    ' the\nlast object has "usage" and no choices. An error after the beginning is an event with "error".': (
        '"stream": true 时以服务器推送事件返回：每行 "data: {...}"，后接空行，每步文本一个对象，最后是 "data: [DONE]"。'
        '"stream_options": {"include_usage": true} 时，最后一个对象含 "usage" 而没有 "choices"。'
        '开始之后的错误是一个带 "error" 的事件。'
    ),
    "Rows may also come as multipart/form-data, with files as they are: a part for each column; parts of one\n"
    "name are rows in their order, and an empty part stands for a missing value. "
    "curl -F COLUMN=@FILE -F COLUMN=VALUE ...": (
        "数据行也可用 multipart/form-data 发送，文件保持原样：每列一个部分；同名的部分依次为各行，空的部分表示缺失。"
        "curl -F COLUMN=@FILE -F COLUMN=VALUE ..."
    ),
}


def in_both_languages(words: str) -> Text:
    """A sentence of the document in both languages; one that is not known stands as it is."""
    if words.endswith(_MODEL_SUFFIX):
        return Text(words, words.removesuffix(_MODEL_SUFFIX) + "：模型说明")
    return Text(words, _CHINESE.get(words, words))
